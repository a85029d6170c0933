//! LLMs with several nodes, and what is said of their upstreams.

use crate::cases::CHAT;
use fakes::Mcpd;
use serde_json::{Value, json};

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
