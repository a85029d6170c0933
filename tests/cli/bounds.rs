//! Answers without end or measure, readers who stop, and clients who leave: time and memory have bounds.

use crate::{
    scripts::{answer, whole},
    support::{Client, LIMIT, PROMPT, Scripted, Stage, TEN_WORDS, assert_logged, says},
};
use fakes::{Engine, Evild, Gate, Mcpd, Script, Step, wait_until, wire};
use predicates::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Output, Stdio},
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;
/// What a run may take at most.
const MEMORY: u64 = 64 * MIB;

/// The most memory that a process had so far, in bytes; none once it has ended.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}

fn spawn(client: &Client, args: &[&str]) -> Child {
    let mut command = client.raw(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be run")
}

/// Runs `infer` to its end, and says how much memory it had.
fn measured(scene: &Scripted, args: &[&str]) -> (Output, u64) {
    let mut child = spawn(&scene.dana, &[&["infer", "chat-prod", PROMPT], args].concat());
    let mut peak = 0;
    let mut drain = child.stdout.take().expect("it is piped");
    let reader = std::thread::spawn(move || {
        let mut read = Vec::new();
        drain.read_to_end(&mut read).map(|_| read)
    });
    wait_until(LIMIT, "the end of the run", || {
        peak = peak.max(peak_memory(child.id()).unwrap_or_default());
        child.try_wait().expect("it is ours").is_some()
    });
    let mut output = child.wait_with_output().expect("it has ended");
    output.stdout = reader.join().expect("no panic").expect("a pipe can be read");
    assert!(peak > 0, "it ended before it could be measured");
    (output, peak)
}

/// A stream that begins well and then goes on like this.
fn endless(steps: Script) -> Script {
    vec![Step::ReadRequest, Step::Send(wire::sse_head()), Step::Repeat(steps)]
}

fn denied_after(primary: Script) -> Scripted {
    Scripted::new(Evild::start([primary, answer(403, &[], "")]))
}

#[test]
fn s06_a_compressed_answer_is_refused_unread() {
    let zeros = vec![0; 1 << 20];
    for encoding in ["gzip", "br", "deflate", "zstd", "gzip, identity"] {
        for (content_type, args) in [("text/event-stream", &[][..]), ("application/json", &["--no-stream"])] {
            let head = wire::head(200, &[("content-type", content_type), ("content-encoding", encoding)]);
            // The member's head, and then zeros without end, which a decoder would take for ever.
            let gzip = [&head[..], b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"].concat();
            let script =
                vec![Step::ReadRequest, Step::Send(gzip), Step::Repeat(vec![Step::Send(zeros.clone())])];
            let scene = denied_after(script);
            let (output, peak) = measured(&scene, args);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), output.stdout.len()), (Some(7), 0), "{encoding}: {stderr}");
            assert!(stderr.contains("content encoding"), "{stderr}");
            assert!(peak < MEMORY, "{encoding}: {} MiB", peak / MIB);
            assert_eq!(scene.central.requests()[0].header("accept-encoding"), None, "nobody asked for it");
            assert_eq!(scene.central.connections(), 1);
            scene.assert_local_untouched();
        }
    }
}

#[test]
fn s06_an_encoding_that_changes_nothing_is_no_encoding() {
    let headers = [("content-type", "text/event-stream"), ("content-encoding", "identity")];
    let body: Vec<u8> = wire::answer(TEN_WORDS).iter().flat_map(|data| wire::event(data)).collect();
    let scene = denied_after(whole([wire::head(200, &headers), body].concat()));
    scene.dana.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr("");
}

#[test]
fn s07_a_line_without_end_is_refused_at_a_mebibyte() {
    let megabyte = Step::Send(vec![b'x'; 1 << 20]);
    for begin in ["data: {\"a\":\"", ": ", "event: ", ""] {
        let script = endless(vec![megabyte.clone()]);
        let script = [&script[..2], &[Step::Send(begin.into())], &script[2..]].concat();
        let scene = denied_after(script);
        let (output, peak) = measured(&scene, &[]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(7), 0), "{stderr}");
        assert!(stderr.contains("a line is longer than 1 MiB"), "{stderr}");
        assert!(peak < MEMORY, "{} MiB", peak / MIB);
        assert_eq!(scene.central.connections(), 1);
        scene.assert_local_untouched();
    }
}

#[test]
fn s07_an_event_without_end_is_refused_at_a_mebibyte() {
    let lines = format!("data: {}\n", "x".repeat(1000)).repeat(1000);
    let (output, peak) = measured(&denied_after(endless(vec![Step::Send(lines.into())])), &[]);
    assert_eq!(output.status.code(), Some(7));
    assert!(peak < MEMORY, "{} MiB", peak / MIB);
}

#[test]
fn s07_comments_are_no_content_however_many_come() {
    let flood = vec![Step::Send(": still here\n\n".repeat(5000).into())];
    let trickle = vec![Step::Send(b": still here\n\n".to_vec()), Step::Pause(Duration::from_millis(20))];
    let empty_events = vec![Step::Send(format!("data: {}\n\n", wire::role()).repeat(500).into())];
    for steps in [flood, trickle, empty_events] {
        let scene = denied_after(endless(steps));
        let (output, peak) = measured(&scene, &["--first-token-timeout", "500ms"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(5), 0), "{stderr}");
        assert!(stderr.contains("central sent no content within 0.5 s"), "{stderr}");
        assert!(peak < MEMORY, "{} MiB", peak / MIB);
        assert_eq!((scene.central.connections(), scene.probes()), (2, 1));
        scene.assert_local_untouched();
    }
}

#[test]
fn s07_comments_after_content_are_silence() {
    let flood = vec![Step::Send(": still here\n\n".repeat(5000).into())];
    let trickle = vec![Step::Send(b": still here\n\n".to_vec()), Step::Pause(Duration::from_millis(20))];
    for steps in [flood, trickle] {
        let script = endless(steps);
        let first = Step::Send(wire::event(&wire::content("Hel")));
        let scene = denied_after([&script[..2], &[first], &script[2..]].concat());
        let told = says("the answer broke off after 3 bytes").and(says("central sent nothing for 0.5 s"));
        scene.dana.infer(&["--idle-timeout", "500ms"]).code(8).stdout("Hel").stderr(told);
        assert_eq!(scene.central.connections(), 1);
        scene.assert_local_untouched();
    }
}

#[test]
fn s07_an_answer_without_end_ends_with_the_callers_own_limit_and_is_not_kept() {
    let words = wire::event(&wire::content(" tick")).repeat(500);
    let scene = denied_after(endless(vec![Step::Send(words)]));
    let (output, peak) = measured(&scene, &["--timeout", "1500ms"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(8), "{stderr}");
    assert!(stderr.contains("--timeout 1.5 s is over"), "{stderr}");
    assert!(output.stdout.starts_with(b" tick tick") && output.stdout.len() % 5 == 0);
    assert!(peak < MEMORY, "{} MiB", peak / MIB);
    assert_eq!(scene.central.connections(), 1);
    scene.assert_local_untouched();
}

/// Dana's program, a real server, and an upstream that sends as fast as it can.
#[test]
fn s12_a_reader_who_stops_fills_no_memory_and_the_server_lets_the_upstream_go() {
    let event = wire::event(&wire::content(&"tick ".repeat(10_000)));
    let upstream = Evild::start([endless(vec![Step::Send(event)])]);
    let mcpd = Mcpd::builder().arg("--client-stall-timeout").arg("1s").start();
    mcpd.create_llm("chat-prod", &format!("{}/v1", upstream.url()));
    let local = Engine::start();
    let token =
        mcpd.user_with("dana", &[("view", "llms", Some("chat-prod")), ("run", "llms", Some("chat-prod"))]);
    let dana = Client::of(&mcpd.url(), &token);
    dana.failover("chat-prod", &local.url());

    let child = spawn(&dana, &["infer", "chat-prod", PROMPT]);
    // Nobody reads its stdout. The pipe fills, then its buffers, then the server's; then the server gives up.
    upstream.wait_for_close(0, LIMIT);
    let (client, server) = (peak_memory(child.id()).unwrap(), peak_memory(mcpd.pid()).unwrap());
    assert!(client < MEMORY, "the client kept {} MiB", client / MIB);
    assert!(server < 2 * MEMORY, "the server kept {} MiB", server / MIB);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(8), "{stderr}");
    assert!(output.stdout.starts_with(b"tick tick") && stderr.contains("the answer broke off"));
    assert_eq!((upstream.connections(), local.connections()), (1, 0));
}

/// Starts an answer without end, and waits for its first word.
fn ticking(stage: &Stage) -> (Child, BufReader<ChildStdout>) {
    let mut child = spawn(&stage.dana, &["infer", "chat-prod", &format!("{PROMPT} [forever]")]);
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    assert!(stdout.fill_buf().expect("a pipe can be read").starts_with(b" t"));
    (child, stdout)
}

fn assert_cancelled(stage: &Stage, since: Instant) {
    let cancelled = stage.upstream.wait_for_cancel(SOON);
    let took = cancelled.saturating_duration_since(since);
    assert!(took < Duration::from_secs(5), "the upstream worked on for {took:?}");
    wait_until(SOON, "the server's line about it", || stage.mcpd.logs().contains("client_gone"));
    // Leaving is no outage.
    assert_logged(&stage.mcpd, "HEAD", 0);
    stage.assert_local_untouched();
}

#[test]
fn s13_an_interrupt_cancels_the_upstream() {
    for signal in [Signal::INT, Signal::TERM] {
        let stage = Stage::new();
        let (mut child, stdout) = ticking(&stage);
        let since = Instant::now();
        kill_process(Pid::from_child(&child), signal).expect("the process is ours");
        let ended = child.wait().unwrap();
        let as_a_shell_sees_it = ended.code().or(ended.signal().map(|signal| 128 + signal));
        assert_eq!(as_a_shell_sees_it, Some(128 + signal.as_raw()));
        assert_cancelled(&stage, since);
        drop(stdout);
    }
}

#[test]
fn s13_a_closed_stdout_cancels_the_upstream_quietly() {
    let stage = Stage::new();
    let (mut child, stdout) = ticking(&stage);
    let since = Instant::now();
    drop(stdout);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(141), ""));
    assert_cancelled(&stage, since);
}

/// Only events say something before the answer does, so only with them can it be noticed that early.
#[test]
fn s13_who_leaves_before_the_primary_fails_is_asked_no_permission_for() {
    let gate = Gate::new();
    let primary =
        [vec![Step::ReadRequest, Step::WaitAt(gate.clone())], vec![Step::Send(wire::http(503, &[], ""))]];
    let scene = Scripted::new(Evild::start([primary.concat(), answer(200, &[], "")]));
    let mut child = spawn(&scene.dana, &["infer", "chat-prod", PROMPT, "-o", "jsonl"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    assert!(first.contains("start"), "{first}");
    drop(stdout);
    gate.open();
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert_eq!((scene.central.connections(), scene.probes()), (1, 0));
    scene.assert_local_untouched();
}

#[test]
fn s13_an_interrupt_before_the_first_word_cancels_the_upstream() {
    let stage = Stage::new();
    stage.upstream.set_fault(fakes::Fault::HangAfter(0));
    let mut child = spawn(&stage.dana, &["infer", "chat-prod", PROMPT]);
    stage.upstream.wait_for_request(1, SOON);
    let since = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).expect("the process is ours");
    let ended = child.wait().unwrap();
    assert_eq!(ended.code().or(ended.signal().map(|signal| 128 + signal)), Some(130));
    assert_cancelled(&stage, since);
}

#[test]
fn s13_one_who_leaves_a_local_answer_stops_the_provider() {
    let stage = Stage::new();
    stage.upstream.stop();
    let (mut child, stdout) = ticking(&stage);
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(141));
    stage.local.wait_for_cancel(SOON);
    assert_eq!(stage.local.requests(), 1);
}
