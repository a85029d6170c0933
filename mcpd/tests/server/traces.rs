//! Traces: `traceparent` from the client to the upstream, and spans to a collector, here a double that keeps what it is
//! sent.

use crate::cases::{INFER, LIMIT, USES_CHAT, log_line, prompt};
use fakes::{Engine, Evild, Fault, Mcpd, Refusing, Request};
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn collector() -> Evild {
    Evild::answering(&b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"[..])
}

fn collecting(collector: &Evild) -> Mcpd {
    Mcpd::builder().env("MCPD_OTLP_TRACES", format!("http://{}/v1/traces", collector.addr())).start()
}

fn ask(mcpd: &Mcpd, token: &str, headers: &[(&str, &str)], body: &Value) -> u16 {
    mcpd.request("POST", INFER, Some(token), headers, body.to_string().as_bytes()).status
}

/// The spans that a request to the collector holds, with what it must have beside them.
fn spans(request: &Request) -> Vec<Value> {
    assert_eq!((&*request.method, &*request.target), ("POST", "/v1/traces"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let body = request.json();
    let resource = &body["resourceSpans"][0];
    assert_eq!(
        resource["resource"]["attributes"][0],
        json!({"key": "service.name", "value": {"stringValue": "mcpd"}})
    );
    resource["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

/// The span of a request, once it was sent.
fn span_of(collector: &Evild, request_id: &str) -> Value {
    let mut found = None;
    fakes::wait_until(LIMIT, "the span", || {
        let mut all = collector.requests().iter().flat_map(spans).collect::<Vec<_>>().into_iter();
        found = all.find(|span| attribute(span, "mcpd.request_id") == json!({"stringValue": request_id}));
        found.is_some()
    });
    found.unwrap()
}

fn attribute(span: &Value, key: &str) -> Value {
    let all = span["attributes"].as_array().unwrap();
    all.iter().find(|attribute| attribute["key"] == key).map_or(Value::Null, |it| it["value"].clone())
}

#[test]
fn a_span_says_what_became_of_a_request_and_neither_who_nor_what_was_asked() {
    let (engine, collector) = (Engine::start(), collector());
    let mcpd = collecting(&collector);
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana@example.com", USES_CHAT);
    let parent = parent("01");
    let body = json!({"messages": [{"role": "user", "content": "canary-prompt"}]});
    assert_eq!(ask(&mcpd, &dana, &[("x-request-id", "traced"), ("traceparent", &parent)], &body), 200);
    let span = span_of(&collector, "traced");
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(TRACE), &json!(PARENT)));
    assert_eq!((&span["name"], &span["kind"]), (&json!("POST /api/v1/llms/{llm}/infer"), &json!(2)));
    assert_eq!(span["status"], json!({}));
    for (key, value) in [
        ("http.response.status_code", json!({"intValue": "200"})),
        ("gen_ai.operation.name", json!({"stringValue": "chat"})),
        ("gen_ai.request.model", json!({"stringValue": "chat"})),
        ("gen_ai.usage.output_tokens", json!({"intValue": "10"})),
        ("mcpd.outcome", json!({"stringValue": "done"})),
    ] {
        assert_eq!(attribute(&span, key), value, "{key}");
    }
    let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    assert!(time("startTimeUnixNano") < time("endTimeUnixNano"));
    // The upstream's part is below ours.
    let sent = engine.wait_for_request(1, LIMIT);
    assert_eq!(
        sent.header("traceparent").unwrap(),
        format!("00-{TRACE}-{}-01", span["spanId"].as_str().unwrap())
    );
    assert_eq!(log_line(&mcpd, "traced")["trace_id"], TRACE);
    let all: String = collector.requests().iter().map(|request| request.json().to_string()).collect();
    for secret in ["dana", "canary-prompt", "tiny model", dana.split('_').nth(2).unwrap()] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn what_fails_is_a_span_with_an_error_and_what_nobody_samples_is_none() {
    let (engine, collector) = (Engine::failing(Fault::CutAfter(2)), collector());
    let mcpd = collecting(&collector);
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let stream = prompt(json!({"stream": true}));
    let unsampled = parent("00");
    let _ = ask(&mcpd, &dana, &[("x-request-id", "unsampled"), ("traceparent", &unsampled)], &stream);
    let _ = ask(&mcpd, &dana, &[("x-request-id", "cut")], &stream);
    let span = span_of(&collector, "cut");
    assert_eq!(span["status"], json!({"code": 2}));
    assert_eq!(attribute(&span, "mcpd.outcome"), json!({"stringValue": "upstream_broken"}));
    assert_eq!((span["traceId"].as_str().unwrap().len(), &span["parentSpanId"]), (32, &json!("")));
    let all: String = collector.requests().iter().map(|request| request.json().to_string()).collect();
    assert!(!all.contains("unsampled"), "{all}");
}

#[test]
fn without_a_collector_the_callers_trace_goes_on_to_the_upstream() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let given = parent("01");
    assert_eq!(
        ask(&mcpd, &dana, &[("traceparent", &given), ("x-request-id", "on")], &prompt(json!({}))),
        200
    );
    assert_eq!(ask(&mcpd, &dana, &[("traceparent", "00-forged-01-01")], &prompt(json!({}))), 200);
    assert_eq!(engine.wait_for_request(1, LIMIT).header("traceparent"), Some(&*given));
    assert_eq!(engine.wait_for_request(2, LIMIT).header("traceparent"), None);
    assert_eq!(log_line(&mcpd, "on")["trace_id"], TRACE);
}

#[test]
fn a_collector_that_is_away_costs_nobody_an_answer() {
    let (engine, away) = (Engine::start(), Refusing::new());
    let mcpd = Mcpd::builder().env("MCPD_OTLP_TRACES", format!("http://{}/v1/traces", away.addr())).start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    for _ in 0..5 {
        assert_eq!(ask(&mcpd, &dana, &[], &prompt(json!({}))), 200);
    }
    fakes::wait_until(LIMIT, "the log to say so", || {
        mcpd.logs().contains("spans cannot be sent to the collector")
    });
}
