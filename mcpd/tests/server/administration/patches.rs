//! Partial changes: what is left out stays, and `null` takes away what can be taken away (RFC 7396).

use super::{done, epoch, send};
use fakes::Mcpd;
use mcp_api::{ApiKeyRef, LlmSpec, paths};
use serde_json::{Value, json};

const CHAT: &str = "/api/v1/llms/chat";

fn stage() -> Mcpd {
    let mcpd = Mcpd::start();
    mcpd.create_llm_from(&LlmSpec {
        display_name: Some("Chat".into()),
        api_key_ref: Some(ApiKeyRef::Env("CHAT_KEY".into())),
        context_length: Some(4096),
        ..Mcpd::llm_spec("chat", "http://127.0.0.1:9/v1")
    });
    mcpd
}

fn llm(mcpd: &Mcpd) -> Value {
    let mut llm: Value = send(mcpd, "GET", CHAT, &Value::Null, None).json();
    llm["updatedAt"] = Value::Null;
    llm
}

#[test]
fn null_takes_away_one_field_and_nothing_else() {
    let mcpd = stage();
    for field in ["displayName", "apiKeyRef", "contextLength"] {
        let mut wanted = llm(&mcpd);
        assert!(wanted.as_object_mut().unwrap().remove(field).is_some(), "{field}");
        let answer = send(&mcpd, "PATCH", CHAT, &json!({ field: null }), None).expect_success(field);
        let warnings = answer.json::<Value>()["warnings"].clone();
        assert_eq!(warnings.is_array(), field == "apiKeyRef", "{warnings}");
        assert_eq!(llm(&mcpd), wanted, "{field}");
        // It is so already.
        let before = epoch(&mcpd);
        done(&mcpd, "PATCH", CHAT, &json!({ field: null }), None);
        assert_eq!(epoch(&mcpd), before, "{field}");
    }
    let all = mcpd.request("GET", paths::LLMS, Some(mcpd.admin_token()), &[], b"").text();
    assert!(!all.contains("CHAT_KEY"), "{all}");
}

#[test]
fn null_for_what_cannot_be_empty_is_refused_by_name() {
    let mcpd = stage();
    let before = epoch(&mcpd);
    for field in ["labels", "type", "url", "model", "enabled", "failover"] {
        let answer = send(&mcpd, "PATCH", CHAT, &json!({ field: null }), None);
        assert_eq!(answer.status, 422, "{field}: {}", answer.text());
        let message = answer.json::<Value>()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(field), "{field}: {message}");
    }
    assert_eq!(epoch(&mcpd), before);
}
