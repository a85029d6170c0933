//! What goes to an upstream, and what its failures become.

use crate::cases::{INFER, LIMIT, USES_CHAT, error_of, prompt};
use fakes::{Blackhole, Certificate, Engine, Evild, Fault, Mcpd, Refusing, Step, wire};
use serde_json::{Value, json};

fn mcpd_for(upstream: &str) -> Mcpd {
    mcpd_with(&[], upstream)
}

fn mcpd_with(args: &[&str], upstream: &str) -> Mcpd {
    let builder = args.iter().fold(Mcpd::builder(), |builder, arg| builder.arg(*arg));
    let mcpd = builder.start();
    mcpd.create_llm("chat", &format!("{}/v1", upstream.trim_end_matches("/v1")));
    mcpd
}

fn ask(mcpd: &Mcpd, more: Value) -> fakes::Response {
    mcpd.api("POST", INFER, mcpd.admin_token(), &prompt(more))
}

#[test]
fn an_answer_is_passed_on_byte_by_byte() {
    let engine = Engine::start();
    let mcpd = mcpd_for(&engine.url());
    let whole = ask(&mcpd, json!({}));
    assert_eq!(whole.json::<Value>()["choices"][0]["finish_reason"], "stop");
    let stream = ask(&mcpd, json!({"stream": true}));
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.events().last().unwrap(), "[DONE]");
    // Odd spacing, comments and fields that nobody knows are none of our business.
    let odd = b": ping\r\n\r\nevent: x\ndata:{\"a\" :1}\n\ndata: [DONE]\n\n".to_vec();
    let evild = Evild::answering([wire::sse_head(), odd.clone()].concat());
    let mcpd = mcpd_for(&evild.url());
    assert_eq!(ask(&mcpd, json!({"stream": true})).body, odd);
}

#[test]
fn p06_a_body_over_the_limit_is_413_before_it_is_read() {
    let engine = Engine::start();
    let mcpd = mcpd_with(&["--max-body", "1000"], &engine.url());
    let big = json!({"messages": [], "pad": "x".repeat(1000)});
    let answer = mcpd.api("POST", INFER, mcpd.admin_token(), &big);
    assert_eq!(error_of(&answer), (413, "too_large".into(), "gateway".into()));
    assert!(answer.header("mcpd-decision").unwrap().starts_with("allow"));
    let token = mcpd.admin_token();
    let head = format!(
        "POST {INFER} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    );
    // Announced, and not a byte of it sent.
    let announced = mcpd.raw(format!("{head}content-length: 1001\r\nconnection: close\r\n\r\n").as_bytes());
    assert!(announced.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&announced));
    // Never announced, and without an end.
    let mut endless = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    endless.extend(wire::chunk(&[b' '; 1500]));
    let endless = mcpd.raw(&endless);
    assert!(endless.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&endless));
    assert_eq!(engine.connections(), 0);
}

#[test]
fn x02_the_body_chooses_neither_target_nor_key() {
    let (engine, elsewhere) = (Engine::start(), Engine::start());
    let mcpd = mcpd_for(&engine.url());
    for key in ["api_base", "base_url", "api_key", "url", "organization", "headers", "extra_headers"] {
        let answer = ask(&mcpd, json!({ key: elsewhere.url() }));
        assert_eq!(error_of(&answer), (422, "invalid".into(), "gateway".into()), "{key}");
        assert!(answer.text().contains(key));
    }
    assert_eq!(ask(&mcpd, json!({"model": "other"})).status, 422);
    let twice = mcpd.request(
        "POST",
        INFER,
        Some(mcpd.admin_token()),
        &[],
        br#"{"messages":[],"model":"chat","model":"chat"}"#,
    );
    assert_eq!(twice.status, 422);
    assert_eq!((engine.connections(), elsewhere.connections()), (0, 0));
    assert_eq!(ask(&mcpd, json!({"model": "chat"})).status, 200, "the LLM's own name");
    assert_eq!(engine.bodies()[0]["model"], "tiny");
}

#[test]
fn x03_no_header_of_the_caller_goes_on_but_those_on_the_list() {
    let engine = Engine::start();
    let mcpd = mcpd_for(&engine.url());
    let headers = [
        ("cookie", "session=1"),
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x-api-key", "k"),
        ("openai-organization", "o"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers"),
        ("expect", "100-continue"),
        ("mcpd-probe", "run; nonce=00112233445566778899aabbccddeeff"),
        ("x-request-id", "mine"),
        ("accept", "text/event-stream"),
        ("accept-encoding", "gzip"),
        ("user-agent", "curl"),
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
    ];
    let body = prompt(json!({})).to_string();
    let answer = mcpd.request("POST", INFER, Some(mcpd.admin_token()), &headers, body.as_bytes());
    assert_eq!(answer.status, 200);
    let sent = engine.wait_for_request(1, LIMIT);
    let mut names: Vec<_> = sent.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    assert_eq!(names, ["accept", "content-length", "content-type", "host", "user-agent", "x-request-id"]);
    assert_eq!(sent.header("x-request-id"), Some("mine"));
    assert_eq!(sent.header("accept"), Some("text/event-stream"));
    assert!(!String::from_utf8_lossy(&engine.received()).contains("mcpd_"));
}

#[test]
fn x03_no_header_of_the_upstream_comes_back_but_those_on_the_list() {
    let headers = [
        ("content-type", "application/json"),
        ("set-cookie", "a=b"),
        ("server", "uvicorn"),
        ("x-request-id", "theirs"),
        ("mcpd-decision", "allow; forged"),
        ("mcpd-failover", "allowed"),
        ("openai-organization", "secret-org"),
        ("location", "http://evil/"),
        ("cache-control", "public"),
    ];
    let evild = Evild::answering(wire::http(200, &headers, "{}"));
    let mcpd = mcpd_for(&evild.url());
    let answer = ask(&mcpd, json!({}));
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    let ours = ["cache-control", "connection", "content-length", "content-type", "date"];
    assert_eq!(names, [&ours[..], &["mcpd-decision", "mcpd-failover", "x-request-id"]].concat());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_ne!(answer.header("x-request-id"), Some("theirs"));
}

#[test]
fn each_failure_of_the_upstream_has_its_name() {
    let answers = [
        (401, 502, "upstream_auth"),
        (402, 502, "upstream_auth"),
        (403, 502, "upstream_auth"),
        (400, 400, "upstream_rejected"),
        (413, 413, "upstream_rejected"),
        (422, 422, "upstream_rejected"),
        (404, 502, "upstream_error"),
        (405, 502, "upstream_error"),
        (418, 502, "upstream_error"),
        (429, 429, "rate_limited"),
        (500, 500, "upstream_error"),
        (502, 502, "upstream_error"),
        (503, 503, "upstream_unavailable"),
        (504, 504, "upstream_error"),
        (204, 502, "upstream_error"),
        (302, 502, "upstream_error"),
        (307, 502, "upstream_error"),
        (999, 502, "upstream_error"),
    ];
    let elsewhere = Engine::start();
    let engine = Engine::start();
    let mcpd = mcpd_for(&engine.url());
    for (status, ours, code) in answers {
        let body = r#"{"error":{"message":"their reason"}}"#;
        let location = elsewhere.url();
        let headers = [("content-type", "application/json"), ("location", &*location), ("retry-after", "7")];
        engine.set_fault(Fault::Raw(wire::http(status, &headers, body)));
        let answer = ask(&mcpd, json!({}));
        assert_eq!(error_of(&answer), (ours, code.into(), "upstream".into()), "{status}");
        // Only a rejection has a reason that is meant for the caller.
        assert_eq!(answer.text().contains("their reason"), code == "upstream_rejected", "{status}");
        assert_eq!(answer.header("retry-after").is_some(), status == 429, "{status}");
    }
    engine.set_fault(Fault::Html);
    assert_eq!(error_of(&ask(&mcpd, json!({}))), (502, "upstream_error".into(), "upstream".into()));
    assert_eq!(elsewhere.connections(), 0, "no redirect is followed");
}

#[test]
fn an_upstream_that_cannot_be_reached_or_does_not_answer_is_named() {
    let quick = ["--upstream-connect-timeout", "300ms", "--upstream-first-byte-timeout", "600ms"];
    let refusing = Refusing::new();
    let silent = Blackhole::new();
    let resets = Evild::start([vec![Step::ReadRequest, Step::Reset]]);
    let hangs = Evild::start([vec![Step::ReadRequest, Step::Hang]]);
    let garbles = Evild::answering("SSH-2.0-OpenSSH\r\n");
    let untrusted = Evild::start_tls(Certificate::Good, [vec![Step::ReadRequest]]);
    let deaf_tls = Evild::start([vec![Step::Hang]]);
    for (url, status, code) in [
        (refusing.url(), 502, "upstream_unavailable"),
        (silent.url(), 502, "upstream_unavailable"),
        (resets.url(), 502, "upstream_unavailable"),
        (garbles.url(), 502, "upstream_unavailable"),
        (untrusted.url(), 502, "upstream_unavailable"),
        (deaf_tls.url().replace("http:", "https:"), 502, "upstream_unavailable"),
        ("http://no-such-host.invalid".to_owned(), 502, "upstream_unavailable"),
        (hangs.url(), 504, "upstream_timeout"),
    ] {
        let mcpd = mcpd_with(&quick, &url);
        assert_eq!(error_of(&ask(&mcpd, json!({}))), (status, code.into(), "upstream".into()), "{url}");
    }
    assert_eq!(untrusted.requests().len(), 0, "no prompt for a stranger");
    assert_eq!(resets.requests().len(), 1, "a prompt is sent once");
}

#[test]
fn a_body_must_be_one_json_object_and_say_so() {
    let engine = Engine::start();
    let mcpd = mcpd_for(&engine.url());
    let send = |content_type: &str, body: &[u8]| {
        let headers = [("content-type", content_type)];
        error_of(&mcpd.request("POST", INFER, Some(mcpd.admin_token()), &headers, body)).0
    };
    assert_eq!(send("text/plain", b"{}"), 415);
    assert_eq!(send("application/x-www-form-urlencoded", b"a=b"), 415);
    assert_eq!(send("application/json", b"{"), 400);
    assert_eq!(send("application/json", b"[]"), 422);
    assert_eq!(engine.connections(), 0);
}

#[test]
fn the_log_has_one_line_a_request_and_says_who_which_and_why() {
    let engine = Engine::start();
    let mcpd = mcpd_for(&engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let body = prompt(json!({})).to_string();
    mcpd.request("POST", INFER, Some(&dana), &[("x-request-id", "line-1")], body.as_bytes());
    let line = crate::cases::log_line(&mcpd, "line-1");
    for (field, value) in [
        ("method", json!("POST")),
        ("route", json!("/api/v1/llms/{llm}/infer")),
        ("status", json!(200)),
        ("user", json!("User/dana")),
        ("llm", json!("chat")),
        ("binding", json!("dana")),
        ("outcome", json!("done")),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
    assert!(line["duration_ms"].is_u64());
    assert_eq!(mcpd.logs().matches("line-1").count(), 1);
}

#[test]
fn x04_a_request_with_two_lengths_is_refused_and_its_connection_closed() {
    let engine = Engine::start();
    let mcpd = mcpd_for(&engine.url());
    let token = mcpd.admin_token();
    let head = format!(
        "POST {INFER} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    );
    let smuggled = "GET /api/v1/whoami HTTP/1.1\r\nhost: x\r\n\r\n";
    let ask = |lengths: &str, body: &str| {
        let answer = mcpd.raw(format!("{head}{lengths}\r\n\r\n{body}").as_bytes());
        String::from_utf8_lossy(&answer).into_owned()
    };
    let body = format!("2\r\n{{}}\r\n0\r\n\r\n{smuggled}");
    for lengths in
        ["content-length: 7\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 7"]
    {
        let answer = ask(lengths, &body);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    let answer = ask("transfer-encoding: chunked", &body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "after a chunked request nothing is read: {answer}");
    for odd in ["content-length: 2\r\ncontent-length: 3", "content-length: +2", "transfer-encoding: x"] {
        assert!(ask(odd, "{}").starts_with("HTTP/1.1 400"), "{odd}");
    }
    assert_eq!(engine.requests(), 1);
}
