//! Streams of `/v1/...` that go to their end, and that do not.

use super::ask;
use crate::cases::{LIMIT, USES_CHAT, endless, log_line};
use fakes::{Engine, Evild, Exchange, Mcpd, Response, Step, wire};
use mcp_api::{openai::ResponseError, paths};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The events of a complete response, in the order in which they come.
const EVENTS: [&str; 4] =
    ["response.created", "response.output_text.delta", "response.output_text.done", "response.completed"];

fn typed(name: &str) -> Vec<u8> {
    let data = json!({"type": name, "delta": "data: [DONE]\nevent: response.completed\n\n"});
    [format!("event: {name}\n").into_bytes(), wire::event(&data.to_string())].concat()
}

fn response_events() -> Vec<u8> {
    EVENTS.iter().flat_map(|name| typed(name)).collect()
}

/// An upstream that streams these bytes and then ends its answer as one that is whole.
fn streaming(bytes: &[u8]) -> Evild {
    let answer = [wire::sse_chunked_head(), wire::chunk(bytes), wire::LAST_CHUNK.to_vec()].concat();
    Evild::start([vec![Step::ReadRequest, Step::Send(answer)]])
}

fn open(mcpd: &Mcpd, path: &str, token: &str) -> Exchange {
    let body = json!({"model": "chat", "stream": true}).to_string();
    mcpd.open("POST", path, Some(token), &[("x-request-id", "stream-1")], body.as_bytes()).unwrap()
}

/// The error with which a cut stream of `/v1/responses` ends; panics unless that is how it ends.
fn last_error(answer: &Response) -> ResponseError {
    let text = answer.text();
    assert!(answer.complete && text.ends_with("}\n\n"), "the event is whole: {text:?}");
    let (before, last) = text.rsplit_once("event: error\ndata: ").unwrap();
    assert!(before.is_empty() || before.ends_with("\n\n"), "the event stands alone: {text:?}");
    let error: ResponseError = serde_json::from_str(last).unwrap();
    assert_eq!(
        (error.kind.as_str(), error.code, &error.message),
        ("error", error.error.code, &error.error.message)
    );
    error
}

#[test]
fn a_whole_response_is_passed_on_byte_by_byte() {
    let mcpd = Mcpd::start();
    for (name, last) in [
        ("completed", typed("response.completed")),
        ("incomplete", typed("response.incomplete")),
        ("failed", typed("response.failed")),
        ("error", b"event: error\ndata: {\"type\":\"error\",\"message\":\"theirs\"}\n\n".to_vec()),
        ("done", wire::event("[DONE]")),
        ("windows", b"event:response.completed\r\ndata:{}\r\n\r\n".to_vec()),
    ] {
        let events = [typed("response.created"), last].concat();
        let upstream = streaming(&events);
        mcpd.create_llm(name, &upstream.url());
        let body = json!({"model": name, "stream": true});
        let answer = ask(&mcpd, paths::OPENAI_RESPONSES, mcpd.admin_token(), &body);
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.text(), String::from_utf8(events).unwrap(), "{name}");
    }
}

#[test]
fn s02_a_response_that_is_cut_anywhere_ends_with_an_error_of_its_own_kind() {
    let mcpd = Mcpd::start();
    let whole = response_events();
    let bounds: Vec<usize> =
        EVENTS.iter().scan(0, |at, name| Some(std::mem::replace(at, *at + typed(name).len()))).collect();
    // At each boundary between events, and around the last one's lines: its name alone ends nothing.
    let last = bounds[3];
    let within = [
        last + 7,
        last + "event: response.completed".len(),
        last + "event: response.completed\n".len(),
        whole.len() - 3,
        whole.len() - 1,
    ];
    // What is cut before its first byte is no stream yet.
    for cut in bounds.iter().copied().skip(1).chain(within) {
        let upstream = streaming(&whole[..cut]);
        let name = format!("cut-at-{cut}-{}", upstream.addr().port());
        mcpd.create_llm(&name, &upstream.url());
        let body = json!({"model": name, "stream": true});
        let answer = ask(&mcpd, paths::OPENAI_RESPONSES, mcpd.admin_token(), &body);
        let text = answer.text();
        assert!(text.as_bytes().starts_with(&whole[..cut]), "{cut}: {text:?}");
        let error = last_error(&answer);
        assert_eq!(
            (error.code.as_str(), Some(&*error.error.request_id)),
            ("upstream_error", answer.header("x-request-id"))
        );
        let data_lines = text.lines().filter(|line| line.starts_with("data:")).count() as u64;
        assert_eq!(error.sequence_number, data_lines - 1, "{cut}: {text:?}");
    }
}

#[test]
fn s02_completions_end_like_chats() {
    let event = wire::event(&wire::text_completion("one").to_string());
    let mcpd = Mcpd::start();
    let whole = [event.clone(), wire::event("[DONE]")].concat();
    let (well, badly) = (streaming(&whole), streaming(&[event, typed("response.completed")].concat()));
    mcpd.create_llm("well", &well.url());
    mcpd.create_llm("badly", &badly.url());
    let stream = |name: &str| {
        let body = json!({"model": name, "stream": true});
        ask(&mcpd, paths::OPENAI_COMPLETIONS, mcpd.admin_token(), &body)
    };
    assert_eq!(stream("well").body, whole);
    let cut = stream("badly").events();
    let error: Value = serde_json::from_str(cut.last().unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "upstream_error");
}

#[test]
fn a11_every_stream_ends_when_the_right_to_run_goes() {
    let one = [wire::sse_chunked_head(), wire::chunk(&wire::event("one"))].concat();
    let upstream = Evild::start([vec![Step::ReadRequest, Step::Send(one), Step::Hang]]);
    let mcpd = Mcpd::builder().arg("--stream-recheck").arg("1s").start();
    mcpd.create_llm("chat", &upstream.url());
    let streaming = [paths::OPENAI_CHAT, paths::OPENAI_COMPLETIONS, paths::OPENAI_RESPONSES];
    for (number, path) in streaming.into_iter().enumerate() {
        let user = format!("user{number}");
        let token = mcpd.user_with(&user, USES_CHAT);
        let mut exchange = open(&mcpd, path, &token);
        exchange.read_until("one");
        mcpd.delete_binding(&user);
        let answer = exchange.finish();
        let last: Value = serde_json::from_str(answer.events().last().unwrap()).unwrap();
        assert_eq!(last["error"]["code"], "revoked", "{path}");
        assert_eq!(last["type"] == "error", path == paths::OPENAI_RESPONSES, "{last}");
        upstream.wait_for_close(number, LIMIT);
    }
    assert_eq!(log_line(&mcpd, "stream-1")["outcome"], "revoked");
    crate::audit::wait_for(&mcpd, "event=cut", streaming.len());
}

#[test]
fn s13_who_leaves_on_any_path_ends_the_upstream_within_a_second() {
    let one = [wire::sse_chunked_head(), wire::chunk(&wire::event("one"))].concat();
    let upstream = Evild::start([vec![Step::ReadRequest, Step::Send(one), Step::Hang]]);
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &upstream.url());
    for (number, path) in [paths::OPENAI_COMPLETIONS, paths::OPENAI_RESPONSES].into_iter().enumerate() {
        let mut exchange = open(&mcpd, path, mcpd.admin_token());
        exchange.read_until("one");
        let left = Instant::now();
        drop(exchange);
        assert!(
            upstream.wait_for_close(number, LIMIT).duration_since(left) < Duration::from_secs(1),
            "{path}"
        );
    }
    let engine = Engine::start();
    mcpd.create_llm("endless", &engine.url());
    let mut body = endless();
    body["model"] = json!("endless");
    let body = body.to_string();
    let mut exchange =
        mcpd.open("POST", paths::OPENAI_CHAT, Some(mcpd.admin_token()), &[], body.as_bytes()).unwrap();
    exchange.read_until("tock");
    let left = Instant::now();
    drop(exchange);
    assert!(engine.wait_for_cancel(LIMIT).duration_since(left) < Duration::from_secs(1));
}
