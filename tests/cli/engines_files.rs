//! The files of an engine on a disk that is full, read-only, of somebody else, of another version, or a trap.

use crate::{
    engine_stage::{EngineStage, ended, texts, wait_for_end, within},
    support::{LIMIT, PROMPT, Stage, TEN_WORDS, says},
};
use fakes::{Canary, FakeEngine, alive, required, wait_until};
use predicates::prelude::*;
use rustix::process::geteuid;
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

const OTHER: u32 = 65534;
const FAILED: &str = "failover: provider \"laptop\" failed: ";
/// Puts a full disk where the records go.
const FULL: &str = r#"mkdir -p "$HOME/.local/state" && mount -t tmpfs -o size=4k,mode=700 none "$HOME/.local/state" &&
    head -c 4096 /dev/zero > "$HOME/.local/state/filler" && exec "$@""#;
/// A disk that has room for a while.
const SMALL: &str = r#"mkdir -p "$HOME/.local/state" && mount -t tmpfs -o size=64k,mode=700 none "$HOME/.local/state" &&
    exec "$@""#;
/// Makes the whole home read-only.
const READ_ONLY: &str =
    r#"mount --bind "$HOME" "$HOME" && mount -o remount,bind,ro "$HOME" && cd / && exec "$@""#;

/// Says loudly what cannot be tried by others than root: a second user, another set of mounts.
fn root() -> bool {
    let root = geteuid().is_root();
    if !root {
        required("root, for mounts of its own and a second user");
    }
    root
}

fn mounted(script: &str) -> [&str; 8] {
    ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
}

fn infer_within(stage: &EngineStage, wrapper: &[&str]) -> Output {
    within(wrapper, &stage.raw(&["infer", "chat-prod", PROMPT])).output().unwrap()
}

fn assert_not_started(output: &Output, engine: &FakeEngine, why: &str) {
    let (stdout, stderr) = texts(output);
    assert_eq!((output.status.code(), stdout.as_str()), (Some(7), ""), "{stderr}");
    for part in ["central answered 502", FAILED, why] {
        assert!(stderr.contains(part), "{part:?} is not in {stderr}");
    }
    assert!(engine.starts().is_empty(), "it was started all the same");
}

#[test]
fn e10_a_runtime_folder_that_is_unfit_is_replaced_by_another() {
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    let home = stage.dana.home();
    let (long, open) = (home.join("x".repeat(90)), home.join("open"));
    for folder in [&long, &open] {
        fs::create_dir_all(folder.join("mcpctl/v1")).unwrap();
    }
    fs::set_permissions(open.join("mcpctl/v1"), Permissions::from_mode(0o755)).unwrap();
    let mut unfit =
        vec![long, open, home.join(".config/mcpctl/providers.yaml"), "relative".into(), PathBuf::new()];
    if root() {
        let foreign = home.join("foreign");
        fs::create_dir(&foreign).unwrap();
        chown(&foreign, Some(OTHER), None).unwrap();
        unfit.push(foreign);
    }
    for runtime in unfit {
        let mut command = stage.cmd(&["infer", "chat-prod", PROMPT]);
        command.env("XDG_RUNTIME_DIR", &runtime).assert().code(0).stdout(format!("{TEN_WORDS}\n"));
        let socket = stage.record()["endpoint"]["unix"].as_str().unwrap().to_owned();
        let expected = format!("/tmp/mcpctl-{}/v1/", geteuid().as_raw());
        assert!(socket.starts_with(&expected) && socket.len() <= 107, "{}: {socket}", runtime.display());
        stage.stop(true).unwrap();
        assert!(!Path::new(&socket).exists(), "{socket} is left");
    }
}

#[test]
fn e11_a_record_of_a_newer_version_is_left_alone_and_so_is_its_engine() {
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    stage.infer(&[]).code(0);
    let (pid, path) = (stage.pid_of("engine"), stage.place().join("record.json"));
    let honest = fs::read(&path).unwrap();
    let mut newer: Value = serde_json::from_slice(&honest).unwrap();
    newer["format"] = 2.into();
    for foreign in [newer.to_string(), r#"{"format": 99, "other": ["shape"]}"#.into()] {
        fs::write(&path, &foreign).unwrap();
        let told = says("was written by a newer mcpctl").and(says("record.json"));
        stage.infer(&[]).code(7).stdout("").stderr(says(FAILED).and(told));
        stage
            .cmd(&["providers", "stop", "laptop", "--now"])
            .assert()
            .failure()
            .stderr(says("a newer mcpctl"));
        assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
    }
    assert!(alive(pid) && engine.starts().len() == 1 && engine.chats().len() == 1);
    fs::write(&path, "{ no json").unwrap();
    stage.infer(&[]).code(7).stdout("").stderr(says("is damaged"));
    fs::write(&path, honest).unwrap();
    stage.infer(&[]).code(0);
}

#[test]
fn g05_a_full_disk_is_a_reason_to_start_nothing_and_the_primary_does_not_mind() {
    if !root() {
        return;
    }
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    let output = infer_within(&stage, &mounted(FULL));
    assert_not_started(&output, &engine, "No space left on device");

    let well = Stage::new();
    let output = within(&mounted(FULL), &well.dana.raw(["infer", "chat-prod", PROMPT])).output().unwrap();
    assert_eq!(texts(&output).0, format!("{TEN_WORDS}\n"), "{output:?}");
}

#[test]
fn g05_a_disk_that_fills_up_during_the_start_is_no_reason_to_fail() {
    if !root() {
        return;
    }
    let engine = FakeEngine::llama().gated();
    let stage = EngineStage::of(&engine, "");
    let child = within(&mounted(SMALL), &stage.raw(&["infer", "chat-prod", PROMPT])).spawn().unwrap();
    let pid = engine.wait_for_start();
    // The folder as the engine sees it.
    let state = PathBuf::from(format!("/proc/{pid}/root{}/.local/state", stage.dana.home().display()));
    let record = || fs::read_to_string(state.join("mcpctl/v1/engines/laptop/record.json")).unwrap();
    wait_until(LIMIT, "the stage of the start", || {
        record().contains("opening its endpoint") || record().contains("loading weights")
    });
    let filler = fs::write(state.join("filler"), vec![0; 1 << 20]);
    assert!(filler.is_err(), "the disk is not full");
    engine.open_gate();
    let output = ended(child);
    let (stdout, stderr) = texts(&output);
    assert_eq!(stdout, format!("{TEN_WORDS}\n"), "{stderr}");
    assert!(record().contains("loading"), "the record could be written");
    fs::remove_file(state.join("filler")).unwrap();
    wait_until(LIMIT, "the record", || record().contains("\"ready\""));
    let (target, stop) = (pid.to_string(), stage.raw(&["providers", "stop", "laptop", "--now"]));
    let stopped = within(&["nsenter", "--target", &target, "--mount"], &stop).output().unwrap();
    assert!(stopped.status.success(), "{stopped:?}");
    wait_for_end(pid);
}

#[test]
fn g06_a_home_that_cannot_be_written_is_a_reason_to_start_nothing_and_the_primary_does_not_mind() {
    if !root() {
        return;
    }
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    let output = infer_within(&stage, &mounted(READ_ONLY));
    assert_not_started(&output, &engine, "Read-only file system");

    let providers = stage.dana.providers_path();
    let foreign = tempfile::tempdir().unwrap();
    chown(foreign.path(), Some(OTHER), None).unwrap();
    let homes = [
        (foreign.path(), "belongs to another user (uid 65534)"),
        (Path::new("/proc/nothing"), "/proc/nothing"),
        (Path::new(""), "set HOME or XDG_STATE_HOME"),
    ];
    let well = Stage::new();
    for (home, why) in homes {
        let mut command = stage.raw(&["infer", "chat-prod", PROMPT]);
        let output = command.env("HOME", home).env("MCPCTL_PROVIDERS", &providers).output().unwrap();
        assert_not_started(&output, &engine, why);
        let mut command = well.dana.cmd(["infer", "chat-prod", PROMPT]);
        command.env("HOME", home).assert().code(0).stdout(format!("{TEN_WORDS}\n"));
    }
    assert_eq!(fs::read_dir(foreign.path()).unwrap().count(), 0, "something was put into another's home");
}

#[test]
fn k07_a_link_in_the_place_of_a_file_leads_nowhere() {
    let engine = FakeEngine::llama();
    // With a port there is a key as well.
    let stage = EngineStage::of(&engine, "port: 0");
    let target = stage.dana.home().join("precious");
    fs::write(&target, "as it was").unwrap();
    for name in ["record.json", "start.lock", "use.lock", "alive.lock", "log", "key"] {
        make_private(&stage.place());
        symlink(&target, stage.place().join(name)).unwrap();
        let before = engine.starts().len();
        let output = ended(stage.begin(&[]));
        let (_, stderr) = texts(&output);
        // A log that cannot be written and a key that is written anew are no reason to fail.
        let is_started = matches!(name, "log" | "key");
        assert_eq!(output.status.code(), Some(if is_started { 0 } else { 7 }), "{name}: {stderr}");
        assert!(is_started || stderr.contains("is a link"), "{name}: {stderr}");
        assert_eq!(engine.starts().len() > before, is_started, "{name}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "as it was", "{name}");
        let _nothing_ran = stage.stop(true);
        // A supervisor may still be putting its last words there.
        wait_until(LIMIT, "the folder goes", || fs::remove_dir_all(stage.place()).is_ok());
    }
}

#[test]
fn k07_a_link_or_a_foreign_folder_in_the_place_of_a_folder_is_refused() {
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    let target = stage.dana.home().join("target");
    make_private(&target);
    let untouched = || fs::read_dir(&target).unwrap().count() == 0;
    make_private(stage.place().parent().unwrap());
    symlink(&target, stage.place()).unwrap();
    stage.infer(&[]).code(7).stdout("").stderr(says(FAILED).and(says("is not a folder, or is a link")));
    assert!(untouched() && engine.starts().is_empty());
    fs::remove_file(stage.place()).unwrap();
    if root() {
        // One that another user planted on the way.
        let state = stage.dana.home().join(".local/state");
        fs::rename(&state, stage.dana.home().join("aside")).unwrap();
        symlink(&target, &state).unwrap();
        lchown(&state, Some(OTHER), None).unwrap();
        stage.infer(&[]).code(7).stdout("").stderr(says(FAILED).and(says("belongs to another user")));
        assert!(untouched() && engine.starts().is_empty());
        fs::remove_file(&state).unwrap();
        make_private(&stage.place());
        chown(stage.place(), Some(OTHER), None).unwrap();
        stage.infer(&[]).code(7).stdout("").stderr(says(FAILED).and(says("belongs to another user")));
        assert!(engine.starts().is_empty());
        fs::remove_dir(stage.place()).unwrap();
    }
    // The folder of the socket is only a matter of finding another one.
    make_private(&stage.runtime().join("mcpctl"));
    symlink(&target, stage.runtime().join("mcpctl/v1")).unwrap();
    stage.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    assert!(untouched());
}

#[test]
fn k07_a_pipe_in_the_place_of_a_file_holds_nobody() {
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    make_private(&stage.place());
    for name in ["record.json", "start.lock", "use.lock", "alive.lock"] {
        let path = stage.place().join(name);
        let _there_was_none = fs::remove_file(&path);
        assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().unwrap().success());
        stage.infer(&[]).code(7).stdout("").stderr(says(FAILED).and(says("is not a file")));
        fs::remove_file(path).unwrap();
    }
    assert!(engine.starts().is_empty());
}

fn make_private(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn k12_a_key_that_the_engine_prints_is_in_no_log_and_no_message() {
    for fails in [false, true] {
        let mut engine = FakeEngine::vllm().printing_key();
        if fails {
            engine = engine.failing_after_stages(1, &["ValueError: no"]);
        }
        let stage = EngineStage::of(&engine, "port: 0");
        let infer = ended(stage.begin(&[]));
        assert_eq!(infer.status.code(), Some(if fails { 7 } else { 0 }), "{infer:?}");
        let logs = stage.raw(&["providers", "logs", "laptop"]).output().unwrap();
        let mode = fs::metadata(stage.place().join("log")).unwrap().mode() & 0o777;
        assert_eq!((mode, logs.status.code()), (0o600, Some(0)));
        let shown = String::from_utf8(logs.stdout).unwrap();
        assert!(shown.contains("'api_key': ['(redacted)']"), "{shown}");
        stage.stop(true).unwrap();
        let mut canary = Canary::new();
        canary.watch("the engine's key", &engine.environment()["VLLM_API_KEY"]);
        let (stdout, stderr) = texts(&infer);
        assert_eq!(fails, stderr.contains("(redacted)"), "{stderr}");
        let shown =
            [("logs", shown.as_bytes()), ("stdout", stdout.as_bytes()), ("stderr", stderr.as_bytes())];
        canary.sweep(&[stage.dana.home()], &shown);
    }
}
