//! Completion as people meet it, in the real bash, zsh and fish; and that typing asks nobody whom a command would not.

use crate::{
    scripts::{answer, whole},
    support::{Client, LIMIT, Stage, provider, says},
};
use fakes::{Evild, Step, required, wait_until, wire};
use rexpect::session::{PtySession, spawn_command};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// What is offered for the last of these words; an empty one asks for all but flags, which are offered for want of
/// anything else. Not a word is said on stderr.
fn offered(client: &Client, words: &[&str]) -> Vec<String> {
    let mut command = client.cmd(["--", "mcpctl"].iter().chain(words));
    command.env("_MCPCTL_COMPLETE", "bash").env("_CLAP_IFS", "\n");
    command.env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{words:?}: {output:?}");
    let is_asked_for =
        |line: &&str| !line.starts_with('-') || words.last().is_some_and(|word| word.starts_with('-'));
    String::from_utf8(output.stdout).unwrap().lines().filter(is_asked_for).map(str::to_owned).collect()
}

#[test]
fn names_come_from_the_server_and_from_the_files_of_this_machine() {
    let stage = Stage::new();
    stage.mcpd.create_llm("code-prod", &stage.upstream.url());
    let dana = &stage.dana;
    dana.failover("code-prod", &stage.local.url());
    let offline = Client::of("http://127.0.0.1:9", &stage.dana_token);
    offline.failover("code-prod", &stage.local.url());
    for client in [dana, &offline] {
        let set = ["config", "set-context", "prod", "--server", &stage.mcpd.url()];
        client.cmd(set).assert().code(0);
    }
    for (words, names) in [
        // What dana may view, and nothing else.
        (&["infer", ""][..], &["chat-prod"][..]),
        (&["llm", "head", "ch"], &["chat-prod"]),
        (&["get", "llm", ""], &["chat-prod"]),
        (&["get", "llm/"], &["llm/chat-prod"]),
        (&["get", ""], &["user", "serviceaccount", "group", "llm", "rbac", "all"]),
        (&["delete", "u"], &["user"]),
        (&["--context", ""], &["prod"]),
        (&["config", "use-context", "p"], &["prod"]),
        (&["providers", "get", ""], &["laptop"]),
        (&["infer", "chat-prod", "--route", ""], &["auto", "central", "local"]),
        (&["infer", "chat-prod", "--dry"], &["--dry-run"]),
        (&["auth", "can-i", ""], &["view", "run", "create", "edit", "delete"]),
        (&["auth", "can-i", "run", "llm/"], &["llm/chat-prod"]),
        (&["auth", "can-i", "view", "au"], &["audit"]),
        (&["help", "fail"], &["failover"]),
        (&["llm", ""], &["list", "get", "head"]),
        (&["infer", "nothing-like-it"], &[]),
    ] {
        // On a busy machine the time for the server may be over before it answers, and then it is as if it were away.
        wait_until(LIMIT, "an answer in time", || {
            let found = offered(dana, words);
            assert!(found == names || found == offered(&offline, words), "{words:?}: {found:?}");
            found == names
        });
    }
    stage.assert_local_untouched();
}

#[test]
fn a_server_that_does_not_answer_costs_a_moment_and_the_provider_file_helps_out() {
    let silent = Evild::start([vec![Step::ReadRequest, Step::Pause(LIMIT)]]);
    let broken = Evild::start([answer(500, &[], "")]);
    let liar = Evild::start([whole(wire::http(200, &[("content-type", "application/json")], "[]"))]);
    for server in [&silent.url(), &broken.url(), &liar.url(), "http://127.0.0.1:9", "not a url"] {
        let dana = Client::of(server, "mcpd_a_b");
        dana.failover("chat-prod", "http://127.0.0.1:9/v1");
        let started = Instant::now();
        assert_eq!(offered(&dana, &["infer", ""]), ["chat-prod"], "{server}");
        // Far more than the limit, since this machine is busy, and far less than the server would take.
        assert!(started.elapsed() < LIMIT / 2, "{server}: {:?}", started.elapsed());
    }
}

#[test]
fn whatever_is_broken_nothing_is_said() {
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers("providers: [");
    fs::write(dana.home().join(".config/mcpctl/config.yaml"), "contexts: {").unwrap();
    for words in
        [&["infer", ""][..], &["providers", "get", ""], &["--context", ""], &["providers", "stop", ""]]
    {
        assert_eq!(offered(&dana, words), Vec::<String>::new(), "{words:?}");
    }
}

/// The variable may have been exported by accident.
#[test]
fn the_variable_of_the_scripts_keeps_nobody_from_a_command() {
    let dana = Client::stranger("http://127.0.0.1:9");
    for shell in ["bash", "tcsh", "1"] {
        let version = |args: &[&str]| dana.cmd(args).env("_MCPCTL_COMPLETE", shell).assert();
        version(&["version"]).code(0).stdout(says("mcpctl"));
        version(&["llm", "lst"]).code(2).stderr(says("'list'"));
    }
}

/// A name with a space or a dollar would be more than a word to a shell.
#[test]
fn only_what_is_one_word_to_a_shell_is_offered() {
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers(&provider("laptop", "chat-prod", "http://127.0.0.1:9/v1", true));
    let contexts = ["fine-1.x", "$(touch x)", "a b", "`id`", "x;y", "\u{1b}[2J"];
    let entry = |name: &&str| {
        format!("- {{ name: {}, server: 'https://a.example' }}\n", serde_json::to_string(name).unwrap())
    };
    let text: String = contexts.iter().map(entry).collect();
    fs::write(dana.home().join(".config/mcpctl/config.yaml"), format!("contexts:\n{text}")).unwrap();
    assert_eq!(offered(&dana, &["--context", ""]), ["fine-1.x"]);
}

/// Asks until the server has been asked: on a busy machine the time may be over before.
fn asked(dana: &Client, words: &[&str], server: &Evild) {
    wait_until(LIMIT, "a question to the server", || {
        assert_eq!(offered(dana, words), Vec::<String>::new());
        !server.requests().is_empty()
    });
}

#[test]
fn a_server_that_is_only_being_typed_gets_no_token_that_is_not_its_own() {
    let (own, typed) = (Evild::start([answer(500, &[], "")]), Evild::start([answer(500, &[], "")]));
    let dana = Client::of(&own.url(), "mcpd_a_b");
    let url = typed.url();
    let set = ["config", "set-context", "other", "--server", &url];
    dana.cmd(set).env_remove("MCPCTL_SERVER").assert().code(0);
    let token_file = dana.home().join("token");
    let typing =
        [&["--server", &url][..], &["--context", "other"], &["--token-file", token_file.to_str().unwrap()]];
    // What was typed is the only difference.
    asked(&dana, &["infer", ""], &own);
    let questions = own.connections();
    for flags in typing {
        for _ in 0..3 {
            assert_eq!(offered(&dana, &[flags, &["infer", ""]].concat()), Vec::<String>::new());
        }
    }
    assert_eq!(
        (typed.connections(), own.connections()),
        (0, questions),
        "a token went to what was being typed"
    );

    let credentials = dana.home().join(".config/mcpctl/credentials");
    fs::create_dir_all(&credentials).unwrap();
    let stored = credentials.join(url.replace(':', "%3a").replace('/', "%2f"));
    fs::write(&stored, "mcpd_own_token\n").unwrap();
    fs::set_permissions(&stored, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for flags in &typing[..2] {
        asked(&dana, &[flags, &["infer", ""][..]].concat(), &typed);
    }
    assert!(typed.requests().iter().all(|it| it.header("authorization") == Some("Bearer mcpd_own_token")));
}

/// A token of a context's command is worth running it for a command, not for a key.
#[test]
fn nothing_is_run_while_somebody_types() {
    let server = Evild::start([answer(500, &[], "")]);
    let dana = Client::stranger(&server.url());
    let ran = dana.home().join("ran");
    let command = format!(
        "contexts:\n- name: a\n  server: {}\n  tokenCommand: [/bin/sh, -c, 'echo > {}']\n",
        server.url(),
        ran.display()
    );
    dana.providers("providers: []\n");
    let config = dana.home().join(".config/mcpctl/config.yaml");
    fs::write(&config, format!("currentContext: a\n{command}")).unwrap();
    fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut question = dana.cmd(["--", "mcpctl", "infer", ""]);
    question.env_remove("MCPCTL_SERVER").env("_MCPCTL_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2");
    question.assert().code(0).stderr("");
    assert!(!ran.exists() && server.connections() == 0);
    dana.cmd(["llm", "list"]).env_remove("MCPCTL_SERVER").assert().failure();
    assert!(ran.exists(), "the command is not what a command runs, and so this test sees nothing");
}

/// A shell at a terminal, in which somebody types.
struct Typist {
    session: PtySession,
}

impl Typist {
    fn new(client: &Client, shell: &Path, args: &[&str]) -> Self {
        let program = client.raw::<&str>([]);
        let programs = Path::new(program.get_program()).parent().unwrap();
        let mut command = Command::new(shell);
        command.args(args).env_clear().env("TERM", "vt100");
        command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap());
        }
        let limit = u64::try_from(LIMIT.as_millis()).unwrap();
        Self { session: spawn_command(command, Some(limit)).unwrap() }
    }

    fn runs(&mut self, line: &str) -> &mut Self {
        self.session.send_line(line).unwrap();
        self
    }

    /// Types the beginning of a command and a tab; gives the command that the shell then has.
    fn completes(&mut self, begun: &str) -> String {
        self.session.send(&format!("{begun}\t")).unwrap();
        self.session.flush().unwrap();
        // To the begin of the line, and what stands there is shown instead of run.
        self.session.send("\u{1}echo 'the''line': \u{5}").unwrap();
        self.session.send_line("").unwrap();
        self.session.exp_string("theline: ").unwrap();
        self.session.read_line().unwrap().trim_end().to_owned()
    }
}

/// The shell, on PATH or where `scripts/install-shells` puts it.
fn installed(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/shells").join(name);
    let on_path = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|it| it.exists());
    let found = on_path.or_else(|| beside.exists().then_some(beside));
    if found.is_none() {
        required(name);
    }
    found
}

fn completes_in(shell: &str, args: &[&str], setup: &[&str]) {
    let Some(program) = installed(shell) else { return };
    let stage = Stage::new();
    let mut typist = Typist::new(&stage.dana, &program, args);
    for line in setup {
        typist.runs(line);
    }
    for (begun, line) in [
        ("mcpctl infer ch", "mcpctl infer chat-prod"),
        ("mcpctl prov", "mcpctl providers"),
        ("mcpctl providers get lap", "mcpctl providers get laptop"),
        ("mcpctl get llm/ch", "mcpctl get llm/chat-prod"),
        ("mcpctl infer chat-prod --dry", "mcpctl infer chat-prod --dry-run"),
    ] {
        assert_eq!(typist.completes(begun), line, "{shell}");
    }
    typist.runs("exit").session.exp_eof().unwrap();
}

#[test]
fn bash_completes_commands_flags_and_names() {
    completes_in("bash", &["--norc", "--noprofile", "-i"], &["source <(mcpctl completion bash)"]);
}

#[test]
fn zsh_completes_commands_flags_and_names() {
    let setup = ["bindkey -e; autoload -U compinit; compinit -u -D", "source <(mcpctl completion zsh)"];
    completes_in("zsh", &["-i"], &setup);
}

#[test]
fn fish_completes_commands_flags_and_names() {
    completes_in("fish", &["--private", "-i"], &["mcpctl completion fish | source"]);
}
