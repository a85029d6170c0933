//! `curl`, as it stands in `docs/clients.md`.

use super::{Ran, WORDS, finish, read_until, refused, run, start};
use crate::cases::{LIMIT, USES_CHAT};
use fakes::{Engine, LlamaServer, Mcpd, required};
use serde_json::{Value, json};
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// None if it is not on this machine.
fn curl() -> Option<Command> {
    let is_there = Command::new("curl").arg("--version").output().is_ok();
    is_there.then(|| {
        let mut command = Command::new("curl");
        // Neither a proxy nor a file of whoever runs the tests.
        command.env_clear().args(["--disable", "--silent", "--no-buffer", "--noproxy", "*"]);
        command
    })
}

fn ask(mcpd: &Mcpd, path: &str, token: &str, body: &Value) -> Command {
    let mut command = curl().unwrap();
    command
        .arg(format!("{}/v1/{path}", mcpd.url()))
        .args(["-H", &format!("Authorization: Bearer {token}"), "-H", "Content-Type: application/json"])
        .args(["--data", &body.to_string()]);
    command
}

fn question(stream: bool) -> Value {
    json!({"model": "chat", "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

#[test]
fn curl_works_unchanged_with_a_real_engine() {
    if curl().is_none() {
        return required("curl");
    }
    let Some(engine) = LlamaServer::start() else { return required("llama-server") };
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let whole: Value =
        serde_json::from_str(&run(&mut ask(&mcpd, "chat/completions", &dana, &question(false))).well())
            .unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], WORDS);
    let streamed = run(&mut ask(&mcpd, "chat/completions", &dana, &question(true))).well();
    assert!(streamed.starts_with("data: {") && streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
    // More than curl sends without asking whether it may.
    let long = json!({"model": "chat", "max_tokens": 20, "prompt": "hi", "user": "x".repeat(2 << 20)});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), long.to_string()).unwrap();
    let mut command = curl().unwrap();
    command
        .arg(format!("{}/v1/completions", mcpd.url()))
        .args(["-H", &format!("Authorization: Bearer {dana}"), "-H", "Content-Type: application/json"])
        .arg("--data-binary")
        .arg(format!("@{}", file.path().display()));
    let answer: Value = serde_json::from_str(&run(&mut command).well()).unwrap();
    assert_eq!(answer["object"], "text_completion", "{answer}");
    let mut command = curl().unwrap();
    command.arg(format!("{}/v1/models", mcpd.url())).args(["-H", &format!("Authorization: Bearer {dana}")]);
    let models: Value = serde_json::from_str(&run(&mut command).well()).unwrap();
    assert_eq!(models["data"][0]["id"], "chat");
}

#[test]
fn curl_can_tell_by_the_status_what_went_wrong() {
    if curl().is_none() {
        return required("curl");
    }
    let engine = Engine::start();
    let mut mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    for (who, status, token) in refused(&mut mcpd) {
        let mut command = ask(&mcpd, "chat/completions", &token, &question(true));
        let told: Ran = run(command.args(["--fail-with-body", "--write-out", "%{stderr}%{http_code}"]));
        assert_eq!((told.code, &*told.stderr), (Some(22), &*status.to_string()), "{who}");
        let error: Value = serde_json::from_str(&told.stdout).unwrap();
        assert!(error["error"]["message"].is_string(), "{error}");
    }
    assert_eq!(engine.connections(), 0);
}

#[test]
fn s13_a_curl_that_is_stopped_stops_the_upstream() {
    if curl().is_none() {
        return required("curl");
    }
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let endless =
        json!({"model": "chat", "stream": true, "messages": [{"role": "user", "content": "[forever]"}]});
    let mut child = start(&mut ask(&mcpd, "chat/completions", mcpd.admin_token(), &endless));
    read_until(child.stdout.as_mut().unwrap(), "tock");
    let stopped = Instant::now();
    child.kill().unwrap();
    assert!(engine.wait_for_cancel(LIMIT).saturating_duration_since(stopped) < Duration::from_secs(1));
    finish(child);
}
