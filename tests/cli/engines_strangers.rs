//! Strangers where an engine belongs: at its address, under its process number, on the way to its program. They get
//! no byte, no signal and no start.

use crate::{
    engine_stage::{EngineStage, ended, signal, texts, wait_until_old},
    support::{LIMIT, PROMPT, TEN_WORDS, says},
};
use fakes::{FakeEngine, Refusing, alive, required, wait_until};
use mcpctl::{
    clock::Moment,
    engine::{
        Stopped,
        processes::{Process, here, listeners},
    },
};
use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};
use std::{
    fs::{self, File, Permissions},
    io::{BufRead, BufReader, Read},
    os::{
        fd::AsFd,
        unix::{
            fs::{PermissionsExt, chown},
            process::CommandExt,
        },
    },
    process::{Child, Command, Stdio},
};

/// `nobody`, who is not us.
const OTHER: u32 = 65534;

/// A program of another user that listens where our engine belongs, plays one, and notes every byte that it gets.
struct Squatter {
    engine: FakeEngine,
    child: Option<Child>,
}

impl Squatter {
    /// Ready to be let loose. None unless the tests run as root, who can be two users.
    fn new() -> Option<Self> {
        if !geteuid().is_root() {
            required("second user (these tests are not run as root)");
            return None;
        }
        let engine = FakeEngine::llama();
        let folder = engine.model().parent().unwrap().to_owned();
        let status = Command::new("chown").arg("-R").arg(format!("{OTHER}:{OTHER}")).arg(folder).status();
        assert!(status.unwrap().success());
        Some(Self { engine, child: None })
    }

    /// Takes the port, and is there when this returns.
    fn take(&mut self, port: u16) {
        let mut command = self.engine.command();
        command.arg("--model").arg(self.engine.model()).args([
            "--alias",
            "x",
            "--host",
            "127.0.0.1",
            "--port",
        ]);
        command.arg(port.to_string()).uid(OTHER).gid(OTHER).stdin(Stdio::null());
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let listens = || listeners().iter().any(|it| it.port == port && it.uid == OTHER);
        wait_until(LIMIT, "the squatter listens", listens);
    }

    fn assert_untouched(&self) {
        assert!(self.child.as_ref().is_some_and(|child| alive(child.id())), "it is gone");
        assert_eq!(String::from_utf8_lossy(&self.engine.requests()), "", "the squatter got something");
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn port_of(stage: &EngineStage) -> u16 {
    stage.record()["endpoint"]["tcp"].as_u64().unwrap().try_into().unwrap()
}

#[test]
fn e01_a_port_that_another_user_holds_is_told_before_anything_starts() {
    let Some(mut squatter) = Squatter::new() else { return };
    let engine = FakeEngine::vllm();
    let reserved = Refusing::new();
    let port = reserved.addr().port();
    squatter.take(port);
    let stage = EngineStage::of(&engine, &format!("port: {port}"));
    let told = format!("port {port} of this machine is taken; free it, or give the provider another");
    stage.infer(&[]).code(7).stdout("").stderr(says(&told));
    assert!(engine.starts().is_empty(), "an engine was started");
    squatter.assert_untouched();
}

#[test]
fn e01_an_engine_on_a_port_answers_to_its_key_only() {
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "port: 0");
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    let key = &engine.environment()["LLAMA_API_KEY"];
    assert!(key.len() == 32 && key.chars().all(|c| c.is_ascii_hexdigit()), "no random key");
    let port = port_of(&stage);
    let ours: Vec<_> = listeners().into_iter().filter(|listener| listener.port == port).collect();
    assert!(ours.len() == 1 && ours[0].address.is_loopback(), "{ours:?}");
    // The next start has another one.
    let first = key.clone();
    stage.stop(true).unwrap();
    assert!(!stage.place().join("key").exists(), "the key is left");
    stage.infer(&[]).code(0);
    assert_ne!(engine.environment()["LLAMA_API_KEY"], first);
}

#[test]
fn e01_a_socket_in_a_folder_that_others_may_enter_or_own_gets_no_byte() {
    let makes: [fn(&std::path::Path); 2] = [
        |folder| fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap(),
        |folder| chown(folder, Some(OTHER), None).unwrap(),
    ];
    for (n, unfit) in makes.iter().enumerate() {
        if n == 1 && !geteuid().is_root() {
            return required("second user (these tests are not run as root)");
        }
        let engine = FakeEngine::llama();
        let stage = EngineStage::of(&engine, "idleTimeoutMinutes: 0");
        stage.infer(&[]).code(0);
        let (before, first) = (engine.chats().len(), stage.pid_of("engine"));
        unfit(&stage.runtime().join("mcpctl/v1"));
        // It is as good as dead; the next one gets another folder.
        stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
        assert!(!alive(first) && engine.chats().len() == before + 1);
        let socket = stage.record()["endpoint"]["unix"].as_str().unwrap().to_owned();
        assert!(socket.starts_with(&format!("/tmp/mcpctl-{}/v1/", geteuid().as_raw())), "{socket}");
    }
}

#[test]
fn e02_who_takes_the_port_of_a_dead_engine_gets_nothing() {
    let Some(mut squatter) = Squatter::new() else { return };
    let engine = FakeEngine::vllm();
    let stage = EngineStage::of(&engine, "port: 0");
    stage.infer(&[]).code(0);
    // The record goes on saying that the engine is ready.
    let supervisor = stage.pid_of("supervisor");
    signal(supervisor, Signal::STOP);
    signal(stage.pid_of("engine"), Signal::KILL);
    wait_until(LIMIT, "the end of the engine", || !alive(engine.starts()[0]));
    squatter.take(port_of(&stage));
    stage.infer(&["--timeout", "2s"]).code(7).stdout("").stderr(says("--timeout 2 s is over"));
    squatter.assert_untouched();
    signal(supervisor, Signal::CONT);
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    squatter.assert_untouched();
    assert_eq!(engine.starts().len(), 2);
}

#[test]
fn e02_who_takes_the_port_when_the_supervisor_is_gone_too_gets_nothing() {
    let Some(mut squatter) = Squatter::new() else { return };
    let engine = FakeEngine::vllm();
    let reserved = Refusing::new();
    let port = reserved.addr().port();
    let stage = EngineStage::of(&engine, &format!("port: {port}"));
    stage.infer(&[]).code(0);
    signal(stage.pid_of("supervisor"), Signal::KILL);
    signal(stage.pid_of("engine"), Signal::KILL);
    wait_until(LIMIT, "the end of the engine", || !alive(engine.starts()[0]));
    squatter.take(port);
    let told = format!("port {port} of this machine is taken");
    stage.infer(&[]).code(7).stdout("").stderr(says(&told));
    squatter.assert_untouched();
    assert_eq!(engine.starts().len(), 1);
}

/// Between the check of an engine and the prompt lies a second question for permission here, so that there is time to
/// take the port.
#[test]
fn e02_who_takes_the_port_right_before_the_prompt_gets_nothing() {
    let Some(mut squatter) = Squatter::new() else { return };
    let engine = FakeEngine::vllm().gated();
    let stage = EngineStage::of(&engine, "port: 0");
    let mut child = stage.begin(&[]);
    engine.wait_for_start();
    wait_until_old(Moment::now());
    stage.mcpd.signal(Signal::STOP);
    engine.open_gate();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready after") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended too early");
    }
    let port = port_of(&stage);
    signal(stage.pid_of("engine"), Signal::KILL);
    wait_until(LIMIT, "the end of the engine", || !alive(engine.starts()[0]));
    squatter.take(port);
    stage.mcpd.signal(Signal::CONT);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let (stdout, _) = texts(&ended(child));
    squatter.assert_untouched();
    assert_eq!(stdout, format!("{TEN_WORDS}\n"), "{rest}");
    assert!(rest.contains(&format!("port {port} is held by another user")), "{rest}");
    assert!(rest.contains("trying it once more") && engine.starts().len() == 2, "{rest}");
}

/// A process that nobody here has anything to do with. It writes into a pipe, as engines do.
struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        let mut command = Command::new("cat");
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn process(&self) -> Process {
        Process::find(self.0.id().try_into().unwrap()).unwrap()
    }

    fn pipe(&self) -> u64 {
        rustix::fs::fstat(self.0.stdout.as_ref().unwrap().as_fd()).unwrap().st_ino
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let ended = self.0.try_wait().unwrap();
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        assert!(ended.is_none() || std::thread::panicking(), "the stranger was ended: {ended:?}");
    }
}

#[test]
fn e03_a_number_in_the_record_that_belongs_to_a_stranger_is_never_signalled() {
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    stage.infer(&[]).code(0);
    stage.stop(true).unwrap();
    let (stranger, honest) = (Stranger::new(), stage.record());
    let Process { pid, started } = stranger.process();
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let (now, another) = (here().unwrap(), "00000000-0000-4000-8000-000000000000");
    let forge = |pid: i64, started: u64, boot: &str, pipe: &Value| {
        let process = json!({ "pid": pid, "started": started });
        let mut record = honest.clone();
        (record["supervisor"], record["engine"]) = (process.clone(), process);
        (record["boot"], record["pipe"]) = (boot.into(), pipe.clone());
        record["state"] = json!({ "phase": "ready" });
        fs::write(stage.place().join("record.json"), record.to_string()).unwrap();
    };
    let (pid, no_pipe, its_pipe) = (i64::from(pid), &honest["pipe"], &json!(stranger.pipe()));
    let forged = [
        (pid, started, now.as_str(), no_pipe),
        (pid, started + 1, now.as_str(), no_pipe),
        // In another boot even its log was another pipe.
        (pid, started, another, its_pipe),
        (i64::from(gone.id()), 1, now.as_str(), no_pipe),
        (i64::from(i32::MAX), 1, now.as_str(), no_pipe),
        (1, 1, now.as_str(), no_pipe),
    ];
    for (n, (pid, started, boot, pipe)) in forged.into_iter().enumerate() {
        forge(pid, started, boot, pipe);
        assert_eq!(stage.stop(n % 2 == 0).unwrap(), Stopped::NothingRan);
        // As if somebody did supervise it: now there is a reason to have it ended.
        let held = File::options().write(true).open(stage.place().join("alive.lock")).unwrap();
        held.lock().unwrap();
        stage.infer(&["--timeout", "700ms"]).code(7).stdout("");
        drop(held);
    }
    forge(pid, started, &now, no_pipe);
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    assert_eq!(engine.starts().len(), 2);
}

#[test]
fn e09_words_of_the_provider_file_reach_the_engine_as_they_are() {
    let engine = FakeEngine::llama();
    let words =
        ["--x", "$(touch /tmp/x); `id` && rm -rf ~", "a  b\t'c' \"d\" \\ * ? {e,f} #g", "-", "%s!é $HOME"];
    let stage = EngineStage::of(&engine, &format!("extraArgs: {}", json!(words)));
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    let got = engine.arguments();
    let first = got.iter().position(|argument| argument == "--x").unwrap();
    assert_eq!(got[first..first + words.len()], words);
}

#[test]
fn e09_a_program_in_the_folder_where_somebody_stands_is_not_taken() {
    let engine = FakeEngine::llama();
    let entry = engine.provider("laptop", "chat-prod", "");
    let without: String = entry.split_inclusive('\n').filter(|line| !line.contains("binaryPath")).collect();
    let stage = EngineStage::new(&without);
    let (program, folder) = (engine.program(), engine.program().parent().unwrap().to_owned());
    let infer = |path: &str| {
        let mut command = stage.cmd(&["infer", "chat-prod", PROMPT]);
        command.env("PATH", path).current_dir(&folder);
        command.assert()
    };
    for path in [".:", "", ".", "bin:.:./", "::"] {
        infer(path)
            .code(7)
            .stdout("")
            .stderr(says("llama-server is not on PATH; give binaryPath, or install"));
    }
    assert!(engine.starts().is_empty(), "{} was taken", program.display());
    infer(&format!(".:{}", folder.display())).code(0).stdout(format!("{TEN_WORDS}\n"));
}
