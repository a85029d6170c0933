//! The stage of a story with an engine that mcpctl starts: the real server in front of an upstream that is dead, a
//! person who may run the LLM, and that person's provider file, home and runtime folder.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a stage that cannot be set fails the story, and stderr is where a failed one is read"
)]

use crate::support::{Client, LIMIT, PROMPT, assert_logged};
use assert_cmd::{Command, assert::Assert};
use fakes::{Canary, FakeEngine, LlamaServer, Mcpd, Refusing, alive, wait_until};
use mcpctl::{clock::Moment, engine, environment::Environment};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Child, Output, Stdio},
    time::Duration,
};

/// How many POSTs make a stage: LLM, user, binding, token.
const POSTS_OF_STAGE: usize = 4;
/// What the permission of the server is worth, and a little more.
const OLD: Duration = Duration::from_millis(10_100);

/// The stage. When it goes it ends every engine of its home, asserts that nothing of any of them is left, and looks
/// for secrets and the prompt in everything that was written.
pub(crate) struct EngineStage {
    pub(crate) mcpd: Mcpd,
    pub(crate) dana: Client,
    pub(crate) dana_token: String,
    _dead_upstream: Refusing,
    /// Where engines noted what they got. The prompt may be there, a token may not.
    notes: Vec<PathBuf>,
}

/// A real server whose LLM `chat-prod` has a dead upstream, and the token of dana, who may run it.
pub(crate) fn server_without_upstream() -> (Refusing, Mcpd, String) {
    let upstream = Refusing::new();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat-prod", &format!("{}/v1", upstream.url()));
    mcpd.create_user("dana@example.com");
    let grants = [("view", "llms", Some("chat-prod")), ("run", "llms", Some("chat-prod"))];
    mcpd.grant("dana-chat", "dana@example.com", &grants);
    let dana_token = mcpd.token_for("dana@example.com");
    (upstream, mcpd, dana_token)
}

impl EngineStage {
    /// Dana may run `chat-prod`, and her provider file has these entries.
    pub(crate) fn new(entries: &str) -> Self {
        let (upstream, mcpd, dana_token) = server_without_upstream();
        let dana = Client::of(&mcpd.url(), &dana_token);
        let stage = Self { mcpd, dana, dana_token, _dead_upstream: upstream, notes: Vec::new() };
        stage.declare(entries);
        fs::create_dir(stage.runtime()).expect("a runtime folder");
        fs::set_permissions(stage.runtime(), fs::Permissions::from_mode(0o700)).expect("chmod");
        stage
    }

    /// Dana's provider `laptop` is this double, with these lines more in its entry.
    pub(crate) fn of(engine: &FakeEngine, more: &str) -> Self {
        let mut stage = Self::new(&engine.provider("laptop", "chat-prod", more));
        stage.notes.push(engine.notes().to_owned());
        stage
    }

    /// Dana's provider `laptop` is the real llama-server. None if this machine has none: see [`fakes::required`].
    pub(crate) fn of_llama(more: &str) -> Option<Self> {
        Some(Self::new(&llama(&LlamaServer::program()?, more)))
    }

    /// Writes other entries into the provider file.
    pub(crate) fn declare(&self, entries: &str) {
        self.dana.providers(&format!("providers:\n{entries}"));
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.dana.home().join("run")
    }

    /// The folder of the engine's record, locks and log.
    pub(crate) fn place(&self) -> PathBuf {
        self.dana.home().join(".local/state/mcpctl/v1/engines/laptop")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.place().join("log")).unwrap_or_default()
    }

    /// The record, null before the first start.
    pub(crate) fn record(&self) -> Value {
        let bytes = fs::read(self.place().join("record.json")).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    pub(crate) fn wait_for_phase(&self, phase: &str) {
        wait_until(LIMIT, phase, || self.record()["state"]["phase"] == phase);
    }

    /// The number of a process of the record: `supervisor` or `engine`.
    pub(crate) fn pid_of(&self, who: &str) -> u32 {
        let pid = self.record()[who]["pid"].as_u64().expect("it was started");
        pid.try_into().expect("a process id")
    }

    pub(crate) fn raw(&self, args: &[&str]) -> process::Command {
        let mut command = self.dana.raw(args);
        command.env("XDG_RUNTIME_DIR", self.runtime());
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command
    }

    pub(crate) fn cmd(&self, args: &[&str]) -> Command {
        let mut command = Command::from_std(self.raw(args));
        command.timeout(LIMIT);
        command
    }

    /// Runs `mcpctl infer chat-prod PROMPT` and more arguments to its end.
    pub(crate) fn infer(&self, more: &[&str]) -> Assert {
        self.cmd(&[&["infer", "chat-prod", PROMPT], more].concat()).assert()
    }

    /// Starts the same and goes on.
    pub(crate) fn begin(&self, more: &[&str]) -> Child {
        let mut command = self.raw(&[&["infer", "chat-prod", PROMPT], more].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("mcpctl can be run")
    }

    /// Ends the engine as `mcpctl providers stop` does, and what is left of an earlier one.
    pub(crate) fn stop(&self, now: bool) -> Result<engine::Stopped, engine::EngineError> {
        let home = self.dana.home().to_str().expect("a path of text");
        engine::stop(&Environment::from([("HOME", home)]), "laptop", now)
    }

    /// The server was asked for an answer and for permission so often, and no more.
    pub(crate) fn assert_asked(&self, answers: usize, permissions: usize) {
        assert_logged(&self.mcpd, "POST", POSTS_OF_STAGE + answers);
        assert_logged(&self.mcpd, "HEAD", permissions);
    }

    /// Waits until the server was asked for permission for the n-th time.
    pub(crate) fn wait_for_probe(&self, n: usize) {
        let asked = || self.mcpd.logs().matches("\"method\":\"HEAD\"").count();
        wait_until(LIMIT, "a question for permission", || asked() >= n);
    }
}

/// The entry of a real llama-server.
pub(crate) fn llama(program: &Path, more: &str) -> String {
    let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "  - name: laptop\n    type: llamacpp-managed\n    failoverFor: chat-prod\n    model: {}\n    binaryPath: {}\n{more}",
        LlamaServer::model().display(),
        program.display(),
    )
}

/// A program within another one, such as `unshare`, whose arguments come first.
pub(crate) fn within(wrapper: &[&str], inner: &process::Command) -> process::Command {
    let mut command = process::Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits until a permission of this moment is too old to be worth a prompt.
pub(crate) fn wait_until_old(asked: Moment) {
    wait_until(LIMIT, "the age of a permission", || asked.elapsed() > OLD);
}

pub(crate) fn wait_for_end(pid: u32) {
    wait_until(LIMIT, &format!("the end of process {pid}"), || !alive(pid));
}

/// Sends a signal to a process that a test has good reason to think of as its own.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    let held = pidfd_open(pid, PidfdFlags::empty()).expect("the process lives");
    pidfd_send_signal(held, signal).expect("it is ours");
}

/// What a child wrote, and how it ended, within the limit of all commands.
pub(crate) fn ended(mut child: Child) -> Output {
    wait_until(LIMIT, "the end of mcpctl", || child.try_wait().expect("it is ours").is_some());
    child.wait_with_output().expect("it is ours")
}

/// Both streams of an output as text.
pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// All processes that came of this home: they have it in their environment, or have a file of it open.
pub(crate) fn processes_of(home: &Path) -> Vec<u32> {
    let me = std::env::current_exe().expect("a process knows its program");
    let variable = format!("HOME={}", home.display());
    let is_of = |pid: &u32| {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let environment = fs::read(proc.join("environ")).unwrap_or_default();
        let files = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
        let mut targets = files.filter_map(|entry| fs::read_link(entry.path()).ok());
        let named = environment.split(|byte| *byte == 0).any(|it| it == variable.as_bytes());
        (named || targets.any(|target| target.starts_with(home)))
            // A child of the test that is about to become another program looks like the test itself.
            && fs::read_link(proc.join("exe")).is_ok_and(|exe| exe != me)
            && alive(*pid)
    };
    let entries = fs::read_dir("/proc").expect("there is a /proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_of).collect()
}

impl Drop for EngineStage {
    fn drop(&mut self) {
        let home = self.dana.home();
        let stopped = self.stop(true);
        let asked = Moment::now();
        let mut left = processes_of(home);
        while !left.is_empty() && asked.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
            left = processes_of(home);
        }
        for pid in &left {
            signal(*pid, Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("---- log of the engine ----\n{}---- end; stopped: {stopped:?} ----", self.log());
            return;
        }
        assert_eq!(left, [0; 0], "processes are left after {stopped:?}");
        if let Some(scratch) = self.record()["scratch"].as_str() {
            assert!(!Path::new(scratch).exists(), "{scratch} is left");
        }
        let logs = self.mcpd.logs();
        let mut tokens = Canary::new();
        tokens.watch("dana's token", &self.dana_token);
        tokens.watch("the administrator's token", self.mcpd.admin_token());
        let notes = self.notes.iter().map(PathBuf::as_path).filter(|path| path.exists());
        let places: Vec<_> = [home].into_iter().chain(notes).collect();
        tokens.sweep(&places, &[("the server's log", logs.as_bytes())]);
        tokens.sweep(&[&self.mcpd.data_dir()], &[]);
        // The prompt goes to whoever answers, and is kept by nobody.
        let mut prompt = Canary::new();
        prompt.watch("the prompt", PROMPT);
        prompt.sweep(&[home, &self.mcpd.data_dir()], &[("the server's log", logs.as_bytes())]);
    }
}
