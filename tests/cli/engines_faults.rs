//! Engines that do not start, do not answer, do not end, or do what they must not.

use crate::{
    engine_stage::{EngineStage, ended, signal, texts, wait_for_end},
    support::{LIMIT, TEN_WORDS, says},
};
use fakes::{FakeEngine, Hang, Worker, alive, wait_until};
use mcpctl::clock::Moment;
use predicates::prelude::*;
use rustix::process::Signal;
use std::{fs, thread, time::Duration};

const FAILED: &str = "failover: provider \"laptop\" failed: ";

#[test]
fn e06_a_start_that_the_only_one_gave_up_is_ended() {
    let engine = FakeEngine::vllm().gated().chattering();
    let stage = EngineStage::of(&engine, "");
    stage.infer(&["--timeout", "1s"]).code(7).stdout("").stderr(says("--timeout 1 s is over"));
    wait_for_end(engine.wait_for_start());
    stage.wait_for_phase("ended");
    assert_eq!(stage.record()["state"]["why"], "unwanted");
    assert!(engine.chats().is_empty());
}

#[test]
fn e06_a_start_that_nobody_waits_for_any_more_is_ended() {
    for with in [Signal::KILL, Signal::INT] {
        let engine = FakeEngine::vllm().gated().ignoring_term().worker(Worker::default());
        let stage = EngineStage::of(&engine, "");
        let child = stage.begin(&[]);
        let pid = engine.wait_for_start();
        signal(child.id(), with);
        ended(child);
        wait_for_end(pid);
        wait_for_end(engine.workers()[0]);
        stage.wait_for_phase("ended");
        assert_eq!(stage.record()["state"]["why"], "unwanted");
        assert!(engine.chats().is_empty());
    }
}

/// Each way to leave one's parent, and all together.
const WORKERS: [Worker; 4] = [
    Worker { setsid: true, rename: false, close_output: false },
    Worker { setsid: false, rename: true, close_output: false },
    Worker { setsid: true, rename: false, close_output: true },
    Worker { setsid: true, rename: true, close_output: true },
];

fn with_workers(workers: &[Worker]) -> FakeEngine {
    workers.iter().fold(FakeEngine::vllm(), |engine, worker| engine.worker(*worker))
}

fn assert_all_gone(engine: &FakeEngine) {
    let all: Vec<_> = engine.starts().into_iter().chain(engine.workers()).collect();
    let left: Vec<_> = all.iter().filter(|pid| alive(**pid)).collect();
    assert!(left.is_empty(), "{left:?} of {all:?} are left");
}

#[test]
fn e06_a_stop_ends_all_that_came_of_the_engine() {
    // At once, and when it ends by itself and leaves them behind.
    for now in [true, false] {
        let engine = with_workers(&WORKERS);
        let stage = EngineStage::of(&engine, "");
        stage.infer(&[]).code(0);
        assert_eq!(engine.workers().len(), 4);
        stage.stop(now).unwrap();
        assert_all_gone(&engine);
    }
}

#[test]
fn e06_idleness_and_a_crash_end_all_that_came_of_the_engine() {
    for idle in [true, false] {
        let engine = with_workers(&WORKERS);
        let stage = EngineStage::of(&engine, if idle { "idleTimeoutMinutes: 0.003" } else { "" });
        stage.infer(&[]).code(0);
        if !idle {
            signal(stage.pid_of("engine"), Signal::KILL);
        }
        stage.wait_for_phase("ended");
        assert_all_gone(&engine);
    }
}

/// Not those that have another name *and* no log: nothing that the kernel shows tells them from strangers once their
/// supervisor is gone.
#[test]
fn e06_what_a_killed_supervisor_leaves_behind_is_ended_by_the_next_command() {
    for by_infer in [true, false] {
        let engine = with_workers(&WORKERS[..3]).ignoring_term();
        let stage = EngineStage::of(&engine, "");
        stage.infer(&[]).code(0);
        signal(stage.pid_of("supervisor"), Signal::KILL);
        if by_infer {
            stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
            let first: Vec<_> =
                [engine.starts()[0]].into_iter().chain(engine.workers()[..3].to_vec()).collect();
            assert!(!first.iter().any(|pid| alive(*pid)), "something of the first engine is left");
            assert_eq!(engine.starts().len(), 2);
        } else {
            stage.stop(false).unwrap();
            assert_all_gone(&engine);
        }
    }
}

#[test]
fn e07_a_start_without_progress_is_given_up_and_one_with_progress_is_not() {
    let engine = FakeEngine::vllm().quiet().hanging(Hang::Load);
    let stage = EngineStage::of(&engine, "startTimeoutSeconds: 1");
    let told = says("vLLM did not start: it showed no progress for 1 s (startTimeoutSeconds)");
    stage.infer(&[]).code(7).stdout("").stderr(says(FAILED).and(told));
    assert_all_gone(&engine);

    let engine = FakeEngine::vllm().gated().chattering();
    let stage = EngineStage::of(&engine, "startTimeoutSeconds: 1");
    let begun = Moment::now();
    let child = stage.begin(&[]);
    wait_until(LIMIT, "more than the limit", || begun.elapsed() > Duration::from_millis(2300));
    engine.open_gate();
    let (stdout, stderr) = texts(&ended(child));
    assert_eq!((stdout, engine.starts().len()), (format!("{TEN_WORDS}\n"), 1), "{stderr}");
}

#[test]
fn e07_an_engine_that_ends_while_it_loads_is_told_in_its_own_words_and_without_its_escapes() {
    let lines = [
        "(EngineCore pid=9) ERROR 11-22 09:00:01 [core.py:1] ValueError: no room \u{1b}[31mfor it",
        "\u{1b}]0;owned\u{7}RuntimeError: Engine core initialization failed. See root cause above.",
        "a\u{8}b\u{202e}c",
    ];
    let engine = FakeEngine::vllm().failing_after_stages(3, &lines);
    let stage = EngineStage::of(&engine, "");
    let output = stage.begin(&[]);
    let (stdout, stderr) = texts(&ended(output));
    assert_eq!(stdout, "");
    for part in [FAILED, "it ended with exit code 3: ValueError: no room", "the end of its log,", "  | "] {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
    let raw = stderr.chars().find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}');
    assert_eq!(raw, None, "{stderr:?}");
    assert!(stderr.contains("Engine core initialization failed"), "{stderr}");
}

#[test]
fn e07_an_engine_that_is_killed_while_it_loads_is_told_so() {
    let engine = FakeEngine::vllm().gated().worker(WORKERS[3]);
    let stage = EngineStage::of(&engine, "");
    thread::scope(|scope| {
        let run = scope.spawn(|| stage.infer(&[]));
        signal(engine.wait_for_start(), Signal::KILL);
        let told = says("vLLM did not start: it was killed (signal 9), perhaps for lack of memory");
        run.join().unwrap().code(7).stdout("").stderr(told);
    });
    assert_all_gone(&engine);
    stage.assert_asked(1, 1);
}

#[test]
fn e07_an_engine_that_serves_another_name_is_never_used() {
    for engine in [FakeEngine::vllm().serving("other"), FakeEngine::llama().serving("other")] {
        let stage = EngineStage::of(&engine, "startTimeoutSeconds: 1");
        stage.infer(&[]).code(7).stdout("").stderr(says(FAILED).and(says("no progress")));
        assert!(engine.chats().is_empty(), "it got a prompt");
        assert_all_gone(&engine);
    }
}

#[test]
fn e07_a_hung_engine_is_ended_and_started_once_more() {
    let engine = with_workers(&WORKERS).hanging(Hang::Chat).once().ignoring_term();
    let stage = EngineStage::of(&engine, "");
    let told = says("sent no content within 1 s").and(says("trying it once more"));
    stage.infer(&["--first-token-timeout", "1s"]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(told);
    assert_eq!((engine.starts().len(), engine.chats().len()), (2, 2));
    let first: Vec<_> = [engine.starts()[0]].into_iter().chain(engine.workers()[..4].to_vec()).collect();
    assert!(!first.iter().any(|pid| alive(*pid)), "something of the first engine is left");
    stage.assert_asked(1, 1);
}

#[test]
fn e07_an_engine_that_hangs_again_is_told_with_both_errors() {
    let engine = FakeEngine::llama().hanging(Hang::Chat);
    let stage = EngineStage::of(&engine, "");
    let told = says("central answered 502").and(says(FAILED)).and(says("no content within 1 s"));
    stage.infer(&["--first-token-timeout", "1s"]).code(7).stdout("").stderr(told);
    assert_eq!((engine.starts().len(), engine.chats().len()), (2, 2));
}

#[test]
fn e07_an_engine_that_others_use_is_busy_and_not_hung() {
    let engine = FakeEngine::llama().hanging(Hang::Chat);
    let stage = EngineStage::of(&engine, "");
    let patient = stage.begin(&["--first-token-timeout", "60s"]);
    engine.wait_for_chats(1);
    stage.infer(&["--first-token-timeout", "1s"]).code(7).stdout("").stderr(says("no content within 1 s"));
    assert!(alive(engine.starts()[0]) && engine.starts().len() == 1, "it was ended under another's request");
    signal(patient.id(), Signal::TERM);
    ended(patient);
}

#[test]
fn e07_an_engine_that_says_it_is_dead_is_started_once_more() {
    let engine = FakeEngine::vllm().health(503).once();
    let stage = EngineStage::of(&engine, "");
    stage.infer(&[]).code(0);
    let first = stage.pid_of("engine");
    engine.break_health();
    let told = says("ending the engine that runs: it does not answer").and(says("starting vLLM"));
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(told);
    assert!(!alive(first));
    assert_eq!((engine.starts().len(), engine.chats().len()), (2, 2));
}

/// A supervisor that is slow to hear that its engine is to end: the engine is not used once more meanwhile, and not
/// taken for one that cannot be had.
#[test]
fn e07_an_engine_that_was_asked_to_end_is_waited_for() {
    let hung = FakeEngine::llama().hanging(Hang::Chat).once();
    let ill = FakeEngine::llama().health(503).once();
    let (dana, erin) = (EngineStage::of(&hung, ""), EngineStage::of(&ill, ""));
    erin.infer(&[]).code(0);
    ill.break_health();
    for (engine, stage, chats) in [(&hung, &dana, 2), (&ill, &erin, 2)] {
        let first = stage.begin(&["--first-token-timeout", "1s"]);
        stage.wait_for_phase("ready");
        let supervisor = stage.pid_of("supervisor");
        signal(supervisor, Signal::STOP);
        wait_until(LIMIT, "a signal", || is_pending(supervisor, Signal::USR1));
        let since = Moment::now();
        wait_until(LIMIT, "time for a mistake", || since.elapsed() > Duration::from_millis(300));
        signal(supervisor, Signal::CONT);
        let (stdout, stderr) = texts(&ended(first));
        assert_eq!(stdout, format!("{TEN_WORDS}\n"), "{stderr}");
        assert_eq!((engine.starts().len(), engine.chats().len()), (2, chats));
    }
}

/// The process was sent this signal and has not taken it.
fn is_pending(pid: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & 1 << (signal.as_raw() - 1) != 0
}

#[test]
fn e08_an_engine_that_others_can_reach_is_stopped_and_gets_no_prompt() {
    for engine in [FakeEngine::vllm().listening_everywhere(), FakeEngine::llama().listening_everywhere()] {
        let stage = EngineStage::of(&engine, "");
        let told = says("its API could be reached from other machines").and(says("so it was stopped"));
        stage.infer(&[]).code(7).stdout("").stderr(says(FAILED).and(told));
        assert!(engine.everywhere().is_some() && engine.chats().is_empty());
        assert_eq!(engine.starts().len(), 1, "it would do the same again");
        assert_all_gone(&engine);
    }
}
