//! `providers start`, `stop`, `status` and `logs`: what people and programs see of engines, and that whatever is left
//! of one can be found and ended.

use crate::{
    engine_stage::{llama, processes_of, signal, texts, wait_for_end},
    support::{Client, LIMIT, Stage, provider, says},
};
use assert_cmd::Command;
use fakes::{Canary, FakeEngine, LlamaServer, Worker, process_args_and_env, wait_until};
use predicates::prelude::*;
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    process::{self, Stdio},
};

/// A person with a home and no server. When it goes, it ends every engine of that home: their supervisors are no
/// children of the test.
struct Home(Client);

impl Home {
    fn new(entries: &str) -> Self {
        Self::of(Client::stranger("http://127.0.0.1:9"), entries)
    }

    fn of(client: Client, entries: &str) -> Self {
        let run = client.home().join("run");
        fs::create_dir(&run).unwrap();
        fs::set_permissions(run, fs::Permissions::from_mode(0o700)).unwrap();
        let home = Self(client);
        home.declare(entries);
        home
    }

    fn declare(&self, entries: &str) {
        self.0.providers(&format!("providers:\n{entries}"));
    }

    fn raw(&self, args: &[&str]) -> process::Command {
        let mut command = self.0.raw([&["providers"], args].concat());
        command.env("XDG_RUNTIME_DIR", self.0.home().join("run"));
        command
    }

    /// `mcpctl providers` with these arguments.
    fn providers(&self, args: &[&str]) -> Command {
        let mut command = Command::from_std(self.raw(args));
        command.timeout(LIMIT);
        command
    }

    /// Runs one that must succeed, and gives stdout.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.providers(args).assert().code(0).get_output().clone();
        texts(&output).0
    }

    /// What `providers status -o json` says of one, whatever its exit code.
    fn status(&self, name: &str) -> Value {
        let output = self.providers(&["status", name, "-o", "json"]).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        document["items"][0].clone()
    }

    fn wait_for(&self, name: &str, state: &str) {
        wait_until(LIMIT, state, || self.status(name)["state"] == state);
    }

    fn place(&self, name: &str) -> PathBuf {
        self.0.home().join(".local/state/mcpctl/v1/engines").join(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let stopped = self.providers(&["stop", "--all", "--now"]).output();
        if !std::thread::panicking() {
            wait_until(LIMIT, &format!("the end of all engines after {stopped:?}"), || {
                processes_of(self.0.home()).is_empty()
            });
        }
    }
}

fn matches(pattern: &str) -> impl Predicate<str> + use<> {
    predicate::str::is_match(format!("^{pattern}\n$")).unwrap()
}

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
fn e05_a_start_whose_command_is_interrupted_ends() {
    let engine = FakeEngine::llama().gated();
    let dana = Home::new(&engine.provider("laptop", "chat-prod", ""));
    let mut child = dana.raw(&["start", "laptop"]).stderr(Stdio::null()).spawn().unwrap();
    let pid = engine.wait_for_start();
    signal(child.id(), Signal::INT);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(2));
    wait_for_end(pid);
    dana.wait_for("laptop", "stopped");
}

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
        .stderr(says("note: removed: its entry was removed from the provider file"));
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
