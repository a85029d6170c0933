//! How much may be asked: at once and in a minute, of an LLM and with one token.

use crate::cases::{CHAT, INFER, LIMIT, USES_CHAT, endless, error_of, probe, prompt};
use fakes::{Engine, Exchange, Fault, Issuer, Mcpd, Response};
use mcp_api::{LlmSpec, Subject, SubjectKind};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
};

fn limited(mcpd: &Mcpd, engine: &Engine, limits: &Value) {
    let spec = LlmSpec {
        limits: serde_json::from_value(limits.clone()).unwrap(),
        ..Mcpd::llm_spec("chat", &engine.url())
    };
    mcpd.create_llm_from(&spec);
}

fn ask(mcpd: &Mcpd, token: &str) -> Response {
    mcpd.api("POST", INFER, token, &prompt(json!({})))
}

fn begin(mcpd: &Mcpd, token: &str) -> Exchange {
    let body = endless().to_string();
    let mut exchange = mcpd.open("POST", INFER, Some(token), &[], body.as_bytes()).unwrap();
    exchange.read_until("tock");
    exchange
}

/// Says that this is a 429 of this limit, for whoever reads headers and for whoever reads the body.
fn is_over(answer: &Response, said: &str) {
    assert_eq!(error_of(answer), (429, "rate_limited".into(), "quota".into()));
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    let error = &answer.json::<Value>()["error"];
    assert!(error["message"].as_str().unwrap().starts_with(said), "{error}");
    assert_eq!(error["type"], "rate_limit_error");
}

fn patch(mcpd: &Mcpd, limits: &Value) {
    let answer = mcpd.api("PATCH", CHAT, mcpd.admin_token(), &json!({ "limits": limits }));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn an_llm_takes_so_many_at_once_and_a_place_is_free_however_an_answer_ends() {
    let (engine, mcpd) = (Engine::start(), Mcpd::builder().arg("--stream-recheck").arg("1s").start());
    limited(&mcpd, &engine, &json!({ "concurrent": 1 }));
    let (ana, dana) = (mcpd.user_with("ana", USES_CHAT), mcpd.user_with("dana", USES_CHAT));
    let free = |why: &str| fakes::wait_until(LIMIT, why, || ask(&mcpd, &dana).status == 200);

    let running = begin(&mcpd, &ana);
    let refused = ask(&mcpd, &dana);
    is_over(&refused, "This LLM takes 1 request at the same time");
    assert!(refused.header("mcpd-decision").unwrap().starts_with("allow"), "it is no denial");
    drop(running);
    free("the client has left");

    let running = begin(&mcpd, &ana);
    mcpd.delete_binding("ana");
    assert!(running.finish().text().contains("revoked"));
    free("the right has gone");

    for fault in
        [Fault::CutAfter(1), Fault::Status(500, json!({})), Fault::Status(400, json!({})), Fault::Html]
    {
        let what = format!("{fault:?}");
        engine.set_fault(fault);
        ask(&mcpd, &dana);
        mcpd.api("POST", INFER, &dana, &prompt(json!({ "stream": true })));
        engine.set_fault(Fault::None);
        free(&what);
    }
    let too_large = mcpd.request("POST", INFER, Some(&dana), &[("content-type", "text/plain")], b"x");
    assert_eq!(too_large.status, 415);
    free("a request that was none");
    let v1 = json!({ "model": "chat", "messages": [] });
    let running = begin(&mcpd, &dana);
    is_over(&mcpd.api("POST", "/v1/chat/completions", &dana, &v1), "This LLM takes 1 request");
    drop(running);
    fakes::wait_until(LIMIT, "both surfaces count together", || {
        mcpd.api("POST", "/v1/chat/completions", &dana, &v1).status == 200
    });
}

#[test]
fn x05_a_prompt_that_never_comes_holds_no_place_and_uses_up_no_minute() {
    let (engine, mcpd) = (Engine::start(), Mcpd::start());
    limited(&mcpd, &engine, &json!({ "concurrent": 1, "requestsPerMinute": 2 }));
    let head = format!(
        "POST {INFER} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\nexpect: 100-continue\r\n\r\n",
        mcpd.admin_token()
    );
    let _waiting: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(mcpd.addr()).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            // The server waits for the body from here on.
            let mut told = [0; 25];
            stream.read_exact(&mut told).unwrap();
            assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
            stream
        })
        .collect();
    let dana = mcpd.user_with("dana", USES_CHAT);
    assert_eq!(ask(&mcpd, &dana).status, 200);
    assert_eq!(ask(&mcpd, &dana).status, 200);
}

#[test]
fn what_is_under_way_counts_on_when_the_llm_is_changed() {
    let (engine, mcpd) = (Engine::start(), Mcpd::start());
    limited(&mcpd, &engine, &json!({}));
    let _first = begin(&mcpd, mcpd.admin_token());
    let _second = begin(&mcpd, mcpd.admin_token());
    patch(&mcpd, &json!({ "concurrent": 2 }));
    is_over(&ask(&mcpd, mcpd.admin_token()), "This LLM takes 2 requests at the same time");
    patch(&mcpd, &json!({ "concurrent": 3 }));
    assert_eq!(ask(&mcpd, mcpd.admin_token()).status, 200);
    patch(&mcpd, &json!({ "concurrent": null, "perToken": { "concurrent": 1 } }));
    is_over(&ask(&mcpd, mcpd.admin_token()), "This LLM takes, of one token, 1 request at the same time");
    let dana = mcpd.user_with("dana", USES_CHAT);
    assert_eq!(ask(&mcpd, &dana).status, 200, "another token");
    patch(&mcpd, &json!(null));
    assert_eq!(ask(&mcpd, mcpd.admin_token()).status, 200);
}

#[test]
fn a_minute_has_so_many_requests_and_a_token_over_its_own_limit_uses_up_nothing_of_others() {
    let (engine, mcpd) = (Engine::start(), Mcpd::start());
    limited(&mcpd, &engine, &json!({ "requestsPerMinute": 4, "perToken": { "requestsPerMinute": 2 } }));
    let (ana, dana) = (mcpd.user_with("ana", USES_CHAT), mcpd.user_with("dana", USES_CHAT));
    for _ in 0..2 {
        assert_eq!(ask(&mcpd, &ana).status, 200);
    }
    for _ in 0..10 {
        is_over(&ask(&mcpd, &ana), "This LLM takes, of one token, 2 requests in a minute");
    }
    for _ in 0..2 {
        assert_eq!(ask(&mcpd, &dana).status, 200);
    }
    let third = mcpd.user_with("third", USES_CHAT);
    is_over(&ask(&mcpd, &third), "This LLM takes 4 requests in a minute");
    assert_eq!(engine.requests(), 4);
}

#[test]
fn probes_are_neither_counted_nor_limited() {
    let (engine, mcpd) = (Engine::start(), Mcpd::start());
    limited(&mcpd, &engine, &json!({ "concurrent": 1, "requestsPerMinute": 1 }));
    for _ in 0..5 {
        assert_eq!(probe(&mcpd, CHAT, mcpd.admin_token()).status, 200);
    }
    assert_eq!(ask(&mcpd, mcpd.admin_token()).status, 200);
    is_over(&ask(&mcpd, mcpd.admin_token()), "This LLM takes 1 request in a minute");
    assert_eq!(probe(&mcpd, CHAT, mcpd.admin_token()).status, 200);
}

#[test]
fn the_server_limits_a_token_over_all_llms() {
    let engine = Engine::start();
    let mcpd =
        Mcpd::builder().env("MCPD_TOKEN_CONCURRENT", "1").arg("--token-requests-per-minute").arg("3").start();
    mcpd.create_llm("chat", &engine.url());
    mcpd.create_llm("other", &engine.url());
    let dana = mcpd.user_with("dana", &[("run", "llms", None)]);
    let ask_other = || mcpd.api("POST", "/api/v1/llms/other/infer", &dana, &prompt(json!({})));
    let running = begin(&mcpd, &dana);
    is_over(&ask_other(), "This server takes, of one token, 1 request at the same time");
    assert_eq!(ask(&mcpd, mcpd.admin_token()).status, 200);
    drop(running);
    fakes::wait_until(LIMIT, "the place is free", || ask_other().status == 200);
    fakes::wait_until(LIMIT, "the minute is used up", || ask(&mcpd, &dana).status == 429);
    is_over(&ask_other(), "This server takes, of one token, 3 requests in a minute");
    assert_eq!(ask(&mcpd, mcpd.admin_token()).status, 200);
}

#[test]
fn who_may_not_is_told_so_and_not_that_it_is_full() {
    let (engine, mcpd) = (Engine::start(), Mcpd::start());
    limited(&mcpd, &engine, &json!({ "concurrent": 1 }));
    let nobody = mcpd.user_with("nobody", &[]);
    let _running = begin(&mcpd, mcpd.admin_token());
    assert_eq!(error_of(&ask(&mcpd, &nobody)), (403, "forbidden".into(), "policy".into()));
}

#[test]
fn jobs_of_one_subject_share_its_limit_whatever_tokens_they_show() {
    let (engine, issuer) = (Engine::start(), Issuer::start());
    let mcpd = crate::oidc::believing(&issuer, json!({}));
    limited(&mcpd, &engine, &json!({ "perToken": { "requestsPerMinute": 2 } }));
    for name in ["ci.one", "ci.two"] {
        let subject = Subject { kind: SubjectKind::ServiceAccount, name: name.parse().unwrap() };
        mcpd.grant_to(name, subject, USES_CHAT);
    }
    let job = |sub: &str, jti: u32| issuer.token(json!({ "sub": sub, "jti": jti.to_string() }));
    assert_eq!([0, 1].map(|jti| ask(&mcpd, &job("one", jti)).status), [200, 200]);
    is_over(&ask(&mcpd, &job("one", 2)), "This LLM takes, of one token, 2 requests in a minute");
    assert_eq!(ask(&mcpd, &job("two", 3)).status, 200);
}
