//! A client in Rust, the crate `async-openai`, whose types are strict: what is missing in an answer is an error.
//! What it does stands in `tests/clients/rust/src/main.rs`.

use super::{WORDS, finish, let_go, read_until, refused, run, start};
use crate::cases::{LIMIT, USES_CHAT};
use fakes::{Engine, Evild, LlamaServer, Mcpd, Step, client, required, wire};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// None if it is not on this machine.
fn program(home: &Path, mcpd: &Mcpd, token: &str, args: &[&str]) -> Option<Command> {
    let mut command = client("openai-rust", home)?;
    command.env("OPENAI_BASE_URL", format!("{}/v1", mcpd.url())).env("OPENAI_API_KEY", token).args(args);
    Some(command)
}

/// What came of each of these stories.
fn plays(mcpd: &Mcpd, token: &str, model: &str, stories: &[&str]) -> Option<Vec<Value>> {
    let home = TempDir::new().unwrap();
    let mut command = program(home.path(), mcpd, token, &[&[model], stories].concat())?;
    let said = run(&mut command).well();
    Some(said.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn a_client_in_rust_works_unchanged_with_a_real_engine() {
    let Some(engine) = LlamaServer::start() else { return required("llama-server") };
    let Some(vectors) = LlamaServer::start_with(&["--embeddings", "--pooling", "mean"]) else {
        return required("llama-server");
    };
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    mcpd.create_llm("vectors", &vectors.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let stories = [
        ("chat", json!({"text": WORDS})),
        ("stream", json!({"text": WORDS})),
        ("tools", json!({"name": "get_weather", "arguments": {"city": "Oslo"}})),
        ("schema", json!({"answer": "yes"})),
        ("models", json!({"ids": ["chat"]})),
        ("retrieve", json!({"id": "chat"})),
    ];
    let names: Vec<_> = stories.iter().map(|(name, _)| *name).collect();
    let Some(outcomes) = plays(&mcpd, &dana, "chat", &names) else { return required("openai-rust") };
    for ((name, wanted), outcome) in stories.iter().zip(&outcomes) {
        assert_eq!(outcome, wanted, "{name}");
    }
    assert_eq!(outcomes.len(), stories.len());
    let outcome = plays(&mcpd, mcpd.admin_token(), "vectors", &["embeddings"]).unwrap();
    assert_eq!(outcome, [json!({"vectors": 2, "long": 64})]);
}

#[test]
fn a_client_in_rust_can_read_every_error() {
    let mut mcpd = Mcpd::start();
    let half = [
        wire::sse_chunked_head(),
        wire::chunk(&wire::event(&wire::content("Half"))),
        wire::LAST_CHUNK.to_vec(),
    ];
    let upstream = Evild::start([vec![Step::ReadRequest, Step::Send(half.concat())]]);
    mcpd.create_llm("chat", &upstream.url());
    for (who, status, token) in refused(&mut mcpd) {
        let Some(outcome) = plays(&mcpd, &token, "chat", &["chat"]) else { return required("openai-rust") };
        let code = if status == 401 { "unauthenticated" } else { "forbidden" };
        assert_eq!(outcome[0]["code"], code, "{who}: {outcome:?}");
    }
    let token = mcpd.admin_token();
    let absent = plays(&mcpd, token, "nope", &["chat", "retrieve"]).unwrap();
    assert!(absent.iter().all(|outcome| outcome["code"] == "not_found"), "{absent:?}");
    assert_eq!(upstream.connections(), 0);
    let cut = plays(&mcpd, token, "chat", &["stream"]).unwrap();
    assert_eq!(cut[0]["code"], "upstream_error", "{cut:?}");
}

#[test]
fn s13_a_client_in_rust_leaves_a_stream_and_the_upstream_hears_of_it() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let home = TempDir::new().unwrap();
    let Some(mut command) = program(home.path(), &mcpd, mcpd.admin_token(), &["chat", "leave"]) else {
        return required("openai-rust");
    };
    let mut child = start(command.stdin(Stdio::piped()));
    read_until(child.stdout.as_mut().unwrap(), "leaving\n");
    let left = Instant::now();
    assert!(engine.wait_for_cancel(LIMIT).saturating_duration_since(left) < Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "it was its end and not its word that ended the answer");
    let_go(&mut child);
    finish(child).well();
}
