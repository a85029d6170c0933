//! Where a secret could get out, and does not.

use crate::cases::{INFER, error_of, prompt};
use fakes::{Canary, Engine, Fault, Mcpd, process_args_and_env, wire};
use mcp_api::{ApiKeyRef, LlmPatch, LlmSpec, paths};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::{CommandExt, ExitStatusExt},
    },
    process::{Command, Stdio},
};

fn with_key(url: &str) -> LlmSpec {
    LlmSpec { api_key_ref: Some(ApiKeyRef::Env("UPSTREAM_KEY".into())), ..Mcpd::llm_spec("chat", url) }
}

#[test]
fn k04_neither_a_core_dump_nor_a_debugger_reads_a_key() {
    let mut canary = Canary::new();
    let key = canary.secret("upstream-key");
    let room = tempfile::tempdir().unwrap();
    let (copy, data) = (room.path().join("mcpd"), room.path().join("data"));
    // Not by ourselves: what another test starts meanwhile would hold the copy open for writing.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_mcpd")).arg(&copy).status().unwrap().success());
    fs::create_dir(&data).unwrap();
    for (path, mode) in [(&copy, 0o755), (&data, 0o700), (&room.path().to_owned(), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // As much room for a core dump as there is.
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -c "$(ulimit -H -c)" && exec "$@""#, "sh"]).arg(&copy);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data);
    command.env_clear().env("UPSTREAM_KEY", &key).current_dir(room.path());
    // Not as root, whose processes look all the same.
    if geteuid().is_root() {
        for path in [room.path(), &data] {
            chown(path, Some(65534), Some(65534)).unwrap();
        }
        command.uid(65534).gid(65534);
    }
    let mut mcpd = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut listening = String::new();
    BufReader::new(mcpd.stdout.as_mut().unwrap()).read_line(&mut listening).unwrap();

    let limits = fs::read_to_string(format!("/proc/{}/limits", mcpd.id())).unwrap();
    let of_core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    // The kernel gives root what only root may look into.
    let owner = fs::metadata(format!("/proc/{}/environ", mcpd.id())).unwrap().uid();
    kill_process(Pid::from_child(&mcpd), Signal::ABORT).unwrap();
    let status = mcpd.wait().unwrap();
    fs::remove_file(copy).unwrap();
    assert!(listening.starts_with("mcpd listening on"), "{listening:?}");
    assert_eq!(of_core.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"]);
    assert_eq!(owner, 0, "whoever runs it can debug it");
    assert_eq!((status.signal(), status.core_dumped()), (Some(Signal::ABORT.as_raw()), false));
    canary.sweep(&[room.path()], &[]);
}

#[test]
fn k08_an_upstream_that_repeats_its_key_gives_nothing_away() {
    let mut canary = Canary::new();
    let key = canary.secret("upstream-key");
    let engine = Engine::builder().key(&key).start();
    let mut mcpd = Mcpd::builder().env("UPSTREAM_KEY", &key).env("MCPD_LOG", "trace").start();
    mcpd.create_llm_from(&with_key(&engine.url()));
    assert_eq!(mcpd.api("POST", INFER, mcpd.admin_token(), &prompt(json!({}))).status, 200);
    let mut seen = Vec::new();
    let echo = |status| wire::json_answer(status, &json!({"error": {"message": format!("bad {key}")}}));
    for (fault, status, code) in [
        (Fault::EchoKey, 502, "upstream_auth"),
        (Fault::Raw(echo(403)), 502, "upstream_auth"),
        (Fault::Raw(echo(400)), 400, "upstream_rejected"),
        (Fault::Raw(echo(500)), 500, "upstream_error"),
        (Fault::Raw(echo(429)), 429, "rate_limited"),
    ] {
        engine.set_fault(fault);
        let answer = mcpd.api("POST", INFER, mcpd.admin_token(), &prompt(json!({})));
        assert_eq!(error_of(&answer), (status, code.into(), "upstream".into()));
        seen.extend(answer.body);
    }
    mcpd.stop();
    canary.sweep(&[&mcpd.data_dir()], &[("answers", &seen), ("log", mcpd.logs().as_bytes())]);
}

#[test]
fn k09_no_route_shows_a_key_and_no_file_holds_a_secret() {
    let mut canary = Canary::new();
    let (key, text) = (canary.secret("upstream-key"), canary.secret("prompt"));
    let engine = Engine::builder().key(&key).start();
    let mut mcpd = Mcpd::builder().env("UPSTREAM_KEY", &key).env("MCPD_LOG", "trace").start();
    canary.watch("admin-token", mcpd.admin_token());
    mcpd.create_llm_from(&with_key(&engine.url()));
    let token = mcpd.user_with("dana", crate::cases::USES_CHAT);
    canary.watch("user-token", &token);
    let question = json!({"messages": [{"role": "user", "content": text}]});
    assert_eq!(mcpd.api("POST", INFER, &token, &question).status, 200);
    let id = token.split('_').nth(1).unwrap();
    let mut seen = Vec::new();
    for path in [
        paths::LLMS,
        crate::cases::CHAT,
        paths::RBACS,
        "/api/v1/rbac/dana",
        paths::SUBJECTS,
        "/api/v1/users/user/dana",
        paths::TOKENS,
        &format!("{}/{id}", paths::TOKENS),
        paths::WHOAMI,
        paths::VERSION,
    ] {
        let answer = mcpd.request("GET", path, Some(mcpd.admin_token()), &[], b"").expect_success(path);
        seen.extend(answer.body);
    }
    let shown: Value = mcpd.request("GET", crate::cases::CHAT, Some(&token), &[], b"").json();
    assert_eq!(shown["apiKeyRef"], json!({"env": "UPSTREAM_KEY"}));
    let arguments = fs::read(format!("/proc/{}/cmdline", mcpd.pid())).unwrap();
    mcpd.stop();
    canary.sweep(
        &[&mcpd.data_dir()],
        &[("answers", &seen), ("log", mcpd.logs().as_bytes()), ("arguments", &arguments)],
    );
}

#[test]
fn k09_the_sweep_would_find_a_key() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: k09, that the sweep would find a key: only root sees the environment of mcpd");
        return;
    }
    let mut canary = Canary::new();
    let key = canary.secret("upstream-key");
    let mcpd = Mcpd::builder().env("UPSTREAM_KEY", &key).start();
    let seen = process_args_and_env(mcpd.pid());
    assert!(String::from_utf8_lossy(&seen).contains(&key), "it is in the environment, where it belongs");
}

#[test]
fn k10_an_editor_cannot_send_the_key_to_a_host_of_his_own() {
    let mut canary = Canary::new();
    let key = canary.secret("upstream-key");
    let (engine, own) = (Engine::builder().key(&key).start(), Engine::start());
    let mcpd = Mcpd::builder().env("UPSTREAM_KEY", &key).start();
    mcpd.create_llm_from(&with_key(&engine.url()));
    let editor = mcpd.user_with("eve", &[("admin", "llms", Some("chat"))]);
    let moved = LlmPatch { url: Some(own.url()), ..LlmPatch::default() };
    let answer = mcpd.api("PATCH", crate::cases::CHAT, &editor, &moved).expect_success("an editor edits");
    assert_eq!(answer.json::<Value>()["apiKeyRef"], Value::Null);
    assert_eq!(mcpd.api("POST", INFER, &editor, &prompt(json!({}))).status, 200);
    canary.sweep(&[], &[("what his host received", &own.received())]);
}

#[test]
fn a_key_that_is_missing_is_the_servers_fault_and_its_reference_is_logged() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm_from(&with_key(&engine.url()));
    let answer = mcpd.api("POST", INFER, mcpd.admin_token(), &prompt(json!({})));
    assert_eq!(error_of(&answer), (502, "upstream_auth".into(), "upstream".into()));
    fakes::wait_until(crate::cases::LIMIT, "the log names it", || mcpd.logs().contains("UPSTREAM_KEY"));
    assert_eq!(engine.connections(), 0);
}
