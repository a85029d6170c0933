//! `providers start`, `stop`, `status` and `logs`, as people and programs see them when all is well.

use crate::{
    engine_home::{Home, matches},
    engine_stage::{llama, signal, wait_for_end},
    support::{Client, LIMIT, Stage, provider, says},
};
use fakes::{Canary, FakeEngine, LlamaServer, process_args_and_env, wait_until};
use predicates::prelude::*;
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::OpenOptionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::Stdio,
};

#[test]
fn the_life_of_a_real_engine_as_its_commands_show_it() {
    let Some(program) = LlamaServer::program() else { return fakes::required("llama-server") };
    let dana = Home::new(&llama(&program, ""));
    let nothing = "NAME    STATE    MODEL  ENDPOINT  PID  UPTIME  IDLE STOP  FAILOVER FOR\n\
                   laptop  stopped  -      -         -    -       -          chat-prod\n";
    assert_eq!(dana.ok(&["status"]), nothing);
    dana.providers(&["logs", "laptop"]).assert().code(3).stdout("").stderr(says("it was never started here"));
    let model = LlamaServer::model();
    let ready = matches(&format!(r"laptop ready in \d+\.\d s \(model {}\)", model.display()));
    dana.providers(&["start", "laptop"]).assert().code(0).stdout(ready);
    let again = format!("laptop is running already (model {})\n", model.display());
    dana.providers(&["start", "laptop"]).assert().code(0).stdout(again.clone()).stderr("");
    assert_eq!(dana.ok(&["start", "laptop", "--wait=false"]), again);

    let row =
        format!(r"(?s).*\nlaptop  running  {}  unix socket  \d+ +\d+s +in 15m +chat-prod", model.display());
    dana.providers(&["status", "laptop"]).assert().code(0).stdout(matches(&row)).stderr("");
    let status = dana.status("laptop");
    assert_eq!((&status["state"], &status["declared"]), (&"running".into(), &true.into()));
    assert_eq!((&status["used"], &status["endpoint"]), (&false.into(), &"unix socket".into()));
    assert_eq!(status["processes"], Value::from(vec![status["pid"].clone()]));
    assert!((800..=900).contains(&status["idleStopSeconds"].as_u64().unwrap()), "{status}");
    let wide = dana.ok(&["status", "-o", "wide"]);
    for path in [&status["socket"], &status["log"]] {
        assert!(wide.contains(path.as_str().unwrap()) && PathBuf::from(path.as_str().unwrap()).exists());
    }
    assert_eq!(dana.ok(&["status", "-o", "name"]), "laptop\n");
    assert!(dana.ok(&["status", "-o", "csv"]).starts_with("name,state,model,endpoint,pid,uptime,idle_stop,"));
    assert!(dana.ok(&["status", "-o", "yaml"]).contains("\n  state: running\n"));
    assert!(dana.ok(&["list"]).contains("laptop  llamacpp-managed  running  "));

    let last = matches(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ .* listening on unix://.*\.sock");
    dana.providers(&["logs", "laptop", "--tail", "1"]).assert().code(0).stdout(last);
    let stopped = matches(r"laptop stopped \(1 process, \d+\.\d s\)");
    dana.providers(&["stop", "laptop"]).assert().code(0).stdout(stopped).stderr("");
    assert_eq!(dana.ok(&["stop", "laptop"]), "laptop was not running\n");
    assert_eq!(dana.ok(&["stop", "--all"]), "no engine was running\n");
    dana.providers(&["status", "laptop"]).assert().code(3).stdout(nothing).stderr("");
    assert_eq!(dana.status("laptop")["lastEnd"]["reason"], "asked");
    assert!(dana.ok(&["logs", "laptop"]).ends_with("mcpctl: ended: it was stopped\n"));
}

#[test]
fn a_start_that_is_not_waited_for_goes_on_and_one_that_loads_can_be_stopped() {
    let engine = FakeEngine::vllm().gated();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", "port: 0\nidleTimeoutMinutes: 0"));
    assert_eq!(dana.ok(&["start", "laptop", "--wait=false"]), "laptop is starting\n");
    let first = engine.wait_for_start();
    wait_until(LIMIT, "the last stage", || dana.status("laptop")["stage"] == "warming up");
    dana.providers(&["status", "laptop"]).assert().code(3).stdout(says("laptop  starting"));
    assert!(dana.ok(&["list"]).contains("vllm-managed  starting  "));
    let stopped = matches(r"laptop stopped \(1 process, \d+\.\d s\)");
    dana.providers(&["stop", "laptop"]).assert().code(0).stdout(stopped);
    wait_for_end(first);

    assert_eq!(dana.ok(&["start", "laptop", "--wait=false"]), "laptop is starting\n");
    engine.wait_for_starts(2);
    engine.open_gate();
    dana.wait_for("laptop", "running");
    let row = r"(?s).*\nlaptop  running  \S+  127\.0\.0\.1:\d+ +\d+ +\d+s +never +chat-prod";
    dana.providers(&["status"]).assert().code(0).stdout(matches(row));
    assert_eq!(dana.status("laptop")["idleStopSeconds"], Value::Null);
}

#[test]
fn an_engine_that_is_stopped_at_once_has_not_failed() {
    let engine = FakeEngine::llama().ignoring_term();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    dana.ok(&["start", "laptop"]);
    let stopped = matches(r"laptop stopped \(1 process, \d+\.\d s\)");
    dana.providers(&["stop", "laptop", "--now"]).assert().code(0).stdout(stopped);
    let status = dana.status("laptop");
    assert_eq!((&status["state"], &status["lastEnd"]["reason"]), (&"stopped".into(), &"asked".into()));
    assert_eq!(engine.signals(), [""; 0]);
}

#[test]
fn progress_is_a_line_a_stage_in_a_pipe_and_nothing_with_q() {
    let engine = FakeEngine::llama();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    let lines =
        "note: laptop: starting llama-server\n(note: laptop: [a-z ]+\n)*note: laptop: ready after .* s";
    dana.providers(&["start", "laptop"]).assert().code(0).stderr(matches(lines));
    dana.ok(&["stop", "laptop"]);
    dana.providers(&["start", "laptop", "-q"]).assert().code(0).stdout(says("laptop ready in")).stderr("");
}

#[test]
fn a_start_is_given_up_when_its_time_is_over() {
    let engine = FakeEngine::llama().gated();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    let late = "error: laptop: llama-server was not ready in the time that was given";
    dana.providers(&["start", "laptop", "--timeout", "500ms"]).assert().code(7).stdout("").stderr(says(late));
    dana.wait_for("laptop", "stopped");
    let contradiction = ["start", "laptop", "--timeout", "1s", "--wait=false"];
    dana.providers(&contradiction).assert().code(2).stderr(says("--wait=false does not wait"));
}

#[test]
fn e05_a_start_that_somebody_wants_who_does_not_wait_goes_on_without_who_began_it() {
    let engine = FakeEngine::llama().gated().chattering();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    let mut child = dana.raw(&["start", "laptop"]).stderr(Stdio::null()).spawn().unwrap();
    engine.wait_for_start();
    assert_eq!(dana.ok(&["start", "laptop", "--wait=false"]), "laptop is starting\n");
    signal(child.id(), Signal::KILL);
    child.wait().unwrap();
    // The supervisor has looked between two lines of the log.
    let lines = || fs::read_to_string(dana.place("laptop").join("log")).unwrap().lines().count();
    let before = lines();
    wait_until(LIMIT, "two more lines", || lines() >= before + 2);
    engine.open_gate();
    dana.wait_for("laptop", "running");
    assert_eq!(engine.starts().len(), 1);
}

#[test]
fn e05_a_start_whose_command_is_interrupted_ends() {
    let engine = FakeEngine::llama().gated();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    let mut child = dana.raw(&["start", "laptop"]).stderr(Stdio::null()).spawn().unwrap();
    let pid = engine.wait_for_start();
    signal(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    wait_for_end(pid);
    dana.wait_for("laptop", "stopped");
}

#[test]
fn k02_an_engine_and_its_supervisor_see_no_token_of_whoever_starts_them() {
    let engine = FakeEngine::llama();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    let mut start = dana.providers(&["start", "laptop"]);
    for name in ["MCPCTL_TOKEN", "HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "LD_LIBRARY_PATH"] {
        start.env(name, "canary-of-a-shell");
    }
    start.env("CUDA_VISIBLE_DEVICES", "1").assert().code(0);
    let seen = engine.environment();
    assert_eq!((seen["CUDA_VISIBLE_DEVICES"].as_str(), seen.get("MCPCTL_TOKEN")), ("1", None));
    let supervisor = dana.status("laptop")["supervisorPid"].as_u64().unwrap().try_into().unwrap();
    let mut canary = Canary::new();
    canary.watch("a secret of the shell", "canary-of-a-shell");
    let (engine_sees, supervisor_sees) = (format!("{seen:?}"), process_args_and_env(supervisor));
    canary.sweep(
        &[dana.0.home()],
        &[("the engine", engine_sees.as_bytes()), ("its supervisor", &supervisor_sees)],
    );
}

#[test]
fn what_has_no_engine_is_told_apart_from_what_does_not_exist() {
    let entries = provider("lmstudio", "chat-prod", "http://127.0.0.1:9/v1", true);
    let dana = Home::new(entries.strip_prefix("providers:\n").unwrap());
    for command in ["start", "stop", "status", "logs"] {
        let not_managed = "error: provider \"lmstudio\" is not managed: mcpctl neither starts nor stops it\n";
        dana.providers(&[command, "lmstudio"]).assert().code(2).stdout("").stderr(not_managed);
        dana.providers(&[command, "../engines"]).assert().code(2).stderr(says("no provider is named"));
    }
    dana.providers(&["start", "lmstudi"]).assert().code(2).stderr(says("did you mean \"lmstudio\"?"));
    assert!(dana.ok(&["list"]).contains("lmstudio  openai  -      lmstudio-model  chat-prod\n"));
    assert!(dana.ok(&["list", "-o", "json"]).contains("\"state\": null"));
    assert!(!dana.place("").exists(), "a question made a folder");
}

#[test]
fn logs_show_the_last_lines_and_go_on_over_a_change_of_files() {
    let engine = FakeEngine::llama();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    dana.ok(&["start", "laptop"]);
    dana.ok(&["stop", "laptop"]);
    let (log, old) = (dana.place("laptop").join("log"), dana.place("laptop").join("log.1"));
    let append = |text: &str| {
        let mut options = fs::OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(&log).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    fs::rename(&log, &old).unwrap();
    append("one\n\x1b[31mtwo\n");
    // A pipe gets the bytes as they are.
    assert_eq!(dana.ok(&["logs", "laptop", "--tail", "2"]), "one\n\x1b[31mtwo\n");
    let stopped = dana.ok(&["logs", "laptop", "--tail", "3"]);
    assert!(stopped.ends_with("it was stopped\none\n\x1b[31mtwo\n") && stopped.lines().count() == 3);
    assert!(dana.ok(&["logs", "laptop"]).contains("mcpctl: starting "));
    assert_eq!(dana.ok(&["logs", "laptop", "--tail", "0"]), "");

    let mut follow = dana.raw(&["logs", "laptop", "--follow", "--tail", "1"]);
    let mut child = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!(next(), "\x1b[31mtwo");
    append("three\n");
    assert_eq!(next(), "three");
    append("four\n");
    fs::rename(&log, &old).unwrap();
    append("five\n");
    assert_eq!([next(), next()], ["four", "five"]);
    append("six\n");
    assert_eq!(next(), "six");
    // The engine is silent, and still it is noticed that nobody reads any more.
    drop(lines);
    wait_until(LIMIT, "the end of logs --follow", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(141));
}

#[test]
fn a_failover_is_ready_if_its_engine_runs_or_can_be_started() {
    let stage = Stage::new();
    let engine = FakeEngine::llama();
    let dana = Home::of(Client::of(&stage.mcpd.url(), &stage.dana_token), "");
    dana.declare(&engine.provider("laptop", "chat-prod", ""));
    let probe = || dana.providers(&["failovers", "--probe"]).assert();
    let row = |engine: &str, ready: &str| {
        predicate::str::is_match(format!(r"\nchat-prod  laptop .* allowed +{engine} +{ready}\n$")).unwrap()
    };
    probe().code(0).stdout(row("stopped", "yes")).stderr("");
    dana.ok(&["start", "laptop"]);
    probe().code(0).stdout(row("running", "yes"));
    dana.ok(&["stop", "laptop"]);
    fs::remove_file(engine.model()).unwrap();
    probe().code(3).stdout(row("not ready", "no")).stderr(says("give the path of a GGUF file"));
}
