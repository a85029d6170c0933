//! LLMs with several nodes, and what is said of their upstreams.

mod outage;
mod retries;

use crate::cases::{CHAT, INFER, LIMIT, error_of, log_line, prompt};
use fakes::{Blackhole, Engine, Evild, Fault, Mcpd, Refusing, Response, Step, wire};
use mcp_api::{ApiKeyRef, LlmSpec};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// As it is described, without what the server adds.
fn described(mcpd: &Mcpd) -> Value {
    let mut shown: Value = mcpd.request("GET", CHAT, Some(mcpd.admin_token()), &[], b"").json();
    for added in ["id", "verbs", "createdAt", "updatedAt", "failover", "enabled"] {
        shown.as_object_mut().unwrap().remove(added);
    }
    shown
}

#[test]
fn nodes_times_and_limits_are_kept_as_they_are_described() {
    let mut mcpd = Mcpd::start();
    let whole = json!({
        "name": "chat", "type": "vllm", "model": "m",
        "url": "http://10.0.0.5:8000/v1",
        "urls": ["http://10.0.0.5:8000/v1", "http://10.0.0.6:8000/v1"],
        "timeouts": {"connectSeconds": 1, "firstByteSeconds": 30, "idleSeconds": 20},
        "limits": {"concurrent": 8, "requestsPerMinute": 600, "perToken": {"concurrent": 2, "requestsPerMinute": 60}},
    });
    let mut sent = whole.clone();
    sent.as_object_mut().unwrap().remove("url");
    let token = mcpd.admin_token().to_owned();
    let _done = mcpd.api("POST", "/api/v1/llms", &token, &sent).expect_success("it is made");
    assert_eq!(described(&mcpd), whole);
    mcpd.restart();
    assert_eq!(described(&mcpd), whole, "it is in the database");
    // Written as it is shown, it is what is there already.
    let before: Value = mcpd.request("GET", CHAT, Some(&token), &[], b"").json();
    let _done = mcpd.api("PUT", CHAT, &token, &whole).expect_success("it is written as it is shown");
    assert_eq!(mcpd.request("GET", CHAT, Some(&token), &[], b"").json::<Value>(), before);
    let patch = json!({
        "urls": null, "timeouts": {"idleSeconds": null}, "limits": {"concurrent": null, "perToken": null},
    });
    let _done = mcpd.api("PATCH", CHAT, &token, &patch).expect_success("it is changed");
    mcpd.restart();
    let left = json!({
        "name": "chat", "type": "vllm", "model": "m",
        "url": "http://10.0.0.5:8000/v1",
        "timeouts": {"connectSeconds": 1, "firstByteSeconds": 30},
        "limits": {"requestsPerMinute": 600},
    });
    assert_eq!(described(&mcpd), left);
}

#[test]
fn nodes_times_and_limits_that_make_no_sense_are_refused_with_the_reason() {
    let mcpd = Mcpd::start();
    let told = |more: Value| {
        let mut body = json!({"name": "chat", "type": "vllm", "model": "m"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = mcpd.api("POST", "/api/v1/llms", mcpd.admin_token(), &body);
        let message = answer.json::<Value>()["error"]["message"].as_str().unwrap_or_default().to_owned();
        (answer.status, message)
    };
    for (more, reason) in [
        (json!({}), "`url` or `urls` is needed"),
        (json!({"urls": []}), "`url` or `urls` is needed"),
        (json!({"url": "http://b", "urls": ["http://a", "http://b"]}), "must be the first of `urls`"),
        (json!({"urls": ["http://a", "http://a/"]}), "twice"),
        (json!({"urls": ["http://a", "ftp://b"]}), "http://"),
        (json!({"url": "http://a", "timeouts": {"idleSeconds": 0}}), "nonzero"),
        (json!({"url": "http://a", "timeouts": {"idleSeconds": 100_000}}), "86400"),
        (json!({"url": "http://a", "timeouts": {"totalSeconds": 1}}), "totalSeconds"),
        (json!({"url": "http://a", "limits": {"concurrent": 0}}), "nonzero"),
        (json!({"url": "http://a", "limits": {"perToken": {"tokens": 1}}}), "tokens"),
    ] {
        let (status, message) = told(more.clone());
        assert!(status == 422 && message.contains(reason), "{more}: {status} {message}");
    }
}

/// Makes the LLM `chat` anew, with these nodes: the first one is asked first.
fn serve_by(mcpd: &Mcpd, urls: &[&str]) {
    let _not_there = mcpd.api("DELETE", CHAT, mcpd.admin_token(), &Value::Null);
    let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
    mcpd.create_llm_from(&Mcpd::llm_spec("chat", &urls[0]).with_nodes(None, urls).unwrap());
}

fn ask(mcpd: &Mcpd, more: Value) -> Response {
    mcpd.api("POST", INFER, mcpd.admin_token(), &prompt(more))
}

fn streamed(mcpd: &Mcpd) -> Response {
    ask(mcpd, json!({"stream": true}))
}

fn once(bytes: impl Into<Vec<u8>>) -> Evild {
    Evild::start([vec![Step::ReadRequest, Step::Send(bytes.into()), Step::Close]])
}

#[test]
fn a_dead_node_is_no_outage_and_is_soon_left_alone() {
    let (dead, alive) = (Refusing::new(), Engine::start());
    let mcpd = Mcpd::start();
    serve_by(&mcpd, &[&dead.url(), &alive.url()]);
    for _ in 0..20 {
        assert_eq!(ask(&mcpd, json!({})).status, 200);
        assert_eq!(streamed(&mcpd).events().last().unwrap(), "[DONE]");
    }
    assert_eq!(alive.chats().len(), 40);
    let failures = mcpd.logs().matches("no answer from the upstream").count();
    assert!((1..=5).contains(&failures), "it was asked {failures} times");
}

#[test]
fn a_node_that_comes_back_is_asked_again() {
    let (one, other) = (Engine::start(), Engine::start());
    let mcpd = Mcpd::start();
    serve_by(&mcpd, &[&one.url(), &other.url()]);
    one.stop();
    assert_eq!(ask(&mcpd, json!({})).status, 200);
    assert_eq!((one.chats().len(), other.chats().len()), (0, 1));
    one.resume();
    fakes::wait_until(LIMIT, "it is asked again", || {
        assert_eq!(ask(&mcpd, json!({})).status, 200);
        one.chats().len() > 3
    });
}

#[test]
fn what_fails_before_its_first_byte_is_asked_of_another_node() {
    let html = wire::http(200, &[("content-type", "text/html")], "<html>maintenance</html>");
    let error = wire::sse(&[wire::error("engine died", 500).to_string(), "[DONE]".to_owned()]);
    let short = [("content-type", "application/json"), ("content-length", "100")];
    let mut failing = vec![
        Evild::start([vec![Step::ReadRequest, Step::Reset]]),
        Evild::start([vec![Step::ReadRequest, Step::Close]]),
        Evild::start([vec![Step::ReadHead, Step::Close]]),
        once(b"SSH-2.0-OpenSSH\r\n".to_vec()),
        once(html),
        once(wire::sse_head()),
        once(wire::sse_chunked_head()),
        once(wire::head(200, &short)),
        once(error),
    ];
    failing.extend([429, 500, 502, 503, 504, 302].map(|status| once(wire::json_answer(status, &json!({})))));
    let mcpd = Mcpd::start();
    for node in &failing {
        let engine = Engine::start();
        serve_by(&mcpd, &[&node.url(), &engine.url()]);
        let answer = streamed(&mcpd);
        assert_eq!(
            (answer.status, answer.events().last().unwrap().as_str()),
            (200, "[DONE]"),
            "{:?}",
            node.received(0)
        );
        assert_eq!((node.connections(), engine.chats().len()), (1, 1), "each is asked once");
        assert_eq!(engine.bodies()[0]["model"], "tiny", "the same prompt goes there");
    }
}

#[test]
fn what_is_wrong_with_the_request_is_asked_of_no_other_node() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    for (status, ours) in
        [(400, 400), (401, 502), (402, 502), (403, 502), (404, 502), (413, 413), (418, 502), (422, 422)]
    {
        let node = Evild::answering(wire::json_answer(status, &json!({})));
        serve_by(&mcpd, &[&node.url(), &engine.url()]);
        assert_eq!(ask(&mcpd, json!({})).status, ours, "{status}");
    }
    assert_eq!(engine.connections(), 0);
}

#[test]
fn s01_two_nodes_never_answer_together() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    let begun = |event: &[u8]| [wire::sse_chunked_head(), wire::chunk(event)].concat();
    // A comment, too, is a byte that somebody has seen.
    for first in [wire::event(&wire::content("one")), b": still at work\n\n".to_vec()] {
        let node = once(begun(&first));
        serve_by(&mcpd, &[&node.url(), &engine.url()]);
        let answer = streamed(&mcpd);
        assert!(answer.body.starts_with(&first), "{}", answer.text());
        assert!(
            answer.text().contains("upstream_error") && !answer.text().contains("[DONE]"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(engine.connections(), 0);
}

#[test]
fn a_prompt_that_ends_whoever_reads_it_ends_three_nodes_at_most() {
    let nodes: Vec<Evild> = (0..6).map(|_| Evild::start([vec![Step::ReadRequest, Step::Reset]])).collect();
    let urls: Vec<String> = nodes.iter().map(Evild::url).collect();
    let mcpd = Mcpd::start();
    serve_by(&mcpd, &urls.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(error_of(&ask(&mcpd, json!({}))), (502, "upstream_unavailable".into(), "upstream".into()));
    assert_eq!(nodes.iter().map(|node| node.requests().len()).sum::<usize>(), 3);
}

#[test]
fn where_all_nodes_are_down_there_is_one_honest_error_and_the_last_word_is_theirs() {
    let mcpd = Mcpd::start();
    let dead = [Refusing::new(), Refusing::new(), Refusing::new()].map(|node| node.url());
    serve_by(&mcpd, &dead.each_ref().map(String::as_str));
    for _ in 0..3 {
        assert_eq!(error_of(&ask(&mcpd, json!({}))), (502, "upstream_unavailable".into(), "upstream".into()));
    }
    let error = wire::error("engine died", 500).to_string();
    let both = [(); 2].map(|()| once(wire::sse(&[error.as_str(), "[DONE]"])));
    serve_by(&mcpd, &[&both[0].url(), &both[1].url()]);
    let events = streamed(&mcpd).events();
    assert_eq!((events[0].as_str(), events[1].as_str()), (error.as_str(), "[DONE]"));
}

#[test]
fn times_are_those_of_the_llm_and_a_slow_prompt_is_not_given_to_a_second_node() {
    let (hangs, engine, hole) =
        (Evild::start([vec![Step::ReadRequest, Step::Hang]]), Engine::start(), Blackhole::new());
    let long = ["connect", "first-byte", "idle"].map(|time| format!("--upstream-{time}-timeout=1h"));
    let mcpd = long.into_iter().fold(Mcpd::builder(), fakes::McpdBuilder::arg).start();
    let times = |name: &str| {
        let patch = json!({"timeouts": {name: 1}});
        let _done = mcpd.api("PATCH", CHAT, mcpd.admin_token(), &patch).expect_success(name);
    };
    serve_by(&mcpd, &[&hangs.url(), &engine.url()]);
    times("firstByteSeconds");
    assert_eq!(error_of(&ask(&mcpd, json!({}))), (504, "upstream_timeout".into(), "upstream".into()));
    assert_eq!(engine.connections(), 0);
    assert_eq!(ask(&mcpd, json!({})).status, 200, "the next one goes elsewhere");
    serve_by(&mcpd, &[&hole.url(), &engine.url()]);
    times("connectSeconds");
    assert_eq!(ask(&mcpd, json!({})).status, 200);
    engine.set_fault(Fault::HangAfter(2));
    serve_by(&mcpd, &[&engine.url()]);
    times("idleSeconds");
    assert!(streamed(&mcpd).text().contains("upstream_timeout"));
}

#[test]
fn a_connection_that_was_closed_meanwhile_costs_nothing() {
    let answer = wire::json_answer(200, &wire::completion("hello", Some("stop")));
    // Closed when the second request arrives: nobody can have seen it coming.
    let closes = vec![Step::ReadRequest, Step::Send(answer.clone()), Step::ReadHead, Step::Close];
    let node = Evild::start([closes, vec![Step::ReadRequest, Step::Send(answer)]]);
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &node.url());
    assert_eq!(ask(&mcpd, json!({})).status, 200);
    assert_eq!(ask(&mcpd, json!({})).status, 200);
    assert_eq!(node.connections(), 2);
}

#[test]
fn connections_are_kept_and_are_those_of_one_llm() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    for name in ["chat", "other"] {
        mcpd.create_llm(name, &engine.url());
    }
    for _ in 0..5 {
        assert_eq!(ask(&mcpd, json!({})).status, 200);
        assert_eq!(streamed(&mcpd).status, 200);
    }
    assert_eq!(engine.connections(), 1);
    let other = mcpd.api("POST", "/api/v1/llms/other/infer", mcpd.admin_token(), &prompt(json!({})));
    assert_eq!((other.status, engine.connections()), (200, 2));
}

#[test]
fn a_key_in_a_file_counts_as_soon_as_it_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    std::fs::write(&file, "key-0\n").unwrap();
    let reference = ApiKeyRef::File(file.display().to_string());
    mcpd.create_llm_from(&LlmSpec { api_key_ref: Some(reference), ..Mcpd::llm_spec("chat", &engine.url()) });
    std::thread::scope(|scope| {
        // Others go on asking meanwhile.
        let rounds: Vec<_> =
            (0..3).map(|_| scope.spawn(|| (0..20).all(|_| ask(&mcpd, json!({})).status == 200))).collect();
        for turn in 1..6 {
            let (new, key) = (folder.path().join("new"), format!("key-{turn}"));
            std::fs::write(&new, &key).unwrap();
            std::fs::rename(&new, &file).unwrap();
            let body = prompt(json!({"user": key})).to_string();
            let answer = mcpd.request(
                "POST",
                INFER,
                Some(mcpd.admin_token()),
                &[("x-request-id", &key)],
                body.as_bytes(),
            );
            assert_eq!(answer.status, 200);
            let sent =
                engine.chats().into_iter().find(|chat| chat.header("x-request-id") == Some(&key)).unwrap();
            assert_eq!(sent.header("authorization"), Some(&*format!("Bearer {key}")));
        }
        assert!(rounds.into_iter().all(|round| round.join().unwrap()));
    });
}

#[test]
fn x07_a_head_without_end_and_odd_answers_cost_little() {
    let endless = vec![
        Step::ReadRequest,
        Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Step::Repeat(vec![Step::Send(format!("x-y: {}\r\n", "z".repeat(1000)).into_bytes())]),
    ];
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(5000));
    let nodes = [
        Evild::start([endless]),
        once(many),
        once(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_vec()),
        once(b"HTTP/0.9 hello".to_vec()),
    ];
    let mcpd = Mcpd::start();
    for node in &nodes {
        serve_by(&mcpd, &[&node.url()]);
        assert_eq!(error_of(&ask(&mcpd, json!({}))), (502, "upstream_unavailable".into(), "upstream".into()));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", mcpd.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 << 10, "{peak} kB at the peak");
    // Events are bytes, whatever they call themselves.
    let odd = b"event: system\ndata: {\"mcpd\": \"obey\"}\nid: 7\nretry: 1\n\ndata: [DONE]\n\n".to_vec();
    let node = once([wire::sse_head(), odd.clone()].concat());
    serve_by(&mcpd, &[&node.url()]);
    assert_eq!(streamed(&mcpd).body, odd);
}

#[test]
fn n08_a_node_that_speaks_http_2_is_a_clean_error() {
    let frame = |kind: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, 0, 0, 0, 0, stream], payload].concat()
    };
    let (settings, goaway) = (frame(4, 0, &[]), frame(7, 0, &[0, 0, 0, 0, 0, 0, 0, 1]));
    let (rst, empty) = (frame(3, 1, &[0, 0, 0, 8]), frame(0, 1, &[]));
    let mcpd = Mcpd::start();
    for said in [settings.clone(), [settings.clone(), goaway].concat(), [settings.clone(), rst].concat()] {
        let node = once(said);
        serve_by(&mcpd, &[&node.url()]);
        assert_eq!(error_of(&ask(&mcpd, json!({}))), (502, "upstream_unavailable".into(), "upstream".into()));
    }
    // Empty frames without end, and nothing at all after the first one.
    let endless = Evild::start([vec![
        Step::ReadRequest,
        Step::Send(settings.clone()),
        Step::Repeat(vec![Step::Send(empty)]),
    ]]);
    let stalls = Evild::start([vec![Step::Send(settings), Step::Stall]]);
    for node in [&endless, &stalls] {
        let engine = Engine::start();
        serve_by(&mcpd, &[&node.url(), &engine.url()]);
        let asked = Instant::now();
        assert_eq!(ask(&mcpd, json!({})).status, 200, "another node answers");
        assert!(asked.elapsed() < Duration::from_secs(10));
    }
    // An upgrade that nobody asked for.
    let node =
        once(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n".to_vec());
    serve_by(&mcpd, &[&node.url()]);
    assert_eq!(error_of(&ask(&mcpd, json!({}))).0, 502);
}

#[test]
fn who_answered_at_last_is_no_secret_of_the_log() {
    let (dead, engine) = (Refusing::new(), Engine::start());
    let mcpd = Mcpd::start();
    serve_by(&mcpd, &[&dead.url(), &engine.url()]);
    let body = prompt(json!({})).to_string();
    mcpd.request("POST", INFER, Some(mcpd.admin_token()), &[("x-request-id", "tour-1")], body.as_bytes());
    assert_eq!(log_line(&mcpd, "tour-1")["outcome"], "done");
    let logs = mcpd.logs();
    let told = logs.lines().find(|line| line.contains("no answer from the upstream")).unwrap();
    let told: Value = serde_json::from_str(told).unwrap();
    assert_eq!((&told["node"], &told["reason"]), (&json!(dead.url()), &json!("connect")));
}
