//! The harness of the real server, tried on the real server.

use fakes::{Engine, Mcpd};
use mcp_api::{LlmPatch, SubjectKind, headers};
use std::{io::ErrorKind, net::TcpStream};

const QUESTION: &[u8] = br#"{"messages":[{"role":"user","content":"hi"}]}"#;
const INFER: &str = "/api/v1/llms/chat/infer";
const USE_OF_CHAT: &[fakes::Grant<'_>] = &[("view", "llms", Some("chat")), ("run", "llms", Some("chat"))];

#[test]
fn a_server_starts_answers_stops_and_comes_back_where_it_was() {
    let mut mcpd = Mcpd::start();
    let answer = mcpd.request("GET", "/healthz", None, &[], b"");
    assert_eq!(answer.status, 200);
    let port = mcpd.port();

    assert!(mcpd.stop().success());
    assert_eq!(TcpStream::connect(mcpd.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    mcpd.restart();
    assert_eq!(mcpd.port(), port);
    assert_eq!(mcpd.request("GET", "/healthz", None, &[], b"").status, 200);
    assert!(!mcpd.kill().success());
}

#[test]
fn rights_are_given_and_taken_by_its_helpers() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    let llm = mcpd.create_llm("chat", &engine.url());
    let token = mcpd.user_with("dana", USE_OF_CHAT);
    let ask = |token: &str| mcpd.request("POST", INFER, Some(token), &[], QUESTION).status;
    assert_eq!(ask(&token), 200);
    assert_eq!((engine.requests(), engine.connections()), (1, 1));

    mcpd.delete_binding("dana");
    assert_eq!(ask(&token), 403);
    mcpd.grant("again", "dana", USE_OF_CHAT);
    assert_eq!(ask(&token), 200);
    mcpd.revoke_token(&token);
    assert_eq!(ask(&token), 401);

    let second = mcpd.token_for("dana");
    assert_eq!(ask(&second), 200);
    mcpd.patch_llm("chat", &LlmPatch { enabled: Some(false), ..LlmPatch::default() });
    assert_eq!(ask(&second), 403);
    mcpd.delete_llm(llm.id.as_str());
    mcpd.delete_user("dana");
    assert_eq!(ask(&second), 401);
}

#[test]
fn the_answer_to_a_head_and_to_raw_bytes_is_read() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    mcpd.create_subject(SubjectKind::Group, "all", &["admin"]);
    let probe = [(headers::PROBE, "run; nonce=0123456789abcdef0123456789abcdef")];
    let answer = mcpd.request("HEAD", "/api/v1/llms/chat", Some(mcpd.admin_token()), &probe, b"");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert!(answer.header(headers::DECISION).unwrap().starts_with("allow; llm=chat"));

    let raw = mcpd.raw(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(raw.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn an_answer_can_be_read_in_part_and_left() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let endless = br#"{"stream":true,"messages":[{"role":"user","content":"[forever]"}]}"#;
    let mut exchange = mcpd.open("POST", INFER, Some(mcpd.admin_token()), &[], endless).unwrap();
    exchange.read_until("tock");
    drop(exchange);
    engine.wait_for_cancel(std::time::Duration::from_secs(10));
}
