//! `providers failovers --probe --watch` and `providers status --wait-for`: what goes on until something happens.

use crate::{
    engine_home::Home,
    engine_stage::{ended, signal, texts, wait_for_end},
    support::{LIMIT, Stage, assert_logged, provider, says},
};
use fakes::FakeEngine;
use mcp_api::{FailoverPolicy, LlmPatch};
use predicates::prelude::*;
use rexpect::session::spawn_command;
use rustix::process::Signal;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

const WATCH: [&str; 4] = ["providers", "failovers", "--probe", "--watch"];
/// How soon something ends that is to end at once.
const AT_ONCE: Duration = Duration::from_secs(5);

fn watching(stage: &Stage, more: &[&str]) -> Child {
    let mut command = stage.dana.raw(WATCH.iter().chain(more));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_pipe_gets_every_round_until_nobody_reads() {
    let stage = Stage::new();
    let mut child = watching(&stage, &["--interval", "100ms", "-o", "jsonl"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert!(next()["ready"] == true && next()["ready"] == true);
    stage.mcpd.delete_binding("dana-chat");
    while next()["ready"] == true {}
    // A file that is just being saved changes nothing, and is told of once.
    stage.dana.providers("providers:\n  - name: lap");
    for _ in 0..4 {
        assert_eq!(next()["provider"], "laptop");
    }
    let another = fakes::Engine::start();
    stage.dana.providers(&provider("another", "chat-prod", &another.url(), true));
    while next()["provider"] != "another" {}
    drop(lines);
    let output = ended(child);
    assert_eq!(output.status.code(), Some(141));
    let warnings = texts(&output).1;
    assert_eq!(warnings.matches("as they were declared before").count(), 1, "{warnings}");
    assert!(stage.local.chats().is_empty(), "a probe sent a prompt");
}

#[test]
fn a_watch_ends_at_once_and_asks_no_more_often_than_it_was_told_to() {
    let stage = Stage::new();
    for interrupted in [true, false] {
        let mut child = watching(&stage, &["--interval", "1h", "-o", "csv"]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(
            lines.next().unwrap().unwrap(),
            "llm,provider,type,model,permission,engine,ready,checked_at"
        );
        assert!(lines.next().unwrap().unwrap().contains(",allowed,running,yes,"));
        let began = Instant::now();
        if interrupted {
            signal(child.id(), Signal::INT);
        } else {
            drop(lines);
        }
        let status = ended(child).status;
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        assert_eq!(status.signal().or(status.code()), Some(if interrupted { 2 } else { 141 }));
    }
    assert_logged(&stage.mcpd, "HEAD", 2);
    let wrong = |args: &[&str]| stage.dana.cmd(args).assert().code(2).stdout("");
    wrong(&["providers", "failovers", "--watch"]).stderr(says("--probe"));
    wrong(&["providers", "failovers", "--probe", "--interval", "1s"]).stderr(says("--watch"));
}

#[test]
fn a_permission_is_short_in_the_table_and_whole_in_a_note() {
    let mut stage = Stage::new();
    let probe = || stage.dana.cmd(&WATCH[..3]).assert().code(3);
    let forbid = LlmPatch { failover: Some(FailoverPolicy::Forbidden), ..LlmPatch::default() };
    stage.mcpd.patch_llm("chat-prod", &forbid);
    let row = |word: &str| predicate::str::is_match(format!(" {word} +running +no\n$")).unwrap();
    let whole = says("note: chat-prod: denied: the administrator forbids failovers of this LLM\n");
    probe().stdout(row("denied")).stderr(whole);
    stage.mcpd.stop();
    let unknown = stage.dana.cmd(&WATCH[..3]).assert().code(3);
    unknown.stdout(row("unknown")).stderr(says("note: chat-prod: unknown: cannot reach 127.0.0.1"));
}

#[test]
fn a_table_in_a_pipe_says_when_each_round_was_and_notes_what_is_new() {
    let stage = Stage::new();
    stage.local.set_fault(fakes::Fault::Loading);
    let mut child = watching(&stage, &["--interval", "50ms"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    for _ in 0..3 {
        assert_eq!(next(), "CHECKED AT            LLM        PROVIDER  PERMISSION  ENGINE     READY");
        let row = next();
        assert!(row.ends_with("Z  chat-prod  laptop    allowed     not ready  no"), "{row}");
    }
    signal(child.id(), Signal::INT);
    let (_, notes) = texts(&ended(child));
    assert_eq!(notes.matches("note: laptop: ").count(), 1, "{notes}");
}

#[test]
fn a_terminal_shows_the_last_round_unless_it_cannot_change_what_it_has_shown() {
    const CLEARED: &str = "\x1b[H\x1b[2J";
    let stage = Stage::new();
    let limit = Some(LIMIT.as_millis().try_into().unwrap());
    let spawn = |term: &str| {
        let mut command = stage.dana.raw(WATCH.iter().chain(&["--interval", "50ms"]));
        command.env("TERM", term);
        spawn_command(command, limit).unwrap()
    };
    let mut terminal = spawn("xterm");
    for _ in 0..3 {
        let before = terminal.exp_string(CLEARED).unwrap();
        assert!(before.is_empty() || before.contains("chat-prod"), "{before:?}");
    }
    terminal.send_control('c').unwrap();
    let rest = terminal.exp_eof().unwrap();
    assert!(!rest.contains("\x1b[?25l"), "the cursor is hidden: {rest:?}");

    let mut dumb = spawn("dumb");
    let mut seen = String::new();
    for _ in 0..3 {
        seen += &dumb.exp_string("chat-prod").unwrap();
    }
    dumb.send_control('c').unwrap();
    assert!(!seen.contains('\x1b'), "{seen:?}");
}

#[test]
fn a_wait_ends_when_a_start_has_come_to_its_end() {
    let engine = FakeEngine::vllm().gated();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    dana.ok(&["start", "laptop", "--wait=false"]);
    let wait = |args: &[&str]| {
        let mut command = dana.raw(&[&["status", "laptop", "--wait-for"], args].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let ready = wait(&["ready", "--timeout", "none"]);
    dana.providers(&["status", "laptop", "--wait-for", "ready", "--timeout", "300ms"])
        .assert()
        .code(3)
        .stdout(says("laptop  starting"))
        .stderr(says("warning: not ready after 0.3 s: laptop\n"));
    engine.open_gate();
    let (out, err) = texts(&ended(ready));
    assert!(out.contains("laptop  running  ") && err.is_empty(), "{out}{err}");
    let stopped = wait(&["stopped"]);
    dana.ok(&["stop", "laptop"]);
    let output = ended(stopped);
    assert_eq!(output.status.code(), Some(0));
    assert!(texts(&output).0.contains("laptop  stopped  "));
    // Without a name all are meant; nothing runs, and nothing is started.
    dana.ok(&["status", "--wait-for", "stopped"]);
    let nobody =
        says("note: laptop is stopped; waiting until it is started: mcpctl providers start laptop\n");
    dana.providers(&["status", "--wait-for", "ready", "--timeout", "100ms"]).assert().code(3).stderr(nobody);
    assert_eq!(engine.starts().len(), 1);
}

#[test]
fn a_wait_for_what_will_never_come_ends_at_once() {
    let failing = FakeEngine::vllm().failing_at_start(1, &["ValueError: no"]);
    let dana = Home::new(&failing.provider("laptop", "chat-prod", ""));
    // It may have failed before this returns.
    let started = dana.providers(&["start", "laptop", "--wait=false"]).output().unwrap();
    assert!(matches!(started.status.code(), Some(0 | 7)), "{started:?}");
    let ready = ["status", "laptop", "--wait-for", "ready", "--timeout", "1h"];
    dana.providers(&ready)
        .assert()
        .code(3)
        .stdout(says("laptop  failed  "))
        .stderr(says("it ended with exit code 1: ValueError: no"));

    // One that could not be started at all, and was not.
    let model = failing.model().join("config.json");
    std::fs::remove_file(model).unwrap();
    dana.declare(&failing.provider("other", "chat-prod", ""));
    let other = ["status", "other", "--wait-for", "ready", "--timeout", "1h"];
    dana.providers(&other).assert().code(3).stderr(says("warning: other: model "));

    // Its supervisor is killed, and the engine goes with it.
    let engine = FakeEngine::llama().gated();
    dana.declare(&engine.provider("laptop", "chat-prod", ""));
    dana.ok(&["start", "laptop", "--wait=false"]);
    let mut command = dana.raw(&ready);
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let supervisor = dana.status("laptop")["supervisorPid"].as_u64().unwrap().try_into().unwrap();
    signal(supervisor, Signal::KILL);
    wait_for_end(supervisor);
    let output = ended(waiting);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    dana.ok(&["stop", "laptop"]);
}

#[test]
fn several_names_are_one_question() {
    let (one, other) = (FakeEngine::llama(), FakeEngine::llama());
    let entries = one.provider("one", "chat-prod", "") + &other.provider("other", "code-prod", "");
    let dana = Home::new(&entries);
    dana.ok(&["start", "one"]);
    let rows =
        |state: &str| predicate::str::is_match(format!(r"\none +running .*\nother +{state} ")).unwrap();
    dana.providers(&["status", "one", "other"]).assert().code(3).stdout(rows("stopped"));
    dana.providers(&["status", "one", "othr"]).assert().code(2).stderr(says("did you mean \"other\"?"));
    dana.ok(&["start", "other"]);
    dana.providers(&["status", "one", "other"]).assert().code(0).stdout(rows("running"));
    dana.ok(&["status", "--wait-for", "ready"]);
    dana.providers(&["status", "--timeout", "1s"]).assert().code(2).stderr(says("--wait-for"));
}
