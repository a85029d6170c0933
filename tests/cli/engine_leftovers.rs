//! What is left of engines that went wrong, or that nobody declares any more: it is seen, and it can be ended.

use crate::{
    engine_home::{Home, matches},
    engine_stage::{ended, signal, texts, wait_for_end},
    scripts::answer,
    support::{LIMIT, PROMPT, Scripted, says},
};
use fakes::{Engine, Evild, FakeEngine, Gate, Step, Worker, wait_until, wire};
use predicates::prelude::*;
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::PathBuf,
    process::Stdio,
};

#[test]
fn e07_a_start_that_fails_shows_its_cause_and_the_end_of_its_log() {
    let cause = "ValueError: Free memory on device (1.71/22.0 GiB) is less than desired";
    let engine = FakeEngine::vllm().failing_at_start(1, &["first words", cause]);
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    let error = format!("error: laptop: vLLM did not start: it ended with exit code 1: {cause}\n");
    let told =
        says(&error).and(says("| first words\n")).and(says("  all of it: mcpctl providers logs laptop\n"));
    dana.providers(&["start", "laptop"]).assert().code(7).stdout("").stderr(told);
    let note =
        format!("note: laptop: it ended with exit code 1: {cause}; its log: mcpctl providers logs laptop\n");
    dana.providers(&["status"]).assert().code(0).stdout(says("laptop  failed  -")).stderr(note.clone());
    dana.providers(&["status", "laptop"]).assert().code(3).stderr(note);
    let end = dana.status("laptop")["lastEnd"].clone();
    assert_eq!(
        (&end["reason"], &end["cause"], &end["failure"]),
        (&"exited".into(), &cause.into(), &true.into())
    );
    assert!(dana.ok(&["list"]).contains("laptop  vllm-managed  failed  "));
    assert!(dana.ok(&["logs", "laptop"]).contains(cause));
    assert_eq!(dana.ok(&["stop", "laptop"]), "laptop was not running\n");
}

#[test]
fn e06_an_engine_whose_supervisor_was_killed_is_shown_and_can_be_stopped() {
    let engine =
        FakeEngine::vllm().ignoring_term().worker(Worker { setsid: true, rename: true, ..Worker::default() });
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    dana.ok(&["start", "laptop"]);
    let supervisor = dana.status("laptop")["supervisorPid"].as_u64().unwrap().try_into().unwrap();
    signal(supervisor, Signal::KILL);
    wait_for_end(supervisor);
    let note = "note: laptop: its supervisor was killed; processes left: 2; \
                mcpctl providers stop laptop ends them\n";
    dana.providers(&["status"]).assert().code(0).stdout(says("laptop  orphaned  ")).stderr(note);
    let status = dana.status("laptop");
    assert_eq!((&status["supervisorPid"], status["processes"].as_array().unwrap().len()), (&Value::Null, 2));
    let stopped = matches(r"laptop stopped \(2 processes, \d+\.\d s\)");
    dana.providers(&["stop", "laptop"]).assert().code(0).stdout(stopped);
    for pid in engine.starts().into_iter().chain(engine.workers()) {
        wait_for_end(pid);
    }
    assert_eq!(dana.status("laptop")["state"], "stopped");
}

#[test]
fn c05_an_engine_whose_entry_is_gone_is_shown_and_stopped_with_the_others() {
    let (kept, removed) = (FakeEngine::llama(), FakeEngine::llama());
    let entry = kept.provider("kept", "chat-prod", "");
    let dana = Home::new(&format!("{entry}{}", removed.provider("removed", "code-prod", "")));
    dana.ok(&["start", "kept"]);
    dana.ok(&["start", "removed"]);
    dana.declare(&entry);
    let row = predicate::str::is_match(r"(?m)^removed  running .* in 15m +-$").unwrap();
    dana.providers(&["status"])
        .assert()
        .code(0)
        .stdout(row)
        .stderr(says("note: removed: it has no entry in the provider file"));
    assert_eq!(dana.status("removed")["declared"], false);
    dana.providers(&["start", "removed"]).assert().code(2).stderr(says("no provider is named \"removed\""));
    let both = matches(r"kept stopped \(1 process, .* s\)\nremoved stopped \(1 process, .* s\)");
    dana.providers(&["stop", "--all"]).assert().code(0).stdout(both);
    // What has ended and is declared nowhere is of no interest any more, unless it is asked for.
    assert!(!dana.ok(&["status"]).contains("removed"));
    assert_eq!(dana.status("removed")["state"], "stopped");
}

#[test]
fn c05_a_broken_provider_file_keeps_nobody_from_seeing_and_stopping_engines() {
    let engine = FakeEngine::llama();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    dana.ok(&["start", "laptop"]);
    let missing = dana.0.home().join("none.yaml");
    let missing = missing.to_str().unwrap();
    for (more, what) in [
        (vec![], "warning: providers.yaml:2:5: "),
        (
            vec!["--providers", missing],
            "none.yaml does not exist; shown are only engines that were started here",
        ),
    ] {
        dana.declare("  - nme: laptop\n");
        let providers = |args: &[&str]| dana.providers(&[args, &more].concat());
        providers(&["status"]).assert().code(0).stdout(says("laptop  running")).stderr(says(what));
        providers(&["status", "-o", "json"]).assert().stdout(says("\"declared\": null"));
        providers(&["logs", "laptop", "--tail", "1"]).assert().code(0).stdout(says("listening"));
        providers(&["start", "laptop"]).assert().code(2);
        providers(&["stop", "other"]).assert().code(2);
        providers(&["stop", "laptop"]).assert().code(0).stdout(says("laptop stopped"));
        dana.declare(&engine.provider("laptop", "chat-prod", ""));
        dana.ok(&["start", "laptop"]);
    }
    fs::remove_file(dana.0.providers_path()).unwrap();
    assert!(dana.ok(&["stop", "--all"]).starts_with("laptop stopped"));
}

#[test]
fn e11_a_record_that_cannot_be_read_hides_no_other_engine() {
    let engine = FakeEngine::llama();
    let entries = ["damaged", "newer", "well"].map(|name| engine.provider(name, &format!("{name}-llm"), ""));
    let dana = Home::new(&entries.concat());
    for name in ["damaged", "newer", "well"] {
        dana.ok(&["start", name]);
        if name != "well" {
            dana.ok(&["stop", name]);
        }
    }
    fs::write(dana.place("damaged").join("record.json"), "{").unwrap();
    fs::write(dana.place("newer").join("record.json"), r#"{"format": 9}"#).unwrap();
    // Not ours: it has no name that a provider can have.
    fs::write(dana.place(".DS_Store"), "").unwrap();
    let rows = r"NAME .*\ndamaged  unknown  - .*\nnewer    unknown  - .*\nwell     running  .*";
    let told = says("warning: damaged: ").and(says("is damaged")).and(says("was written by a newer mcpctl"));
    dana.providers(&["status"]).assert().code(0).stdout(matches(rows)).stderr(told);
    dana.providers(&["status", "newer", "-o", "json"]).assert().code(3).stdout(says("\"error\": "));
    let others = dana.providers(&["stop", "--all"]).assert().code(7);
    others.stdout(says("well stopped")).stderr(says("warning: damaged: ").and(says("warning: newer: ")));
    for name in ["damaged", "newer"] {
        fs::remove_file(dana.place(name).join("record.json")).unwrap();
    }
}

#[test]
fn e06_the_sockets_of_vllms_processes_go_with_it_however_it_ends() {
    for port in ["", "port: 0"] {
        let engine = FakeEngine::vllm();
        let dana = Home::new(&engine.provider("laptop", "chat-prod", port));
        for killed in [false, true] {
            dana.ok(&["start", "laptop"]);
            let folder = PathBuf::from(&engine.environment()["VLLM_RPC_BASE_PATH"]);
            let meta = fs::symlink_metadata(&folder).unwrap();
            assert!(meta.is_dir() && meta.permissions().mode() & 0o777 == 0o700, "{}", folder.display());
            assert!(folder.starts_with(dana.0.home().join("run")), "{}", folder.display());
            let _left_behind =
                UnixListener::bind(folder.join("01234567-89ab-cdef-0123-456789abcdef")).unwrap();
            if killed {
                let supervisor = dana.status("laptop")["supervisorPid"].as_u64().unwrap().try_into().unwrap();
                signal(supervisor, Signal::KILL);
                wait_for_end(supervisor);
            }
            dana.providers(&["stop", "laptop", "--now"]).assert().code(0);
            assert!(!folder.exists(), "{} is left", folder.display());
        }
    }
    // Who chooses another folder has chosen it, and no other engine takes one.
    let engine = FakeEngine::vllm();
    let entry = engine.provider("laptop", "chat-prod", "");
    let dana = Home::new(&entry.replace("    env:\n", "    env:\n      VLLM_RPC_BASE_PATH: /tmp\n"));
    dana.ok(&["start", "laptop"]);
    assert_eq!(engine.environment()["VLLM_RPC_BASE_PATH"], "/tmp");
    let other = FakeEngine::llama();
    let erin = Home::new(&other.provider("laptop", "chat-prod", ""));
    erin.ok(&["start", "laptop"]);
    assert_eq!(other.environment().get("VLLM_RPC_BASE_PATH"), None);
}

#[test]
fn c05_a_run_has_read_the_file_once_whatever_becomes_of_it() {
    let gate = Gate::new();
    let down = Step::Send(wire::http(503, &[], "down"));
    let first = vec![Step::ReadRequest, Step::WaitAt(gate.clone()), down];
    let scene = Scripted::new(Evild::start([first, answer(200, &[], "")]));
    let mut command = scene.dana.raw(["infer", "chat-prod", PROMPT]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_until(LIMIT, "the question", || scene.central.requests().len() == 1);
    // While the server is asked, the entry becomes another one, and then the file goes.
    let another = Engine::start();
    scene.dana.failover("chat-prod", &another.url());
    fs::remove_file(scene.dana.providers_path()).unwrap();
    gate.open();
    let (stdout, stderr) = texts(&ended(child));
    assert_eq!(stdout, "Hello from the laptop.\n", "{stderr}");
    assert_eq!(another.connections(), 0, "an entry was read that the run did not begin with");
}
