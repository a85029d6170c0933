//! The stage that every story is played on.

#![expect(clippy::expect_used, reason = "a stage that cannot be set fails the story")]

use crate::shipped;
use assert_cmd::{Command, assert::Assert};
use fakes::{Canary, Engine, Evild, Mcpd, Request, wait_until};
use mcp_api::paths;
use predicates::prelude::*;
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tempfile::{NamedTempFile, TempDir};

/// What the doubles and the tiny model say.
pub(crate) const TEN_WORDS: &str = "The tiny model answers with exactly these ten plain words.";
/// A prompt that must be found nowhere afterwards.
pub(crate) const PROMPT: &str = "canary-prompt-Who-are-you-4e1b";
/// No command of these tests takes longer, even on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// The client of one person: a home of its own, a server, a token.
pub(crate) struct Client {
    home: TempDir,
    server: String,
    /// A file apart from the home, so that the token is no part of a printed command and of no sweep.
    token: Option<NamedTempFile>,
}

impl Client {
    /// A person with a token who uses the server at `url`.
    pub(crate) fn of(url: &str, token: &str) -> Self {
        let file = NamedTempFile::new().expect("a file for the token");
        fs::write(file.path(), format!("{token}\n")).expect("the token");
        Self { token: Some(file), ..Self::stranger(url) }
    }

    /// A person without a token.
    pub(crate) fn stranger(url: &str) -> Self {
        Self { home: tempfile::tempdir().expect("a home"), server: url.to_owned(), token: None }
    }

    /// The home folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where the provider file is looked for by default.
    pub(crate) fn providers_path(&self) -> PathBuf {
        self.home().join(".config/mcpctl/providers.yaml")
    }

    /// Writes the provider file.
    pub(crate) fn providers(&self, text: &str) -> &Self {
        let path = self.providers_path();
        fs::create_dir_all(path.parent().expect("a folder")).expect("the config folder");
        fs::write(&path, text).expect("the provider file");
        // The umask of whoever runs the tests must not matter.
        for path in path.ancestors().take_while(|path| path.starts_with(self.home())) {
            let mode = if path.is_dir() { 0o700 } else { 0o600 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
        self
    }

    /// Declares the provider `laptop` at an OpenAI-compatible base URL as failover for an LLM.
    pub(crate) fn failover(&self, llm: &str, url: &str) -> &Self {
        self.providers(&provider("laptop", llm, url, true))
    }

    /// The program with these arguments, in an environment that holds nothing else.
    pub(crate) fn cmd<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::from_std(self.raw(args));
        command.timeout(LIMIT);
        command
    }

    /// The same, for those who want the child itself.
    pub(crate) fn raw<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> process::Command {
        let mut command = process::Command::new(assert_cmd::cargo::cargo_bin!("mcpctl"));
        command.env_clear().env("HOME", self.home()).env("MCPCTL_SERVER", &self.server);
        if let Some(token) = &self.token {
            command.env("MCPCTL_TOKEN_FILE", token.path());
        }
        command.args(args);
        command
    }

    /// A script in the same environment and the home folder, where `mcpctl` is found.
    pub(crate) fn bash(&self, script: &str) -> process::Command {
        let mcpctl = self.raw::<&str>([]);
        let programs = Path::new(mcpctl.get_program()).parent().expect("a folder");
        let mut command = process::Command::new("bash");
        command.env_clear().envs(mcpctl.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
        command.current_dir(self.home()).args(["-euo", "pipefail", "-c", script]);
        command
    }

    /// Runs `mcpctl infer chat-prod PROMPT` and more arguments.
    pub(crate) fn infer(&self, more: &[&str]) -> Assert {
        self.cmd(["infer", "chat-prod", PROMPT].iter().chain(more)).assert()
    }

    /// Runs `mcpctl infer chat-prod PROMPT -o json`: the exit code, and the one document on stdout.
    pub(crate) fn infer_json(&self, more: &[&str]) -> (i32, Value) {
        let args: Vec<&str> = ["infer", "chat-prod", PROMPT].iter().chain(more).copied().collect();
        self.json(&args)
    }

    /// Runs the program with these arguments and `-o json`: the exit code, and the one document on stdout, which is as
    /// its shipped schema says.
    pub(crate) fn json(&self, args: &[&str]) -> (i32, Value) {
        let output = self.cmd(args.iter().chain(&["-o", "json"])).output().expect("it ran");
        let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("stdout is no document ({error}): {output:?}");
        });
        (output.status.code().expect("an exit code"), shipped::checked(document))
    }
}

/// An entry of a provider file, with the line that starts the list if it is the first.
pub(crate) fn provider(name: &str, llm: &str, url: &str, first: bool) -> String {
    let mut text = if first { "providers:\n".to_owned() } else { String::new() };
    write!(
        text,
        "  - name: {name}\n    type: openai\n    failoverFor: {llm}\n    url: {url}\n    model: {name}-model\n"
    )
    .expect("a string takes all");
    text
}

/// The whole product in small: a real server with one LLM, its upstream, a person who may run it, and that
/// person's local provider. When it goes, it looks for secrets in everything that was written or sent.
pub(crate) struct Stage {
    pub(crate) mcpd: Mcpd,
    pub(crate) upstream: Engine,
    pub(crate) local: Engine,
    pub(crate) dana: Client,
    pub(crate) dana_token: String,
    canary: Canary,
}

impl Stage {
    /// Dana may view and run `chat-prod`.
    pub(crate) fn new() -> Self {
        Self::with_rights(&["view", "run"])
    }

    /// Dana has these rights on `chat-prod`, by the role binding `dana-chat`.
    pub(crate) fn with_rights(verbs: &[&str]) -> Self {
        Self::at(Mcpd::start(), verbs)
    }

    /// The same with a server that the story has started.
    pub(crate) fn at(mcpd: Mcpd, verbs: &[&str]) -> Self {
        let (upstream, local) = (Engine::start(), Engine::builder().text("Hello from the laptop.").start());
        mcpd.create_llm("chat-prod", &upstream.url());
        mcpd.create_user("dana@example.com");
        let grants: Vec<_> = verbs.iter().map(|verb| (*verb, "llms", Some("chat-prod"))).collect();
        if !grants.is_empty() {
            mcpd.grant("dana-chat", "dana@example.com", &grants);
        }
        let dana_token = mcpd.token_for("dana@example.com");
        let dana = Client::of(&mcpd.url(), &dana_token);
        dana.failover("chat-prod", &local.url());
        let mut canary = Canary::new();
        canary.watch("dana's token", &dana_token);
        canary.watch("the administrator's token", mcpd.admin_token());
        Self { mcpd, upstream, local, dana, dana_token, canary }
    }

    /// The local provider got not one byte.
    pub(crate) fn assert_local_untouched(&self) {
        assert_eq!(self.local.bytes_received(), 0, "the local provider was contacted");
        assert_eq!(self.local.connections(), 0, "the local provider was connected to");
    }
}

/// The server has logged so many requests with this method, and no more. Reports of failovers do not count: they come
/// after everything.
pub(crate) fn assert_logged(mcpd: &Mcpd, method: &str, requests: usize) {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    // The log arrives in its own time: whatever was asked before this is in it when this is.
    let last = format!("last-question-{}", ASKED.fetch_add(1, Ordering::Relaxed));
    let _answer = mcpd.request("GET", "/version", None, &[("x-request-id", &last)], b"");
    let is_meant = |line: &&str| {
        line.contains(&format!("\"method\":\"{method}\"")) && !line.contains(paths::FAILOVER_REPORTS)
    };
    let logged = || mcpd.logs().lines().filter(is_meant).count();
    wait_until(LIMIT, "the log", || mcpd.logs().contains(&last) && logged() >= requests);
    assert_eq!(logged(), requests, "{method} requests");
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let (local, logs) = (self.local.received(), self.mcpd.logs());
        let places: [(&str, &[u8]); 2] =
            [("what the local provider got", &local), ("the server's log", logs.as_bytes())];
        self.canary.sweep(&[self.dana.home(), &self.mcpd.data_dir()], &places);
        // The prompt goes to whoever answers, and is kept by nobody.
        let mut prompt = Canary::new();
        prompt.watch("the prompt", PROMPT);
        prompt.sweep(&[self.dana.home(), &self.mcpd.data_dir()], &[("the server's log", logs.as_bytes())]);
    }
}

/// A person whose server is a scripted double, with a local provider; for what only a broken server does.
pub(crate) struct Scripted {
    pub(crate) central: Evild,
    pub(crate) local: Engine,
    pub(crate) dana: Client,
}

impl Scripted {
    /// The n-th connection to the server gets the n-th script, the last one repeats.
    pub(crate) fn new(central: Evild) -> Self {
        let local = Engine::builder().text("Hello from the laptop.").start();
        let dana = Client::of(&central.url(), "mcpd_0123456789abcdef_canarycanarycanarycanary");
        dana.failover("chat-prod", &local.url());
        Self { central, local, dana }
    }

    /// The local provider got not one byte.
    pub(crate) fn assert_local_untouched(&self) {
        assert_eq!(self.local.bytes_received(), 0, "the local provider was contacted");
    }

    /// How many connections the server got, but for those that told it of a failover afterwards.
    pub(crate) fn asked(&self) -> usize {
        let is_report = |request: &Request| request.target == paths::FAILOVER_REPORTS;
        self.central.connections() - self.central.requests().iter().filter(|it| is_report(it)).count()
    }

    /// How many times the server was asked for permission.
    pub(crate) fn probes(&self) -> usize {
        self.central.requests().iter().filter(|request| request.method == "HEAD").count()
    }
}

/// stderr holds this text.
pub(crate) fn says(text: &str) -> impl Predicate<str> {
    predicate::str::contains(text.to_owned())
}
