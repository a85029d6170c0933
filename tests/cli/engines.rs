//! An engine that mcpctl starts, from its first request to its end: shared, counted, found again, stopped.

use crate::{
    engine_stage::{EngineStage, ended, signal, texts, wait_for_end, wait_until_old, within},
    support::{LIMIT, PROMPT, TEN_WORDS, says},
};
use fakes::{FakeEngine, alive, required, wait_until};
use mcpctl::clock::Moment;
use predicates::prelude::*;
use rustix::process::Signal;
use std::{
    io::{BufRead, BufReader},
    thread,
    time::Duration,
};

const LAPTOP: &str = "failover: answering from local provider \"laptop\"";

#[test]
fn p01_the_real_llama_server_is_started_for_the_first_request_and_kept_for_the_next() {
    let Some(stage) = EngineStage::of_llama("") else { return required("llama-server") };
    let answer = format!("{TEN_WORDS}\n");
    let told = says("starting llama-server").and(says("ready after")).and(says(LAPTOP));
    stage.infer(&[]).code(0).stdout(answer.clone()).stderr(told);
    let engine = stage.pid_of("engine");
    stage.infer(&[]).code(0).stdout(answer).stderr(says(LAPTOP).and(says("starting").not()));
    assert_eq!(stage.pid_of("engine"), engine);
    stage.assert_asked(2, 2);
}

#[test]
fn p18_a_start_that_takes_longer_than_a_permission_lasts_asks_again() {
    let (revoked, kept) = (FakeEngine::vllm().gated(), FakeEngine::vllm().gated());
    let (dana, erin) = (EngineStage::of(&revoked, ""), EngineStage::of(&kept, ""));
    let (child, other) = (dana.begin(&[]), erin.begin(&[]));
    revoked.wait_for_start();
    kept.wait_for_start();
    let asked = Moment::now();
    dana.mcpd.delete_binding("dana-chat");
    wait_until_old(asked);
    revoked.open_gate();
    kept.open_gate();

    let output = ended(child);
    let (stdout, stderr) = texts(&output);
    assert_eq!((output.status.code(), stdout.as_str()), (Some(5), ""), "{stderr}");
    assert!(stderr.contains("failover refused: run is not granted (403)"), "{stderr}");
    dana.assert_asked(1, 2);
    assert!(revoked.chats().is_empty(), "the engine got a prompt");
    assert!(!contains(&revoked.requests(), PROMPT), "the engine got the prompt");

    let output = ended(other);
    let (stdout, stderr) = texts(&output);
    assert_eq!((output.status.code(), stdout), (Some(0), format!("{TEN_WORDS}\n")), "{stderr}");
    assert!(stderr.contains("confirmed by the server") && stderr.contains(", again"), "{stderr}");
    erin.assert_asked(1, 2);
    assert_eq!(kept.chats().len(), 1);
}

/// As if the machine slept: the command stands still between the word of the server and the prompt.
#[test]
fn g04_a_permission_ages_while_the_command_stands_still() {
    let engine = FakeEngine::vllm().gated();
    let stage = EngineStage::of(&engine, "");
    let child = stage.begin(&[]);
    engine.wait_for_start();
    let asked = Moment::now();
    signal(child.id(), Signal::STOP);
    engine.open_gate();
    stage.wait_for_phase("ready");
    stage.mcpd.delete_binding("dana-chat");
    wait_until_old(asked);
    signal(child.id(), Signal::CONT);
    let output = ended(child);
    let (stdout, stderr) = texts(&output);
    assert_eq!((output.status.code(), stdout.as_str()), (Some(5), ""), "{stderr}");
    stage.assert_asked(1, 2);
    assert!(engine.chats().is_empty(), "the engine got the prompt");
}

/// The clock by which permissions and engines age goes on while the machine sleeps: only that clock is moved here.
#[test]
fn g04_the_clock_counts_the_sleep_of_the_machine() {
    let jump = ["unshare", "--time", "--boottime", "1000000"];
    let tried = std::process::Command::new(jump[0]).args(&jump[1..]).arg("true").output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return required("time namespace of one's own");
    }
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    let before = Moment::now().as_secs();
    let output = within(&jump, &stage.raw(&["infer", "chat-prod", PROMPT])).output().unwrap();
    assert_eq!(texts(&output).0, format!("{TEN_WORDS}\n"), "{output:?}");
    let started = stage.record()["started"].as_u64().unwrap();
    assert!(started >= before + 1_000_000, "{started} is another clock than {before}");
    // Process numbers start at other moments in there, so that nobody out here may end it.
    let target = stage.pid_of("engine").to_string();
    let stop = stage.raw(&["providers", "stop", "laptop", "--now"]);
    let stopped = within(&["nsenter", "--target", &target, "--time"], &stop).output().unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn p18_a_quick_start_needs_one_permission() {
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    stage.assert_asked(1, 1);
    // The name by which it answers is of this start only.
    assert_eq!(engine.chats()[0]["model"], engine.argument("--alias").unwrap().as_str());
}

#[test]
fn p20_an_engine_that_fails_at_its_start_is_told_with_both_errors_and_there_is_no_way_back() {
    let engine = FakeEngine::vllm().failing_at_start(1, &["ValueError: no room for the model"]);
    let stage = EngineStage::of(&engine, "");
    let told = says("central answered 502")
        .and(says("failover: provider \"laptop\" failed: vLLM did not start: it ended with exit code 1"))
        .and(says("ValueError: no room for the model"))
        .and(says("mcpctl providers logs laptop"));
    stage.infer(&[]).code(7).stdout("").stderr(told);
    stage.assert_asked(1, 1);
    assert_eq!(engine.starts().len(), 1, "the same would fail again");
}

#[test]
fn p20_an_engine_that_dies_in_an_answer_is_started_once_more_and_no_more() {
    let engine = FakeEngine::vllm().hanging(fakes::Hang::Chat).exiting(0);
    let stage = EngineStage::of(&engine, "");
    engine.open_chat_gate();
    thread::scope(|scope| {
        let run = scope.spawn(|| stage.infer(&[]));
        engine.wait_for_chats(1);
        // The file stays: the second process ends as well, at its start.
        engine.tell_exit();
        let told = says("central answered 502")
            .and(says("trying it once more"))
            .and(says("failover: provider \"laptop\" failed"));
        run.join().unwrap().code(7).stdout("").stderr(told);
    });
    stage.assert_asked(1, 1);
    assert_eq!((engine.starts().len(), engine.chats().len()), (2, 1));
}

#[test]
fn p20_an_engine_that_dies_after_the_first_words_is_no_reason_for_another_try() {
    let engine = FakeEngine::vllm().dying_in_chat(1);
    let stage = EngineStage::of(&engine, "");
    let cut = says("the answer broke off").and(says("provider \"laptop\""));
    stage.infer(&[]).code(8).stdout(predicate::str::starts_with("The tiny")).stderr(cut);
    stage.assert_asked(1, 1);
    assert_eq!((engine.starts().len(), engine.chats().len()), (1, 1));
}

#[test]
fn e04_twenty_commands_at_once_start_one_engine_and_all_are_answered() {
    let engine = FakeEngine::llama().gated();
    let stage = EngineStage::of(&engine, "");
    let children: Vec<_> = (0..20).map(|_| stage.begin(&[])).collect();
    stage.wait_for_probe(20);
    engine.wait_for_start();
    engine.open_gate();
    for child in children {
        let output = ended(child);
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stdout), (Some(0), format!("{TEN_WORDS}\n")), "{stderr}");
    }
    assert_eq!((engine.starts().len(), engine.chats().len()), (1, 20));
    stage.assert_asked(20, 20);
}

#[test]
fn e05_whoever_started_it_is_killed_and_the_others_are_answered() {
    let engine = FakeEngine::vllm().gated();
    let stage = EngineStage::of(&engine, "");
    let first = stage.begin(&[]);
    let pid = engine.wait_for_start();
    let others: Vec<_> = (0..3).map(|_| stage.begin(&[])).collect();
    stage.wait_for_probe(4);
    signal(first.id(), Signal::KILL);
    ended(first);
    engine.open_gate();
    for child in others {
        let output = ended(child);
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stdout), (Some(0), format!("{TEN_WORDS}\n")), "{stderr}");
    }
    assert_eq!(*engine.starts().last().unwrap(), stage.pid_of("engine"));
    assert!(engine.starts().len() <= 2 && (alive(pid) || engine.starts().len() == 2));
}

#[test]
fn e05_a_supervisor_that_is_killed_while_it_loads_is_followed_by_another_and_one_engine() {
    let engine = FakeEngine::vllm().gated().ignoring_term();
    let stage = EngineStage::of(&engine, "");
    let waiting = stage.begin(&[]);
    let first = engine.wait_for_start();
    stage.wait_for_phase("loading");
    signal(stage.pid_of("supervisor"), Signal::KILL);
    let second = engine.wait_for_starts(2);
    assert!(!alive(first), "two engines at once");
    engine.open_gate();
    let (stdout, stderr) = texts(&ended(waiting));
    assert_eq!(stdout, format!("{TEN_WORDS}\n"), "{stderr}");
    // The same with nobody waiting: the next one cleans up.
    signal(stage.pid_of("supervisor"), Signal::KILL);
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    assert!(!alive(second), "the first engine is left");
    assert_eq!(engine.starts().len(), 3);
}

/// Waits until the clock has moved on; the one thing that a test of a limit can wait for.
fn let_pass(time: Duration) {
    let since = Moment::now();
    wait_until(LIMIT, "the clock", || since.elapsed() > time);
}

#[test]
fn e06_an_idle_engine_ends_counted_from_the_end_of_the_last_request() {
    let engine = FakeEngine::llama().pausing_in_chat();
    // Half a second.
    let stage = EngineStage::of(&engine, "idleTimeoutMinutes: 0.00833");
    let limit = Duration::from_millis(490);
    let child = stage.begin(&[]);
    engine.wait_for_chats(1);
    let_pass(3 * limit);
    assert!(alive(stage.pid_of("engine")), "it was stopped with a request in flight");
    let released = Moment::now();
    engine.open_chat_gate();
    let (stdout, stderr) = texts(&ended(child));
    assert_eq!(stdout, format!("{TEN_WORDS}\n"), "{stderr}");
    wait_for_end(stage.pid_of("engine"));
    assert!(released.elapsed() > limit, "it was stopped {:?} after its last request", released.elapsed());
    stage.wait_for_phase("ended");
    assert_eq!(
        (stage.record()["state"]["why"].as_str(), engine.signals()),
        (Some("idle"), vec!["SIGTERM".into()])
    );
    assert!(stage.log().contains("mcpctl: ended: nobody used it"));
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    // The log goes on where it was.
    assert_eq!(stage.log().matches("mcpctl: starting ").count(), 2);
}

#[test]
fn e06_a_limit_of_zero_is_never() {
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "idleTimeoutMinutes: 0");
    stage.infer(&[]).code(0);
    let_pass(Duration::from_millis(1200));
    assert!(alive(stage.pid_of("engine")) && engine.signals().is_empty());
}

#[test]
fn e06_a_request_that_meets_an_engine_about_to_end_waits_and_gets_another() {
    let engine = FakeEngine::llama().ignoring_term();
    let stage = EngineStage::of(&engine, "idleTimeoutMinutes: 0.005");
    stage.infer(&[]).code(0);
    let first = stage.pid_of("engine");
    wait_until(LIMIT, "SIGTERM", || !engine.signals().is_empty());
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(says("starting llama-server"));
    assert!(!alive(first) && engine.starts().len() == 2);
}

#[test]
fn c05_another_declaration_replaces_the_engine_and_the_same_keeps_it() {
    let engine = FakeEngine::vllm();
    let stage = EngineStage::of(&engine, "maxModelLen: 1024");
    stage.infer(&[]).code(0);
    let first = stage.pid_of("engine");
    // When it ends does not make it another one.
    let declare = |more: &str| stage.declare(&engine.provider("laptop", "chat-prod", more));
    declare("maxModelLen: 1024\nidleTimeoutMinutes: 3");
    stage.infer(&[]).code(0);
    assert_eq!((stage.pid_of("engine"), engine.starts().len()), (first, 1));
    declare("maxModelLen: 2048");
    let told = says("ending the engine that runs: another one is declared now");
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(told);
    assert!(!alive(first) && engine.starts().len() == 2);
    assert_eq!(engine.argument("--max-model-len").as_deref(), Some("2048"));
}

#[test]
fn c05_an_engine_in_use_is_replaced_only_when_its_request_is_done() {
    let engine = FakeEngine::vllm().pausing_in_chat();
    let stage = EngineStage::of(&engine, "maxModelLen: 1024");
    let old = stage.begin(&[]);
    engine.wait_for_chats(1);
    stage.declare(&engine.provider("laptop", "chat-prod", "maxModelLen: 2048"));
    let mut new = stage.begin(&[]);
    let mut told = BufReader::new(new.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("waiting: an engine of another declaration is in use") {
        line.clear();
        assert!(told.read_line(&mut line).unwrap() > 0, "it did not wait");
    }
    assert!(engine.signals().is_empty(), "it was asked to end with a request in flight");
    engine.open_chat_gate();
    for child in [old, new] {
        let (stdout, stderr) = texts(&ended(child));
        assert_eq!(stdout, format!("{TEN_WORDS}\n"), "{stderr}");
    }
    assert_eq!((engine.starts().len(), engine.chats().len()), (2, 2));
}
