//! The life of an engine with the real llama-server, which is ready in a fraction of a second.

use crate::{
    engine_stage::{EngineStage, ended, llama, signal, texts, wait_for_end},
    support::{LIMIT, TEN_WORDS, says},
};
use fakes::{Canary, LlamaServer, alive, required, wait_until};
use mcpctl::clock::Moment;
use predicates::prelude::*;
use rustix::process::Signal;
use std::{
    fs,
    io::Read,
    process::{Child, Stdio},
    time::Duration,
};

const MISSING: &str = "llama-server";

fn answer() -> String {
    format!("{TEN_WORDS}\n")
}

#[test]
fn e04_commands_at_once_share_the_real_engine() {
    let Some(stage) = EngineStage::of_llama("") else { return required(MISSING) };
    let children: Vec<_> = (0..8).map(|_| stage.begin(&[])).collect();
    for child in children {
        let (stdout, stderr) = texts(&ended(child));
        assert_eq!(stdout, answer(), "{stderr}");
    }
    assert_eq!(stage.log().matches("mcpctl: starting ").count(), 1);
    stage.assert_asked(8, 8);
}

#[test]
fn e05_the_next_command_starts_the_real_engine_anew_whoever_was_killed() {
    let Some(stage) = EngineStage::of_llama("") else { return required(MISSING) };
    stage.infer(&[]).code(0).stdout(answer());
    for killed in [&["engine"][..], &["supervisor"], &["supervisor", "engine"]] {
        let (engine, pids) = (stage.pid_of("engine"), killed.iter().map(|who| stage.pid_of(who)));
        pids.collect::<Vec<_>>().into_iter().for_each(|pid| signal(pid, Signal::KILL));
        stage.infer(&[]).code(0).stdout(answer());
        assert!(!alive(engine) && stage.pid_of("engine") != engine, "{killed:?}");
        let sockets = fs::read_dir(stage.runtime().join("mcpctl/v1")).unwrap().count();
        assert_eq!(sockets, 1, "a socket is left after {killed:?}");
    }
}

/// A question that is answered until somebody has had enough, and the child once it is being answered.
fn begin_forever(stage: &EngineStage) -> Child {
    let mut command = stage.raw(&["infer", "chat-prod", "[forever] please"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 10]).unwrap();
    child
}

#[test]
fn e06_the_real_engine_ends_when_it_is_idle_and_not_before() {
    let Some(stage) = EngineStage::of_llama("idleTimeoutMinutes: 0.005") else { return required(MISSING) };
    let child = begin_forever(&stage);
    let (engine, since) = (stage.pid_of("engine"), Moment::now());
    wait_until(LIMIT, "three times the limit", || since.elapsed() > Duration::from_millis(900));
    assert!(alive(engine), "it was stopped with a request in flight");
    signal(child.id(), Signal::INT);
    ended(child);
    wait_for_end(engine);
    stage.wait_for_phase("ended");
    assert_eq!(stage.record()["state"]["why"], "idle");
    assert_eq!(fs::read_dir(stage.runtime().join("mcpctl/v1")).unwrap().count(), 0, "a socket is left");
}

#[test]
fn e06_a_stop_at_once_cuts_the_answer_of_the_real_engine() {
    let Some(stage) = EngineStage::of_llama("") else { return required(MISSING) };
    let child = begin_forever(&stage);
    let engine = stage.pid_of("engine");
    stage.stop(true).unwrap();
    assert!(!alive(engine));
    assert_eq!(ended(child).status.code(), Some(8), "what was cut counts as complete");
}

#[test]
fn e01_the_real_engine_on_a_port_is_asked_with_a_key_that_no_log_shows() {
    let Some(stage) = EngineStage::of_llama("port: 0") else { return required(MISSING) };
    stage.infer(&[]).code(0).stdout(answer());
    let key = fs::read_to_string(stage.place().join("key")).unwrap();
    let environment = fs::read(format!("/proc/{}/environ", stage.pid_of("engine"))).unwrap();
    let expected = format!("LLAMA_API_KEY={key}");
    assert!(environment.split(|byte| *byte == 0).any(|variable| variable == expected.as_bytes()));
    let command_line = fs::read(format!("/proc/{}/cmdline", stage.pid_of("engine"))).unwrap();
    let mut canary = Canary::new();
    canary.watch("the engine's key", &key);
    stage.stop(true).unwrap();
    canary.sweep(&[stage.dana.home()], &[("the engine's arguments", &command_line)]);
}

#[test]
fn e07_a_model_that_the_real_engine_cannot_read_is_told_in_its_words() {
    let Some(program) = LlamaServer::program() else { return required(MISSING) };
    let stage = EngineStage::new("");
    let model = stage.dana.home().join("broken.gguf");
    fs::write(&model, b"GGUF and nothing that belongs there").unwrap();
    let entry =
        llama(&program, "").replace(&LlamaServer::model().display().to_string(), model.to_str().unwrap());
    stage.declare(&entry);
    let told = says("llama-server did not start: it ended with exit code 1: ")
        .and(says("failed to"))
        .and(says("the end of its log"));
    stage.infer(&[]).code(7).stdout("").stderr(told);
    stage.assert_asked(1, 1);
}
