//! What is asked of a second node, and what no longer is.

use super::{ask, once, serve_by};
use crate::cases::{INFER, LIMIT, USES_CHAT, error_of, prompt};
use fakes::{Engine, Evild, Gate, Mcpd, Refusing, Step};
use serde_json::json;
use std::thread;

/// A status without more.
fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

#[test]
fn a11_a_second_node_gets_no_prompt_of_somebody_who_may_no_longer_run_it() {
    let gate = Gate::new();
    let first = Evild::start([vec![Step::ReadRequest, Step::WaitAt(gate.clone()), Step::Reset]]);
    let second = Engine::start();
    // Nobody looks by chance while this runs.
    let mcpd = Mcpd::builder().arg("--stream-recheck=1h").start();
    serve_by(&mcpd, &[&first.url(), &second.url()]);
    let dana = mcpd.user_with("dana", USES_CHAT);
    let body = prompt(json!({}));
    let answer = thread::scope(|scope| {
        let asked = scope.spawn(|| mcpd.api("POST", INFER, &dana, &body));
        fakes::wait_until(LIMIT, "the first node to have the prompt", || !first.requests().is_empty());
        mcpd.delete_binding("dana");
        gate.open();
        asked.join().unwrap()
    });
    assert_eq!(error_of(&answer), (403, "revoked".into(), "policy".into()));
    assert_eq!(second.connections(), 0);
}

#[test]
fn a_kept_connection_that_breaks_may_have_been_read_and_counts() {
    let whole =
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{whole}",
        whole.len()
    );
    let kept =
        || vec![Step::ReadRequest, Step::Send(answer.clone().into_bytes()), Step::ReadRequest, Step::Reset];
    let mcpd = Mcpd::start();
    let nodes = [(); 4].map(|()| Evild::start([kept(), vec![Step::ReadRequest, Step::Reset]]));
    serve_by(&mcpd, &nodes.each_ref().map(Evild::url).each_ref().map(String::as_str));
    // Those that are equally busy take turns.
    assert_eq!([(); 4].map(|()| ask(&mcpd, json!({})).status), [200; 4]);
    assert_eq!(error_of(&ask(&mcpd, json!({}))), (502, "upstream_unavailable".into(), "upstream".into()));
    assert_eq!(
        nodes.iter().map(|node| node.requests().len()).sum::<usize>(),
        7,
        "the last prompt went out three times"
    );
    // With a single node there is nobody else to ask.
    let alone = Evild::start([kept(), vec![Step::ReadRequest, Step::Send(answer.clone().into_bytes())]]);
    serve_by(&mcpd, &[&alone.url()]);
    assert_eq!([(); 2].map(|()| ask(&mcpd, json!({})).status), [200; 2]);
    assert_eq!((alone.requests().len(), alone.connections()), (3, 2));
}

#[test]
fn a_response_is_asked_for_again_only_if_nothing_can_have_been_done() {
    let mcpd = Mcpd::start();
    let ask = || {
        let body = json!({"model": "chat", "input": "hi"});
        mcpd.api("POST", "/v1/responses", mcpd.admin_token(), &body).status
    };
    let broken = || Evild::start([vec![Step::ReadRequest, Step::Reset]]);
    for first in [broken(), once(status("500 Oh")), once(status("502 Oh")), once(status("504 Oh"))] {
        let second = Engine::start();
        serve_by(&mcpd, &[&first.url(), &second.url()]);
        assert!(ask() >= 500);
        assert_eq!((first.requests().len(), second.connections()), (1, 0));
    }
    for first in [once(status("503 Full")), once(status("429 Full"))] {
        let second = Engine::start();
        serve_by(&mcpd, &[&first.url(), &second.url()]);
        assert_eq!((ask(), second.connections()), (200, 1));
    }
    let (dead, second) = (Refusing::new(), Engine::start());
    serve_by(&mcpd, &[&dead.url(), &second.url()]);
    assert_eq!((ask(), second.connections()), (200, 1));
}
