//! The probe: what the client's failover hangs on.

use crate::cases::{CHAT, INFER, NONCE, USES_CHAT, error_of, probe, prompt};
use fakes::{Engine, Mcpd};
use mcp_api::{FailoverPolicy, LlmPatch, LlmSpec, ProbeRequest};
use serde_json::json;

#[test]
fn p02_who_may_view_but_not_run_is_denied() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let viewer = mcpd.user_with("dana", &[("view", "llms", Some("chat"))]);
    let plain = mcpd.request("HEAD", CHAT, Some(&viewer), &[], b"");
    assert_eq!(plain.status, 200);
    assert!(plain.header("mcpd-decision").unwrap().ends_with("verbs=view"));
    let probed = probe(&mcpd, CHAT, &viewer);
    assert_eq!(probed.status, 403);
    assert_eq!(probed.header("mcpd-decision"), Some(&*format!("deny; nonce={NONCE}")));
    assert_eq!(mcpd.api("POST", INFER, &viewer, &prompt(json!({}))).status, 403);
    assert_eq!(engine.connections(), 0);
}

#[test]
fn p03_a_caller_without_run_is_denied_by_the_probe_whatever_happened_to_its_primary() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let header: &[(&str, &str)] = &[("mcpd-probe", "run; nonce=00112233445566778899aabbccddeeff")];
    for (name, grants, status) in [
        ("view", &[("view", "llms", Some("chat"))][..], 403),
        ("run", &[("run", "llms", Some("chat"))], 403),
        ("both", USES_CHAT, 200),
        ("other", &[("view", "llms", None), ("run", "llms", Some("x"))], 403),
    ] {
        let token = mcpd.user_with(name, grants);
        for method in ["HEAD", "GET"] {
            let answer = mcpd.request(method, CHAT, Some(&token), header, b"");
            assert_eq!(answer.status, status, "{method} with {name}");
        }
    }
}

#[test]
fn a_probe_is_answered_for_this_question_and_by_no_cache() {
    let mcpd = Mcpd::start();
    let id = mcpd.create_llm("chat", "http://127.0.0.1:9/v1").id;
    let dana = mcpd.user_with("dana", USES_CHAT);
    for path in [CHAT, &format!("/api/v1/llms/{id}")] {
        let answer = probe(&mcpd, path, &dana);
        let decision = format!("allow; llm=chat; id={id}; verbs=view,run; nonce={NONCE}");
        assert_eq!(answer.header("mcpd-decision"), Some(&*decision));
        assert_eq!(answer.header("mcpd-failover"), Some("allowed"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.body.is_empty());
    }
}

/// A proxy that refuses a head with other bytes would cost the LLM its failover.
#[test]
fn a_model_stands_in_the_head_only_if_every_proxy_lets_it_through() {
    let mcpd = Mcpd::start();
    let dana = mcpd.user_with("dana", USES_CHAT);
    for (model, told) in [
        ("Qwen/Qwen2.5-0.5B:free~1", Some("Qwen/Qwen2.5-0.5B:free~1")),
        ("modèle", None),
        ("模型", None),
        ("two words", None),
    ] {
        mcpd.create_llm_from(&LlmSpec {
            model: model.into(),
            ..Mcpd::llm_spec("chat", "http://127.0.0.1:9/v1")
        });
        for answer in [probe(&mcpd, CHAT, &dana), mcpd.request("GET", CHAT, Some(&dana), &[], b"")] {
            assert_eq!((answer.status, answer.header("mcpd-model")), (200, told), "{model}");
        }
        assert_eq!(mcpd.api("GET", CHAT, &dana, &json!({})).json::<serde_json::Value>()["model"], model);
        mcpd.delete_llm("chat");
    }
}

#[test]
fn a_malformed_probe_is_no_plain_look() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let good = format!("run; nonce={NONCE}");
    assert!(good.parse::<ProbeRequest>().is_ok());
    for odd in ["", "run", "view; nonce=0011223344556677", "run; nonce=zz", &format!("{good}; more=1")] {
        let answer = mcpd.request("GET", CHAT, Some(mcpd.admin_token()), &[("mcpd-probe", odd)], b"");
        assert_eq!(error_of(&answer), (400, "invalid".into(), "gateway".into()), "{odd:?}");
    }
    let twice = [("mcpd-probe", &*good), ("mcpd-probe", &*good)];
    assert_eq!(mcpd.request("GET", CHAT, Some(mcpd.admin_token()), &twice, b"").status, 400);
}

#[test]
fn a_disabled_llm_can_be_seen_and_not_run() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    mcpd.patch_llm("chat", &LlmPatch { enabled: Some(false), ..LlmPatch::default() });
    let dana = mcpd.user_with("dana", USES_CHAT);
    assert_eq!(mcpd.request("GET", CHAT, Some(&dana), &[], b"").status, 200);
    let probed = probe(&mcpd, CHAT, &dana);
    assert_eq!((probed.status, probed.header("mcpd-error-code")), (403, Some("llm_disabled")));
    assert_eq!(probed.header("mcpd-decision"), Some(&*format!("deny; nonce={NONCE}")));
    let run = mcpd.api("POST", INFER, &dana, &prompt(json!({})));
    assert_eq!(error_of(&run), (403, "llm_disabled".into(), "policy".into()));
    assert_eq!(run.header("mcpd-decision"), Some("deny"));
    assert_eq!(engine.connections(), 0);
}

#[test]
fn an_llm_that_no_local_provider_may_stand_in_for_says_so() {
    let mcpd = Mcpd::start();
    let spec = Mcpd::llm_spec("chat", "http://127.0.0.1:9/v1");
    mcpd.create_llm_from(&LlmSpec { failover: FailoverPolicy::Forbidden, ..spec });
    let answer = probe(&mcpd, CHAT, mcpd.admin_token());
    assert_eq!((answer.status, answer.header("mcpd-failover")), (200, Some("forbidden")));
}

#[test]
fn what_was_decided_stands_on_errors_too() {
    let mcpd = Mcpd::start();
    let upstream = fakes::Refusing::new();
    mcpd.create_llm("chat", &format!("{}/v1", upstream.url()));
    let answer = mcpd.api("POST", INFER, mcpd.admin_token(), &prompt(json!({})));
    assert_eq!(error_of(&answer), (502, "upstream_unavailable".into(), "upstream".into()));
    assert!(answer.header("mcpd-decision").unwrap().starts_with("allow; llm=chat; id=c"));
    assert_eq!(answer.header("mcpd-failover"), Some("allowed"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}
