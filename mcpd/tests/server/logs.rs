//! The log: one line of JSON a request, whatever a client sends, and one id from the client to the upstream and back.

use crate::cases::{CHAT, INFER, LIMIT, USES_CHAT, endless, error_of, log_line, prompt};
use fakes::{Engine, Fault, Mcpd, http::request_bytes};
use serde_json::{Value, json};

/// What must not come out as it went in: ends of lines, controls of terminals, what turns the direction of text, what
/// looks like a line of ours, and bytes that are no text.
const CORPUS: &[&[u8]] = &[
    b"a\x0bb",
    b"\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    b"\x7f",
    "a\u{202e}b\u{2066}c".as_bytes(),
    "a\u{2028}b\u{2029}c\u{85}d".as_bytes(),
    b"\"},{\"level\":\"INFO\",\"message\":\"request\",\"user\":\"User/admin\"",
    b"request_id=forged status=200",
    b"%0a%0d{\"forged\":true}",
    b"${jndi:ldap://127.0.0.1/x}",
    b"\xff\xfe\xc3\x28",
    b"\\n\\r\\u0000",
];

/// Whether a text would do something on a terminal or in a viewer of logs.
fn is_loud(text: &str) -> bool {
    text.chars().any(|c| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

#[test]
fn x08_nothing_that_a_client_sends_makes_a_line_of_its_own() {
    let engine = Engine::start();
    let mcpd = Mcpd::builder().env("MCPD_LOG", "debug,hyper=info").start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let send = |bytes: &[u8]| drop(mcpd.raw(bytes));
    for (number, text) in CORPUS.iter().enumerate() {
        let escaped: String = text.iter().map(|byte| format!("%{byte:02x}")).collect();
        for path in [format!("/{escaped}"), format!("/api/v1/llms/{escaped}"), format!("{CHAT}?q={escaped}")]
        {
            let _ = mcpd.request("GET", &path, Some(&dana), &[], b"");
        }
        // As they are, where bytes that are none of a header's do not end the connection.
        for header in ["x-request-id", "user-agent", "authorization", "mcpd-probe", "traceparent", "referer"]
        {
            let bearer = if header == "authorization" {
                String::new()
            } else {
                format!("authorization: Bearer {dana}\r\n")
            };
            let head = format!("GET {CHAT} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{bearer}{header}: ");
            send(&[head.as_bytes(), text, b"\r\n\r\n"].concat());
        }
        send(&[&b"GET / HTTP/1.1\r\nhost: a\r\n"[..], text, b": x\r\nconnection: close\r\n\r\n"].concat());
        let shown = String::from_utf8_lossy(text);
        let body = json!({"name": shown, "type": shown, "url": shown, "model": shown}).to_string();
        let _ = mcpd.request("POST", "/api/v1/llms", Some(mcpd.admin_token()), &[], body.as_bytes());
        engine.set_fault(Fault::Status(400, json!({"error": {"message": shown}})));
        let _ = mcpd.request("POST", INFER, Some(&dana), &[], &[text, &b"{}"[..]].concat());
        let id = format!("last-{number}");
        let _ = mcpd.request(
            "POST",
            INFER,
            Some(&dana),
            &[("x-request-id", &id)],
            prompt(json!({})).to_string().as_bytes(),
        );
        let _ = log_line(&mcpd, &id);
    }
    let logs = mcpd.logs();
    let mut requests = 0;
    for line in logs.lines().filter(|line| !line.starts_with("mcpd listening")) {
        assert!(!is_loud(line), "{line:?}");
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(entry["timestamp"].is_string() && entry["level"].is_string(), "{line}");
        assert_ne!(entry["user"], "User/admin-forged", "{line}");
        assert!(entry["forged"].is_null(), "{line}");
        if entry["message"] == "request" {
            requests += 1;
            let id = entry["request_id"].as_str().unwrap();
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{line}");
        }
    }
    assert!(requests > CORPUS.len() * 10, "{requests}");
    assert!(!logs.contains(dana.split('_').nth(2).unwrap()), "a token is in the log");
}

#[test]
fn one_id_goes_from_the_client_to_the_upstream_the_log_the_trail_and_the_error() {
    let engine = Engine::start();
    let mcpd = Mcpd::builder().arg("--audit").arg("required").start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let id = "ticket-4711_a.b";
    engine.set_fault(Fault::CutAfter(2));
    let stream = json!({"stream": true, "messages": []}).to_string();
    let answer = mcpd.request("POST", INFER, Some(&dana), &[("x-request-id", id)], stream.as_bytes());
    assert_eq!(answer.header("x-request-id"), Some(id));
    let last: Value = serde_json::from_str(answer.events().last().unwrap()).unwrap();
    assert_eq!(last["error"]["requestId"], id);
    assert_eq!(engine.wait_for_request(1, LIMIT).header("x-request-id"), Some(id));
    let line = log_line(&mcpd, id);
    assert_eq!(
        (&line["outcome"], &line["llm"], &line["user"]),
        (&json!("upstream_broken"), &json!("chat"), &json!("User/dana"))
    );
    let page: Value = mcpd.request("GET", "/api/v1/audit", Some(mcpd.admin_token()), &[], b"").json();
    assert!(page["items"].as_array().unwrap().iter().any(|entry| entry["requestId"] == id), "{page}");
    let denied = mcpd.request("GET", CHAT, None, &[("x-request-id", id)], b"");
    let _ = error_of(&denied);
}

#[test]
fn an_id_that_is_no_id_is_replaced_by_one_of_ours() {
    let mcpd = Mcpd::start();
    for odd in ["", " ", "a b", "a,b", "ä", &"x".repeat(129), "a\"b", "{}"] {
        let answer = mcpd.request("GET", "/healthz", None, &[("x-request-id", odd)], b"");
        let id = answer.header("x-request-id").unwrap();
        assert!(id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{odd:?} became {id:?}");
    }
    // The first of two counts for nobody: which one a proxy took for its log is not known here.
    let request = request_bytes(
        "GET",
        "/healthz",
        mcpd.addr(),
        &[("x-request-id", "one"), ("x-request-id", "two")],
        b"",
    );
    let answer = fakes::Exchange::open(mcpd.addr(), &request).unwrap().finish();
    assert!(!["one", "two"].contains(&answer.header("x-request-id").unwrap()), "{answer:?}");
}

#[test]
fn an_answer_that_a_client_leaves_is_a_line_that_says_so() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let body = endless().to_string();
    let mut exchange =
        mcpd.open("POST", INFER, Some(&dana), &[("x-request-id", "left")], body.as_bytes()).unwrap();
    let _ = exchange.read_until("data:");
    drop(exchange);
    assert_eq!(log_line(&mcpd, "left")["outcome"], "client_gone");
}
