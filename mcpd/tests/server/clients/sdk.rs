//! The official Python SDK of OpenAI. What it does stands in `tests/clients/openai_sdk.py`.

use super::{Ran, WORDS, finish, let_go, read_until, refused, run, start};
use crate::cases::{LIMIT, USES_CHAT};
use fakes::{Engine, Evild, LlamaServer, Mcpd, Step, client, required, wire};
use mcp_api::LlmSpec;
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A program with the SDK, set up by the two variables that it knows.
pub(super) struct Sdk {
    home: TempDir,
}

impl Sdk {
    /// None if it is not on this machine.
    pub(super) fn new() -> Option<Self> {
        let home = TempDir::new().unwrap();
        client("python", home.path())?;
        Some(Self { home })
    }

    fn command(&self, mcpd: &Mcpd, token: &str, model: &str, stories: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients/openai_sdk.py");
        let mut command = client("python", self.home.path()).unwrap();
        command
            .env("OPENAI_BASE_URL", format!("{}/v1", mcpd.url()))
            .env("OPENAI_API_KEY", token)
            .arg(script)
            .arg(model)
            .args(stories);
        command
    }

    /// What came of each of these stories.
    pub(super) fn plays(&self, mcpd: &Mcpd, token: &str, model: &str, stories: &[&str]) -> Vec<Value> {
        let played: Ran = run(&mut self.command(mcpd, token, model, stories));
        let lines: Vec<_> = played.well().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), stories.len());
        lines
    }

    fn play(&self, mcpd: &Mcpd, token: &str, model: &str, story: &str) -> Value {
        self.plays(mcpd, token, model, &[story]).remove(0)
    }
}

/// The class, the status and the code of the exception that was raised.
fn exception(outcome: &Value) -> (&str, u64, &str) {
    let text = |key: &str| outcome[key].as_str().unwrap_or("-");
    (text("raised"), outcome["status_code"].as_u64().unwrap_or(0), text("code"))
}

#[test]
fn openais_sdk_works_unchanged_with_a_real_engine() {
    let Some(sdk) = Sdk::new() else { return required("OpenAI SDK") };
    let Some(engine) = LlamaServer::start() else { return required("llama-server") };
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    mcpd.create_llm("hidden", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let stories = [
        ("chat", json!({"text": WORDS, "tokens": 12})),
        ("stream", json!({"text": WORDS, "chunks": 14, "tokens": 12})),
        ("async_stream", json!({"text": WORDS})),
        (
            "tools",
            json!({"name": "get_weather", "arguments": {"city": "Oslo"}, "finish": "tool_calls",
                "text": "It rains in Oslo, so take an umbrella!"}),
        ),
        ("tools_stream", json!({"name": "get_weather", "arguments": {"city": "Oslo"}})),
        ("schema", json!({"answer": "yes"})),
        ("responses", json!({"text": WORDS})),
        ("responses_stream", json!({"text": WORDS, "last": "response.completed"})),
        ("models", json!({"ids": ["chat"]})),
    ];
    let names: Vec<_> = stories.iter().map(|(name, _)| *name).collect();
    for ((name, wanted), outcome) in stories.iter().zip(sdk.plays(&mcpd, &dana, "chat", &names)) {
        assert_eq!(outcome, *wanted, "{name}");
    }
    let others = sdk.plays(&mcpd, &dana, "chat", &["completion", "completion_stream", "retrieve"]);
    assert_eq!((&others[0]["tokens"], &others[0]["text"]), (&json!(4), &others[1]["text"]));
    let shown = &others[2];
    assert_eq!(
        (&shown["id"], &shown["object"], &shown["owned_by"]),
        (&json!("chat"), &json!("model"), &json!("mcpd"))
    );
    assert!(shown["created"].as_u64().unwrap() > 1_700_000_000, "{shown}");
}

#[test]
fn openais_sdk_gets_the_vectors_of_a_real_engine() {
    let Some(sdk) = Sdk::new() else { return required("OpenAI SDK") };
    let Some(engine) = LlamaServer::start_with(&["--embeddings", "--pooling", "mean"]) else {
        return required("llama-server");
    };
    let Some(chats) = LlamaServer::start() else { return required("llama-server") };
    let mcpd = Mcpd::start();
    mcpd.create_llm("vectors", &engine.url());
    mcpd.create_llm("chat", &chats.url());
    let token = mcpd.admin_token();
    let wanted = json!({"vectors": 2, "long": 64, "same": true});
    assert_eq!(sdk.play(&mcpd, token, "vectors", "embeddings"), wanted);
    // An LLM whose engine has no embeddings is another thing than no LLM.
    let refused = sdk.play(&mcpd, token, "chat", "embeddings");
    assert_eq!(exception(&refused), ("InternalServerError", 501, "upstream_unsupported"), "{refused}");
    let absent = sdk.play(&mcpd, token, "nope", "embeddings");
    assert_eq!(exception(&absent), ("NotFoundError", 404, "not_found"), "{absent}");
}

#[test]
fn openais_sdk_raises_the_exception_that_is_meant() {
    let Some(sdk) = Sdk::new() else { return required("OpenAI SDK") };
    let engine = Engine::start();
    let mut mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    for (who, status, token) in refused(&mut mcpd) {
        let (class, code) = match status {
            401 => ("AuthenticationError", "unauthenticated"),
            _ => ("PermissionDeniedError", "forbidden"),
        };
        for outcome in sdk.plays(&mcpd, &token, "chat", &["chat", "stream", "responses", "embeddings"]) {
            assert_eq!(exception(&outcome), (class, status.into(), code), "{who}");
            assert!(outcome["request_id"].is_string() && outcome["type"].is_string(), "{outcome}");
        }
    }
    assert_eq!(engine.connections(), 0);
    let token = mcpd.admin_token().to_owned();
    for model in ["nope", "Qwen/Qwen3-8B"] {
        for outcome in sdk.plays(&mcpd, &token, model, &["chat", "retrieve"]) {
            assert_eq!(exception(&outcome), ("NotFoundError", 404, "not_found"), "{model}");
        }
    }
    let faults = [
        (400, "BadRequestError", 400, "upstream_rejected"),
        (422, "UnprocessableEntityError", 422, "upstream_rejected"),
        (401, "InternalServerError", 502, "upstream_auth"),
        (429, "RateLimitError", 429, "rate_limited"),
        (500, "InternalServerError", 500, "upstream_error"),
        (503, "InternalServerError", 503, "upstream_unavailable"),
    ];
    // One after the other, each on a connection of its own.
    let failing =
        |theirs| vec![Step::ReadRequest, Step::Send(wire::json_answer(theirs, &wire::error("no", theirs)))];
    let upstream = Evild::start(faults.map(|(theirs, ..)| failing(theirs)));
    mcpd.create_llm("failing", &upstream.url());
    let outcomes = sdk.plays(&mcpd, &token, "failing", &["once"; 6]);
    for ((theirs, class, ours, code), outcome) in faults.into_iter().zip(&outcomes) {
        assert_eq!(exception(outcome), (class, ours, code), "{theirs}");
    }
    let limits = serde_json::from_value(json!({"perToken": {"requestsPerMinute": 1}})).unwrap();
    mcpd.create_llm_from(&LlmSpec { limits, ..Mcpd::llm_spec("limited", &engine.url()) });
    let outcomes = sdk.plays(&mcpd, &token, "limited", &["once", "once"]);
    assert_eq!(outcomes[0]["text"], WORDS);
    assert_eq!(exception(&outcomes[1]), ("RateLimitError", 429, "rate_limited"), "{outcomes:?}");
    mcpd.patch_llm("chat", &serde_json::from_value(json!({"enabled": false})).unwrap());
    let off = sdk.play(&mcpd, &token, "chat", "chat");
    assert_eq!(exception(&off), ("PermissionDeniedError", 403, "llm_disabled"));
}

#[test]
fn openais_sdk_waits_as_long_as_it_is_told_and_tries_again() {
    let Some(sdk) = Sdk::new() else { return required("OpenAI SDK") };
    let busy = wire::http(
        429,
        &[("content-type", "application/json"), ("retry-after", "1")],
        wire::error("slow down", 429).to_string(),
    );
    let answer = wire::json_answer(200, &wire::completion(WORDS, Some("stop")));
    let script = |bytes: Vec<u8>| vec![Step::ReadRequest, Step::Send(bytes)];
    let upstream = Evild::start([script(busy), script(answer)]);
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &upstream.url());
    let begun = Instant::now();
    assert_eq!(sdk.play(&mcpd, mcpd.admin_token(), "chat", "chat")["text"], WORDS);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it did not read Retry-After");
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn s02_openais_sdk_raises_when_a_stream_is_cut_on_any_of_its_paths() {
    let Some(sdk) = Sdk::new() else { return required("OpenAI SDK") };
    let mcpd = Mcpd::start();
    let delta = json!({"type": "response.output_text.delta", "delta": "Half", "sequence_number": 0,
        "item_id": "i", "output_index": 0, "content_index": 0, "logprobs": []});
    let text = wire::text_completion("Half").to_string();
    for (story, event) in [
        ("stream", wire::event(&wire::content("Half"))),
        ("async_stream", wire::event(&wire::content("Half"))),
        ("completion_stream", wire::event(&text)),
        (
            "responses_stream",
            [b"event: response.output_text.delta\n".to_vec(), wire::event(&delta.to_string())].concat(),
        ),
    ] {
        // Ended as if all were well, and ended by force.
        for end in [Step::Send(wire::LAST_CHUNK.to_vec()), Step::Reset] {
            let half = [wire::sse_chunked_head(), wire::chunk(&event)].concat();
            let upstream = Evild::start([vec![Step::ReadRequest, Step::Send(half), end]]);
            let name = format!("{}-{}", story.replace('_', "-"), upstream.addr().port());
            mcpd.create_llm(&name, &upstream.url());
            let outcome = sdk.play(&mcpd, mcpd.admin_token(), &name, story);
            assert_eq!(exception(&outcome), ("APIError", 0, "upstream_error"), "{story}: {outcome}");
            assert!(outcome["message"].as_str().unwrap().contains("broke off"), "{outcome}");
        }
    }
}

#[test]
fn s13_openais_sdk_leaves_a_stream_and_the_upstream_hears_of_it_within_a_second() {
    let Some(sdk) = Sdk::new() else { return required("OpenAI SDK") };
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let mut command = sdk.command(&mcpd, mcpd.admin_token(), "chat", &["leave"]);
    let mut child = start(command.stdin(Stdio::piped()));
    read_until(child.stdout.as_mut().unwrap(), "leaving\n");
    let left = Instant::now();
    let cancelled = engine.wait_for_cancel(LIMIT);
    assert!(cancelled.saturating_duration_since(left) < Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "it was its end and not its word that ended the answer");
    let_go(&mut child);
    finish(child).well();
}

#[test]
fn s13_a_real_engine_stops_working_for_who_has_left() {
    let Some(sdk) = Sdk::new() else { return required("OpenAI SDK") };
    let Some(engine) = LlamaServer::start() else { return required("llama-server") };
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let mut command = sdk.command(&mcpd, mcpd.admin_token(), "chat", &["leave"]);
    let mut child = start(command.stdin(Stdio::piped()));
    read_until(child.stdout.as_mut().unwrap(), "leaving\n");
    fakes::wait_until(LIMIT, "the engine has nothing to do", || !engine.is_busy());
    let decodes = engine.decodes();
    assert!(decodes > 1, "it never worked");
    let_go(&mut child);
    finish(child).well();
    assert_eq!(engine.decodes(), decodes, "it went on for nobody");
}
