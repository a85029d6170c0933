//! Streams that do not go to their end: cut by an upstream, a client, a revocation or a signal.

use crate::cases::{INFER, LIMIT, USES_CHAT, endless, error_of, log_line, prompt};
use fakes::{Engine, Evild, Exchange, Fault, Gate, Mcpd, Response, Step, wire};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn open(mcpd: &Mcpd, token: &str, body: &Value) -> Exchange {
    let body = body.to_string();
    mcpd.open("POST", INFER, Some(token), &[("x-request-id", "stream-1")], body.as_bytes()).unwrap()
}

/// The code of the error event that ends a stream; panics unless that is how it ends.
fn last_error(answer: &Response) -> String {
    assert!(answer.complete, "the answer has an end");
    assert!(answer.text().ends_with("}\n\n"), "the event is whole: {:?}", answer.text());
    let events = answer.events();
    assert!(!events.iter().any(|event| event == "[DONE]"), "a cut stream has no [DONE]");
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    last["error"]["code"].as_str().unwrap().to_owned()
}

#[test]
fn s13_a_client_that_leaves_ends_the_upstream_within_a_second() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let mut exchange = open(&mcpd, mcpd.admin_token(), &endless());
    exchange.read_until("tock");
    let left = Instant::now();
    drop(exchange);
    let cancelled = engine.wait_for_cancel(LIMIT);
    assert!(cancelled.duration_since(left) < Duration::from_secs(1));
    assert_eq!(log_line(&mcpd, "stream-1")["outcome"], "client_gone");
}

#[test]
fn s13_a_client_that_leaves_before_the_answer_ends_the_upstream_too() {
    let engine = Evild::start([vec![Step::ReadRequest, Step::Hang]]);
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let body = prompt(json!({})).to_string();
    let request = fakes::http::request_bytes(
        "POST",
        INFER,
        mcpd.addr(),
        &[
            ("authorization", &format!("Bearer {}", mcpd.admin_token())),
            ("content-type", "application/json"),
            ("x-request-id", "stream-1"),
        ],
        body.as_bytes(),
    );
    let mut client = std::net::TcpStream::connect(mcpd.addr()).unwrap();
    std::io::Write::write_all(&mut client, &request).unwrap();
    engine.wait_for_request(1, LIMIT);
    let left = Instant::now();
    drop(client);
    assert!(engine.wait_for_close(0, LIMIT).duration_since(left) < Duration::from_secs(1));
    let line = log_line(&mcpd, "stream-1");
    assert_eq!((&line["outcome"], &line["status"]), (&json!("client_gone"), &Value::Null));
}

#[test]
fn s12_a_client_that_stops_reading_costs_little_and_not_for_ever() {
    let flood = wire::chunk(&wire::event(&"x".repeat(1 << 20)));
    let script =
        vec![Step::ReadRequest, Step::Send(wire::sse_chunked_head()), Step::Repeat(vec![Step::Send(flood)])];
    let upstream = Evild::start([script]);
    let mcpd = Mcpd::builder().arg("--client-stall-timeout").arg("1s").start();
    mcpd.create_llm("chat", &upstream.url());
    let exchange = open(&mcpd, mcpd.admin_token(), &prompt(json!({"stream": true})));
    // Nothing is read, until the server has had enough of it.
    upstream.wait_for_close(0, LIMIT);
    let status = std::fs::read_to_string(format!("/proc/{}/status", mcpd.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 << 10, "{peak} kB at the peak");
    drop(exchange);
}

/// Takes the right to run away from the user of a token.
type TakeAway = fn(&Mcpd, &str);

#[test]
fn a11_a_stream_ends_when_the_right_to_run_goes() {
    let one = [wire::sse_chunked_head(), wire::chunk(&wire::event("one"))].concat();
    let upstream = Evild::start([vec![Step::ReadRequest, Step::Send(one), Step::Hang]]);
    let mcpd = Mcpd::builder().arg("--stream-recheck").arg("1s").start();
    mcpd.create_llm("chat", &upstream.url());
    let ways: [(&str, TakeAway); 4] = [
        ("binding", |mcpd, _| mcpd.delete_binding("binding")),
        ("token", |mcpd, token| mcpd.revoke_token(token)),
        ("user", |mcpd, _| mcpd.delete_user("user")),
        ("llm", |mcpd, _| mcpd.delete_llm("chat")),
    ];
    for (number, (name, take_away)) in ways.into_iter().enumerate() {
        let token = mcpd.user_with(name, USES_CHAT);
        let mut exchange = open(&mcpd, &token, &prompt(json!({"stream": true})));
        exchange.read_until("one");
        take_away(&mcpd, &token);
        assert_eq!(last_error(&exchange.finish()), "revoked", "{name}");
        upstream.wait_for_close(number, LIMIT);
    }
    assert_eq!(log_line(&mcpd, "stream-1")["outcome"], "revoked");
}

#[test]
fn a11_who_loses_the_right_before_the_answer_gets_none() {
    let gate = Gate::new();
    let engine = Engine::failing(Fault::WaitAt(gate.clone()));
    let mcpd = Mcpd::builder().arg("--stream-recheck").arg("1s").start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| mcpd.api("POST", INFER, &dana, &prompt(json!({}))));
        engine.wait_for_request(1, LIMIT);
        mcpd.delete_binding("dana");
        let answer = asked.join().unwrap();
        assert_eq!(error_of(&answer), (403, "revoked".into(), "policy".into()));
        assert_eq!(answer.header("mcpd-decision"), Some("deny"));
    });
    gate.open();
}

#[test]
fn a_stream_that_breaks_ends_with_an_error_event_that_stands_alone() {
    let engine = Engine::start();
    let mcpd = Mcpd::builder().arg("--upstream-idle-timeout").arg("300ms").start();
    mcpd.create_llm("chat", &engine.url());
    let half_a_line = [wire::sse_chunked_head(), wire::chunk(b"data: {\"choices\":[{\"del")].concat();
    for (fault, code) in [
        (Fault::CutAfter(2), "upstream_error"),
        (Fault::ResetAfter(2), "upstream_error"),
        (Fault::NoDone, "upstream_error"),
        (Fault::HangAfter(2), "upstream_timeout"),
        (Fault::Raw(half_a_line), "upstream_error"),
    ] {
        let what = format!("{fault:?}");
        engine.set_fault(fault);
        let answer = mcpd.api("POST", INFER, mcpd.admin_token(), &prompt(json!({"stream": true})));
        assert_eq!((answer.status, last_error(&answer)), (200, code.into()), "{what}");
    }
    // What breaks before its first byte is no stream yet, and has the status of an error.
    engine.set_fault(Fault::Raw(wire::sse_head()));
    let answer = mcpd.api("POST", INFER, mcpd.admin_token(), &prompt(json!({"stream": true})));
    assert_eq!(error_of(&answer), (502, "upstream_error".into(), "upstream".into()));
}

#[test]
fn an_error_that_the_upstream_streams_is_passed_on_as_it_is() {
    let error = wire::error("engine died", 500);
    let engine = Engine::failing(Fault::ErrorAfter { events: 1, error: error.clone(), done: true });
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let answer = mcpd.api("POST", INFER, mcpd.admin_token(), &prompt(json!({"stream": true})));
    let events = answer.events();
    assert_eq!(events.last().unwrap(), "[DONE]");
    assert_eq!(serde_json::from_str::<Value>(&events[events.len() - 2]).unwrap(), error);
}

#[test]
fn a_document_that_breaks_is_short_and_says_so() {
    let head = [("content-type", "application/json"), ("content-length", "100")];
    let chunked = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
    for bytes in [
        [wire::head(200, &head), b"{\"half\":".to_vec()].concat(),
        [wire::head(200, &chunked), wire::chunk(b"{\"half\":")].concat(),
    ] {
        let upstream = Evild::start([vec![Step::ReadRequest, Step::Send(bytes), Step::Close]]);
        let mcpd = Mcpd::start();
        mcpd.create_llm("chat", &upstream.url());
        let body = prompt(json!({})).to_string();
        if let Ok(exchange) = mcpd.open("POST", INFER, Some(mcpd.admin_token()), &[], body.as_bytes()) {
            assert!(!exchange.finish().complete);
        }
    }
}

#[test]
fn tokens_arrive_one_by_one() {
    let gate = Gate::new();
    let script = vec![
        Step::ReadRequest,
        Step::Send([wire::sse_chunked_head(), wire::chunk(&wire::event("one"))].concat()),
        Step::WaitAt(gate.clone()),
        Step::Send([wire::chunk(&wire::event("[DONE]")), wire::LAST_CHUNK.to_vec()].concat()),
    ];
    let upstream = Evild::start([script]);
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &upstream.url());
    let mut exchange = open(&mcpd, mcpd.admin_token(), &prompt(json!({"stream": true})));
    // The second token waits for the first one to have arrived.
    assert_eq!(exchange.read_until("\n\n"), "data: one\n\n");
    gate.open();
    assert!(exchange.read_until("[DONE]").ends_with("\n\n"));
}

#[test]
fn d11_a_signal_lets_streams_end_and_takes_nothing_new() {
    let gate = Gate::new();
    let script = vec![
        Step::ReadRequest,
        Step::Send([wire::sse_chunked_head(), wire::chunk(&wire::event("one"))].concat()),
        Step::WaitAt(gate.clone()),
        Step::Send([wire::chunk(&wire::event("[DONE]")), wire::LAST_CHUNK.to_vec()].concat()),
    ];
    let upstream = Evild::start([script]);
    let mut mcpd = Mcpd::start();
    mcpd.create_llm("chat", &upstream.url());
    let mut exchange = open(&mcpd, mcpd.admin_token(), &prompt(json!({"stream": true})));
    exchange.read_until("one");
    mcpd.signal(Signal::TERM);
    fakes::wait_until(LIMIT, "readiness goes off", || {
        mcpd.request("GET", "/readyz", None, &[], b"").status == 503
    });
    assert_eq!(mcpd.request("GET", "/healthz", None, &[], b"").status, 200);
    let probed = crate::cases::probe(&mcpd, crate::cases::CHAT, mcpd.admin_token());
    assert_eq!((probed.status, probed.header("mcpd-error-code")), (503, Some("shutting_down")));
    assert_eq!(upstream.connections(), 1);
    gate.open();
    assert_eq!(exchange.finish().events(), ["[DONE]"]);
    assert!(mcpd.wait().success());
}

#[test]
fn d11_at_the_end_of_the_drain_streams_are_cut_honestly() {
    let engine = Engine::start();
    let mut mcpd = Mcpd::builder().arg("--drain").arg("100ms").start();
    mcpd.create_llm("chat", &engine.url());
    let mut exchange = open(&mcpd, mcpd.admin_token(), &endless());
    exchange.read_until("tock");
    mcpd.signal(Signal::INT);
    assert_eq!(last_error(&exchange.finish()), "shutting_down");
    assert!(mcpd.wait().success());
}

#[test]
fn d11_a_second_signal_ends_at_once() {
    let engine = Engine::start();
    let mut mcpd = Mcpd::builder().arg("--drain").arg("1h").start();
    mcpd.create_llm("chat", &engine.url());
    let mut exchange = open(&mcpd, mcpd.admin_token(), &endless());
    exchange.read_until("tock");
    mcpd.signal(Signal::TERM);
    fakes::wait_until(LIMIT, "the first signal is heard", || mcpd.logs().contains("stopping"));
    mcpd.signal(Signal::TERM);
    assert!(!mcpd.wait().success());
}
