//! Where a token comes from, that it goes nowhere else, and that its end is told in time.

use crate::{
    pty_stage::Terminal,
    support::{Client, PROMPT, Stage, TEN_WORDS, says},
};
use fakes::{Canary, Evild, Step, wire};
use predicates::prelude::*;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

/// Dana, who gets her token for the context `prod` from a program of hers, and from nowhere else.
struct Helped {
    stage: Stage,
    dana: Client,
}

impl Helped {
    /// The program is a shell script. `{TOKEN}` in it is the path of a file that holds the token.
    fn by(script: &str) -> Self {
        let stage = Stage::new();
        let helped = Self { dana: Client::stranger(&stage.mcpd.url()), stage };
        fs::write(helped.token_file(), format!("{}\n", helped.stage.dana_token)).unwrap();
        let script = script.replace("{TOKEN}", helped.token_file().to_str().unwrap());
        fs::write(helped.program(), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(helped.program(), fs::Permissions::from_mode(0o700)).unwrap();
        let url = helped.stage.mcpd.url();
        let program = helped.program();
        let args = ["config", "set-context", "prod", "--server", &url, "--token-command"];
        helped.cmd(&args).arg(&program).args(["--flag", "of the program"]).assert().code(0);
        helped
    }

    fn token_file(&self) -> PathBuf {
        self.stage.mcpd.data_dir().parent().unwrap().join("dana.token")
    }

    fn program(&self) -> PathBuf {
        self.dana.home().join("helper")
    }

    /// The server comes from the context.
    fn cmd(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = self.dana.cmd(args);
        command.env_remove("MCPCTL_SERVER");
        command
    }
}

impl Drop for Helped {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.token_file());
        if !std::thread::panicking() {
            let mut canary = Canary::new();
            canary.watch("dana's token", &self.stage.dana_token);
            canary.sweep(&[self.dana.home()], &[]);
        }
    }
}

#[test]
fn the_program_of_a_context_is_asked_for_its_token_without_a_shell_and_sees_no_other() {
    let helped = Helped::by(
        "printf '%s|' \"$@\" > \"$0.args\"; env > \"$0.env\"; echo 'touch the key' >&2; cat {TOKEN}",
    );
    let shown = says("touch the key").and(says("error").not());
    helped.cmd(&["auth", "whoami"]).assert().code(0).stdout("dana@example.com\n").stderr(shown);
    helped.cmd(&["infer", "chat-prod", PROMPT]).assert().code(0).stdout(format!("{TEN_WORDS}\n"));
    helped.cmd(&["auth", "status"]).assert().code(0).stdout(says("command").and(says("dana@example.com")));
    let said = |what: &str| fs::read_to_string(helped.program().with_extension(what)).unwrap();
    assert_eq!(said("args"), "--flag|of the program|");
    assert!(said("env").contains("HOME=") && !said("env").contains("MCPCTL_TOKEN="), "{}", said("env"));

    // Who names a token means that one; the program is not asked, and would not be told.
    fs::remove_file(helped.program().with_extension("env")).unwrap();
    helped
        .cmd(&["auth", "whoami"])
        .env("MCPCTL_TOKEN", "mcpd_0123456789abcdef_wrong")
        .assert()
        .code(4)
        .stderr(says("401"));
    assert!(!helped.program().with_extension("env").exists());
}

#[test]
fn a_token_in_the_environment_is_not_shown_to_the_program_of_another_context() {
    let helped = Helped::by("env > \"$0.env\"; cat {TOKEN}");
    let url = helped.stage.mcpd.url();
    helped.cmd(&["config", "set-context", "other", "--server", &url]).assert().code(0);
    let mut status = helped.cmd(&["auth", "status"]);
    status.env("MCPCTL_TOKEN", "mcpd_0123456789abcdef_canary").env("MCPCTL_CONTEXT", "other");
    status.assert().code(3).stdout(says("dana@example.com"));
    let seen = fs::read_to_string(helped.program().with_extension("env")).unwrap();
    assert!(!seen.contains("canary"), "{seen}");
}

#[test]
fn the_token_of_a_context_goes_to_no_other_server() {
    let helped = Helped::by("echo >> \"$0.runs\"; cat {TOKEN}");
    let other = Evild::answering(wire::http(200, &[], "{}"));
    let runs = || fs::read(helped.program().with_extension("runs")).map_or(0, |runs| runs.len());
    for (flag, variable) in [(true, false), (false, true)] {
        let mut command = helped.cmd(&["llm", "list"]);
        if flag {
            command.args(["--server", &other.url()]);
        }
        if variable {
            command.env("MCPCTL_SERVER", other.url());
        }
        command.assert().code(4).stderr(says("not logged in"));
    }
    // Whoever makes the context lead elsewhere has to say anew which program gives the token.
    let mut moved = helped.cmd(&["config", "set-context", "prod", "--server", &other.url()]);
    moved.assert().code(0).stderr(says("its tokenCommand was dropped"));
    helped.cmd(&["llm", "list"]).assert().code(4).stderr(says("not logged in"));
    assert_eq!((other.connections(), runs()), (0, 0));
}

#[test]
fn a_program_that_gives_no_token_ends_the_command_before_anything_is_sent() {
    for (script, message) in [
        ("echo 'the vault is sealed' >&2; exit 7", says("the vault is sealed").and(says("it gave no token"))),
        ("true", says("must print one line").and(says("tokenCommand"))),
        ("cat {TOKEN} {TOKEN}", says("must print one line").and(says("tokenCommand"))),
        ("exec yes", says("printed more than").and(says("tokenCommand"))),
    ] {
        let helped = Helped::by(script);
        helped.cmd(&["infer", "chat-prod", PROMPT]).assert().code(4).stdout("").stderr(message);
        assert!(!helped.stage.mcpd.logs().contains("/infer"), "it was asked all the same");
        fs::set_permissions(helped.program(), fs::Permissions::from_mode(0o600)).unwrap();
        helped.cmd(&["llm", "list"]).assert().code(2).stderr(says("cannot be run"));
        fs::remove_file(helped.program()).unwrap();
        let gone = helped.cmd(&["llm", "list"]).assert();
        gone.code(2).stderr(says("there is no program").and(says("of the program").not()));
    }
}

#[test]
fn a_config_that_others_may_write_names_no_program() {
    let helped = Helped::by("cat {TOKEN}");
    let config = helped.dana.home().join(".config/mcpctl/config.yaml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o622)).unwrap();
    helped.cmd(&["llm", "list"]).assert().code(2).stderr(says("chmod go-w"));
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    helped.cmd(&["llm", "list"]).assert().code(0);
    helped
        .cmd(&["auth", "login", "--token-stdin"])
        .write_stdin("x")
        .assert()
        .code(2)
        .stderr(says("tokenCommand"));
    helped.cmd(&["config", "set-context", "prod", "--no-token-command"]).assert().code(0);
    helped.cmd(&["llm", "list"]).assert().code(4);
}

#[test]
fn a_program_that_asks_for_its_own_token_is_not_run_for_ever() {
    let helped = Helped::by("\"$MCPCTL\" auth whoami; echo mcpd_a_b");
    let mut command = helped.cmd(&["auth", "whoami"]);
    command.env("MCPCTL", assert_cmd::cargo::cargo_bin!("mcpctl"));
    command.assert().stderr(says("not run from within another tokenCommand"));
}

#[test]
fn g01_an_interrupted_question_for_the_token_leaves_nothing_running() {
    let helped = Helped::by("echo $$ > \"$0.pid\"; exec sleep 1000");
    let mut command = helped.dana.raw(["llm", "list"]);
    command.env_remove("MCPCTL_SERVER").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // As a terminal does it: the signal goes to everybody in the foreground.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().unwrap();
    let pid_file = helped.program().with_extension("pid");
    let pid = || fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    fakes::wait_until(Duration::from_secs(30), "the helper", || pid().is_some());
    let helper = pid().unwrap();
    let group = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
    let interrupted = Instant::now();
    child.wait().unwrap();
    // Far less than the minute that a program may take.
    assert!(interrupted.elapsed() < Duration::from_secs(10), "it took {:?}", interrupted.elapsed());
    fakes::wait_until(Duration::from_secs(5), "the end of the helper", || !fakes::alive(helper));
}

/// The token may be the only one of an administrator.
#[test]
fn nobody_is_logged_out_by_the_login_of_somebody_else() {
    let stage = Stage::new();
    let desk = Client::stranger(&stage.mcpd.url());
    let login = |token: &str, more: &[&str]| {
        let mut command = desk.cmd(["auth", "login", "--token-stdin"].iter().chain(more));
        command.write_stdin(token).assert()
    };
    let who = |name: &'static str| desk.cmd(["auth", "whoami"]).assert().code(0).stdout(says(name));
    stage.mcpd.create_user("ana@example.com");
    let ana = stage.mcpd.token_for("ana@example.com");
    login(&ana, &[]).code(0);
    let refused = format!("error: ana@example.com is logged in to {} already\n", stage.mcpd.url());
    let refused = || says(&refused).and(says("mcpctl auth logout, or --replace"));
    login(&stage.dana_token, &[]).code(2).stdout("").stderr(refused());
    who("ana@example.com");
    // The same person may take another token, and a record of somebody else's does not confuse anybody.
    login(&stage.mcpd.token_for("ana@example.com"), &[]).code(0).stderr("");
    let mut other = desk.cmd(["auth", "whoami"]);
    other.env("MCPCTL_TOKEN", &stage.dana_token).assert().code(0);
    login(&stage.dana_token, &[]).code(2).stderr(refused());

    // Nothing is known, and the server tells nothing of a token that was revoked.
    let revoke = ["token", "revoke", token_id(&desk, &stage).as_str()].map(str::to_owned);
    Client::of(&stage.mcpd.url(), stage.mcpd.admin_token()).cmd(revoke).assert().code(0);
    fs::remove_dir_all(desk.home().join(".local/state")).unwrap();
    login(&stage.dana_token, &[]).code(2).stderr(says("whose it is cannot be told").and(says("--replace")));
    login(&stage.dana_token, &["--replace"]).code(0).stdout(says("as dana@example.com"));
    who("dana@example.com");
}

/// The public part of the token that is stored here.
fn token_id(desk: &Client, stage: &Stage) -> String {
    let folder = desk.home().join(".config/mcpctl/credentials");
    let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let token = fs::read_to_string(file.path()).unwrap();
    assert!(!token.contains(&stage.dana_token));
    token.split('_').nth(1).unwrap().to_owned()
}

#[test]
fn a_context_with_a_program_of_its_own_does_not_log_others_out() {
    let helped = Helped::by("cat {TOKEN}");
    let url = helped.stage.mcpd.url();
    helped.cmd(&["config", "set-context", "other", "--server", &url]).assert().code(0);
    let mut login = helped.cmd(&["auth", "login", "--token-stdin", "--context", "other"]);
    login.write_stdin(&*helped.stage.dana_token).assert().code(0);
    let out = helped.cmd(&["auth", "logout", "--context", "prod"]).assert();
    out.code(2).stdout("").stderr(says("gets its token from its tokenCommand"));
    helped.cmd(&["auth", "whoami", "--context", "other"]).assert().code(0);
    helped.cmd(&["auth", "logout", "--context", "other"]).assert().code(0);
    helped.cmd(&["auth", "whoami", "--context", "other"]).assert().code(4);
}

/// Dana's token that ends after this time, by which she logs in.
fn logged_in(stage: &Stage, lifetime: &str) -> Client {
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    let create = ["token", "create", "--user", "dana@example.com", "--expires", lifetime];
    let token = boss.cmd(create).output().unwrap().stdout;
    let dana = Client::stranger(&stage.mcpd.url());
    dana.cmd(["auth", "login", "--token-stdin"]).write_stdin(token).assert().code(0);
    dana
}

#[test]
fn a_token_is_warned_of_three_days_before_its_end_once_a_day_and_not_with_q() {
    let stage = Stage::new();
    let dana = logged_in(&stage, "71h");
    let note = says("note: your token expires in 2d (").and(says("mcpctl auth login --token-stdin"));
    dana.cmd(["llm", "list", "-q"]).assert().code(0).stderr("");
    dana.cmd(["infer", "chat-prod", PROMPT]).assert().code(0).stdout(format!("{TEN_WORDS}\n")).stderr(note);
    dana.cmd(["llm", "list"]).assert().code(0).stderr("");
    dana.cmd(["auth", "status"]).assert().code(0).stdout(says("in 2d"));

    let later = logged_in(&stage, "75h");
    later.cmd(["llm", "list"]).assert().code(0).stderr("");
    let never = Client::stranger(&stage.mcpd.url());
    never.cmd(["auth", "login", "--token-stdin"]).write_stdin(&*stage.dana_token).assert().code(0);
    never.cmd(["llm", "list"]).assert().code(0).stderr("");
}

#[test]
fn what_is_remembered_of_a_token_is_not_asked_for_again() {
    let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(30);
    let who = serde_json::json!({
        "subject": { "kind": "User", "name": "dana@example.com" }, "groups": [], "tokenId": "0123456789abcdef",
        "tokenExpiresAt": ends.to_string(),
    });
    let answer = |document| vec![Step::ReadRequest, Step::Send(wire::json_answer(200, &document))];
    let central = Evild::start([answer(who), answer(serde_json::json!({ "items": [] }))]);
    let dana = Client::stranger(&central.url());
    let token = "mcpd_0123456789abcdef_canarycanary";
    dana.cmd(["auth", "login", "--token-stdin"]).write_stdin(token).assert().code(0);
    dana.cmd(["llm", "list"]).assert().code(0).stderr(says("your token expires in 29h"));
    let asked: Vec<_> = central.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(asked, ["/api/v1/whoami", "/api/v1/llms"]);
}

#[test]
#[cfg(not(feature = "keyring"))]
fn a_build_without_keyrings_says_so_before_anything_is_sent() {
    let central = Evild::answering(wire::http(200, &[], "{}"));
    let dana = Client::stranger(&central.url());
    let mut login = dana.cmd(["auth", "login", "--token-stdin", "--keyring"]);
    login.write_stdin("mcpd_a_b").assert().code(2).stdout("").stderr(says("built without keyrings"));
    assert_eq!(central.connections(), 0);
}

#[test]
fn a_token_that_is_typed_at_a_terminal_is_not_shown_there() {
    let stage = Stage::new();
    let desk = Client::stranger(&stage.mcpd.url());
    let script = "stty echo; trap : INT; mcpctl auth login || echo \"ended $?\"; stty -a; echo over";
    let prompt = format!("Token for {} (not shown): ", stage.mcpd.url());
    let mut terminal = Terminal::run(desk.bash(script));
    terminal.sees(&prompt).types(&stage.dana_token);
    let left = terminal.ended();
    assert!(!left.written.contains(&stage.dana_token), "it was shown");
    assert!(left.screen.contains("as dana@example.com"), "{}", left.screen);
    assert!(left.written.contains(" echo ") && !left.written.contains("-isig"), "{}", left.written);

    // Ctrl-C: nobody has to type `stty echo` blindly afterwards.
    let mut terminal = Terminal::run(desk.bash(script));
    terminal.sees(&prompt).press('c');
    let left = terminal.ended();
    assert!(left.screen.contains("ended 130"), "{}", left.screen);
    assert!(left.written.contains(" echo ") && !left.written.contains("-isig"), "{}", left.written);
}

#[test]
fn a_token_that_the_server_does_not_take_is_named_by_where_it_came_from() {
    let stage = Stage::new();
    let wrong = "mcpd_0123456789abcdef_wrong";
    let desk = Client::stranger(&stage.mcpd.url());
    let given = says("error: the server does not accept the token from MCPCTL_TOKEN (401)");
    let mut list = desk.cmd(["llm", "list"]);
    list.env("MCPCTL_TOKEN", wrong).assert().code(4).stderr(given.and(says("unset MCPCTL_TOKEN")));
    let mut infer = desk.cmd(["infer", "chat-prod", PROMPT]);
    let told = says("the token from MCPCTL_TOKEN").and(says("unset MCPCTL_TOKEN"));
    infer.env("MCPCTL_TOKEN", wrong).assert().code(4).stderr(told.and(says("auth login").not()));
    let filed = Client::of(&stage.mcpd.url(), wrong).cmd(["auth", "whoami"]).assert().code(4);
    filed.stderr(says("does not accept the token from /").and(says("MCPCTL_TOKEN_FILE")));
    let mut login = desk.cmd(["auth", "login", "--token-stdin"]);
    let told = says("does not accept this token (401)").and(says("tip: mcpctl auth login").not());
    login.write_stdin(wrong).assert().code(4).stderr(told);

    let helped = Helped::by("echo mcpd_0123456789abcdef_wrong");
    let told = says("the tokenCommand of the context (401)").and(says("mcpctl config view"));
    helped.cmd(&["llm", "list"]).assert().code(4).stderr(told);
    let mut login = desk.cmd(["auth", "login", "--token-stdin"]);
    login.write_stdin(&*stage.dana_token).assert().code(0);
    let revoke = ["token", "revoke", stage.dana_token.split('_').nth(1).unwrap()];
    Client::of(&stage.mcpd.url(), stage.mcpd.admin_token()).cmd(revoke).assert().code(0);
    let told = says("does not accept the stored token (401)").and(says("auth login --token-stdin"));
    desk.cmd(["llm", "list"]).assert().code(4).stderr(told);
}

#[test]
fn a_config_that_is_named_and_not_there_is_no_empty_one() {
    let desk = Client::stranger("http://127.0.0.1:9");
    let cmd = |args: &[&str]| {
        let mut command = desk.cmd(args);
        command.env_remove("MCPCTL_SERVER").env("MCPCTL_CONFIG", desk.home().join("other.yaml"));
        command
    };
    let told = || says("error: MCPCTL_CONFIG names /").and(says("other.yaml, which does not exist"));
    for args in [&["config", "get-contexts"][..], &["llm", "list"], &["config", "use-context", "a"]] {
        cmd(args).assert().code(2).stderr(told());
    }
    cmd(&["doctor"]).assert().code(3).stdout(says("to mend config: unset MCPCTL_CONFIG"));
    cmd(&["config", "set-context", "a", "--server", "http://127.0.0.1:9"]).assert().code(0);
    cmd(&["config", "get-contexts", "-o", "name"]).assert().code(0).stdout("a\n");
}

#[test]
fn a_context_that_is_nearly_right_is_refused_with_what_was_meant() {
    let desk = Client::stranger("http://127.0.0.1:9");
    let set = |more: &[&str]| desk.cmd(["config", "set-context", "a"].iter().chain(more)).assert().code(2);
    set(&["--server", "localhost:3100"]).stderr(says("did you mean http://localhost:3100?"));
    set(&["--server", "mcpd.example.com"]).stderr(says("did you mean https://mcpd.example.com?"));
    set(&["--server", "u:canary@x"]).stderr(says("canary").not().and(says("did you mean").not()));
    set(&["--server", "http://mcpd.example.com"]).stderr(says("--insecure-http"));
    let words = ["--server", "https://a", "--token-command", "pass show x"];
    set(&words).stderr(says("these are words: --token-command pass show x"));
}
