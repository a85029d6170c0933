//! Interruptions: they end the program at once, and never become a failover.

use crate::{
    engine_stage::{EngineStage, wait_for_end},
    support::{Client, PROMPT, Stage, TEN_WORDS},
};
use fakes::{Blackhole, Engine, Evild, FakeEngine, Fault, Gate, Script, Step, alive, wait_until, wire};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// How long a phase may take to be reached on a loaded machine.
const REACHED: Duration = Duration::from_secs(30);
/// "At once", on a loaded machine; a program that waits for its limits takes minutes.
const AT_ONCE: Duration = Duration::from_secs(5);

fn start(dana: &Client) -> Child {
    let mut command = dana.raw(["infer", "chat-prod", PROMPT]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends the signal and gives the time until the end; the program must die of it and say nothing of a failover.
fn interrupt(mut child: Child, signal: Signal) {
    let sent = Instant::now();
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = child.wait().unwrap();
    assert!(sent.elapsed() < AT_ONCE, "it took {:?} to end", sent.elapsed());
    assert_eq!(status.signal(), Some(signal.as_raw()), "it did not die of the signal: {status:?}");
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(!stderr.contains("error"), "{stderr}");
}

const SIGNALS: [Signal; 2] = [Signal::INT, Signal::TERM];

/// Runs until the server double has seen what it is told to wait for, interrupts, and checks that nothing followed.
fn in_a_phase_of_the_server(script: &Script, connections: usize, wait: impl Fn(&Evild)) {
    for signal in SIGNALS {
        let failed = vec![Step::ReadRequest, Step::Send(wire::http(503, &[], "")), Step::Close];
        let mut scripts = vec![failed; connections - 1];
        scripts.push(script.clone());
        let (central, local) = (Evild::start(scripts), Engine::start());
        let dana = Client::of(&central.url(), "mcpd_0123456789abcdef_canarycanary");
        dana.failover("chat-prod", &local.url());
        let child = start(&dana);
        wait(&central);
        interrupt(child, signal);
        central.wait_for_close(connections - 1, AT_ONCE);
        assert_eq!(
            (central.connections(), local.connections()),
            (connections, 0),
            "something followed {signal:?}"
        );
    }
}

#[test]
fn g01_while_connecting() {
    for signal in SIGNALS {
        let (central, local) = (Blackhole::new(), Engine::start());
        let dana = Client::of(&central.url(), "mcpd_0123456789abcdef_canarycanary");
        dana.failover("chat-prod", &local.url());
        let mut command = dana.raw(["infer", "chat-prod", PROMPT, "-v", "--connect-timeout", "60s"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The line that -v prints right before the call is the sign that it is on its way.
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("request id"), "{line}");
        child.stderr = Some(stderr.into_inner());
        interrupt(child, signal);
        assert_eq!(local.connections(), 0);
    }
}

#[test]
fn g01_while_the_server_thinks() {
    in_a_phase_of_the_server(&vec![Step::ReadRequest, Step::Hang], 1, |central| {
        central.wait_for_request(1, REACHED);
    });
}

#[test]
fn g01_while_the_server_streams() {
    let begun = wire::event(&wire::content("Once upon"));
    let script = vec![Step::ReadRequest, Step::Send(wire::sse_head()), Step::Send(begun), Step::Hang];
    for signal in SIGNALS {
        let (central, local) = (Evild::start([script.clone()]), Engine::start());
        let dana = Client::of(&central.url(), "mcpd_0123456789abcdef_canarycanary");
        dana.failover("chat-prod", &local.url());
        let mut child = start(&dana);
        let mut first = [0; 9];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        assert_eq!(&first, b"Once upon");
        interrupt(child, signal);
        central.wait_for_close(0, AT_ONCE);
        assert_eq!((central.connections(), local.connections()), (1, 0));
    }
}

#[test]
fn g01_while_permission_is_asked_for() {
    in_a_phase_of_the_server(&vec![Step::ReadRequest, Step::Hang], 2, |central| {
        central.wait_for_request(2, REACHED);
    });
}

#[test]
fn g01_while_the_local_provider_thinks_and_streams() {
    for signal in SIGNALS {
        for fault in [Fault::WaitAt(Gate::new()), Fault::HangAfter(2)] {
            let stage = Stage::new();
            stage.upstream.stop();
            stage.local.set_fault(fault);
            let child = start(&stage.dana);
            stage.local.wait_for_request(1, REACHED);
            interrupt(child, signal);
            stage.local.wait_for_cancel(AT_ONCE);
            assert_eq!(stage.local.requests(), 1);
        }
    }
}

#[test]
fn g01_while_another_command_starts_the_engine() {
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    stage.infer(&[]).code(0);
    stage.stop(true).unwrap();
    for (lock, signal) in ["start.lock", "use.lock"].into_iter().zip(SIGNALS) {
        let path = stage.place().join(lock);
        let held = File::options().write(true).open(&path).unwrap();
        held.lock().unwrap();
        let child = stage.begin(&[]);
        let files = PathBuf::from(format!("/proc/{}/fd", child.id()));
        let opened = || {
            let all = fs::read_dir(&files).into_iter().flatten().flatten();
            all.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target == path)
        };
        wait_until(REACHED, "somebody waits for the lock", opened);
        interrupt(child, signal);
        assert_eq!((engine.starts().len(), engine.chats().len()), (1, 1));
    }
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
}

#[test]
fn g01_while_the_engine_starts() {
    for signal in SIGNALS {
        let engine = FakeEngine::vllm().gated();
        let stage = EngineStage::of(&engine, "");
        let child = stage.begin(&[]);
        let pid = engine.wait_for_start();
        interrupt(child, signal);
        // Nobody waits for it any more.
        wait_for_end(pid);
        assert!(engine.chats().is_empty());
        stage.assert_asked(1, 1);
    }
}

#[test]
fn g01_while_the_engine_answers() {
    for signal in SIGNALS {
        let engine = FakeEngine::vllm().pausing_in_chat();
        let stage = EngineStage::of(&engine, "");
        let mut child = stage.begin(&[]);
        let mut first = [0; 3];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        interrupt(child, signal);
        // The engine is well, and free for the next one.
        assert!(alive(stage.pid_of("engine")));
        engine.open_chat_gate();
        stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
        assert_eq!((engine.starts().len(), engine.chats().len()), (1, 2));
    }
}

#[test]
fn g01_an_interrupted_answer_is_cancelled_at_the_upstream_too() {
    let stage = Stage::new();
    stage.upstream.set_fault(Fault::HangAfter(1));
    let mut child = start(&stage.dana);
    let mut first = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    interrupt(child, Signal::INT);
    stage.upstream.wait_for_cancel(AT_ONCE);
    stage.assert_local_untouched();
}

#[test]
fn g02_a_reader_that_leaves_ends_it_quietly() {
    let stage = Stage::new();
    // More than a pipe holds, so that it must notice.
    stage.upstream.set_text("first line\n".to_owned() + &"and so on\n".repeat(100_000));
    let mut child = start(&stage.dana);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!((line.as_str(), output.status.code()), ("first line\n", Some(141)));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    stage.assert_local_untouched();
}

#[test]
fn g02_tables_and_documents_end_quietly_too() {
    let stage = Stage::new();
    for args in [&["llm", "list"][..], &["infer", "chat-prod", PROMPT, "-o", "json"], &["help", "exit-codes"]]
    {
        // The reader is gone before the program starts, so that it cannot be quicker than the reader's leaving.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = stage.dana.raw(args);
        let child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(141), 0), "{args:?}: {output:?}");
    }
}
