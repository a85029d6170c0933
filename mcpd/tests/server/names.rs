//! Which LLM a path means, and that it never means another one.

use crate::cases::{CHAT, probe};
use fakes::Mcpd;
use mcp_api::{Decision, Llm, paths};
use serde_json::json;

fn status_of_raw(mcpd: &Mcpd, line: &str, host: &str, token: &str) -> u16 {
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    let answer = String::from_utf8_lossy(&mcpd.raw(request.as_bytes())).into_owned();
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("{line}: {answer:?}"))
}

#[test]
fn i01_no_llm_is_named_like_an_id() {
    let mcpd = Mcpd::start();
    let id = mcpd.create_llm("chat", "http://127.0.0.1:9/v1").id;
    let spec = json!({"name": id, "type": "openai", "url": "http://a", "model": "m"});
    assert_eq!(mcpd.api("POST", paths::LLMS, mcpd.admin_token(), &spec).status, 422);
    let by_id: Llm =
        mcpd.request("GET", &format!("/api/v1/llms/{id}"), Some(mcpd.admin_token()), &[], b"").json();
    assert_eq!(by_id.name.as_str(), "chat");
}

#[test]
fn i01_a_right_by_name_is_one_by_id_and_the_other_way_round() {
    let mcpd = Mcpd::start();
    let id = mcpd.create_llm("chat", "http://127.0.0.1:9/v1").id;
    let paths = [CHAT.to_owned(), format!("/api/v1/llms/{id}")];
    for (user, bound) in [("dana", "chat"), ("rob", id.as_str())] {
        let token = mcpd.user_with(user, &[("view", "llms", Some(bound)), ("run", "llms", Some(bound))]);
        for path in &paths {
            assert_eq!(probe(&mcpd, path, &token).status, 200, "{user} at {path}");
        }
    }
}

#[test]
fn i02_odd_names_are_refused() {
    let mcpd = Mcpd::start();
    for name in ["", "Chat", "-x", ".x", "a..b", "chаt", "chat\u{200b}", "a/b", "a b", &"a".repeat(64)] {
        let spec = json!({"name": name, "type": "openai", "url": "http://a", "model": "m"});
        assert_eq!(mcpd.api("POST", paths::LLMS, mcpd.admin_token(), &spec).status, 422, "{name:?}");
    }
}

#[test]
fn i03_a_path_in_disguise_means_nothing() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    mcpd.create_llm("x", "http://127.0.0.1:9/v1");
    let dana = mcpd.user_with("dana", &[("view", "llms", Some("x"))]);
    for path in [
        "/api/v1/llms/../llms/chat",
        "/api/v1/llms/x/../chat",
        "/api/v1/llms/x%2f..%2fchat",
        "/api/v1/llms/x%2Finfer",
        "/api/v1/llms/%2e%2e",
        "/api/v1/llms/%2e",
        "/api/v1/llms/%252e%252e",
        "/api/v1/llms/%2563hat",
        "/api/v1/llms/chat%00",
        "/api/v1/llms/chat%0a",
        "/api/v1/llms/chat%20",
        "/api/v1/llms/%ff",
        "/api/v1/llms/%zz",
        "/api/v1/llms/chat;x",
        "/api/v1/llms/x;/chat",
        "/api/v1/llms/chat\\",
        "/api/v1/llms\\chat",
        "/api/v1/llms//chat",
        "//api/v1/llms/chat",
        "/api/v1/llms/chat/",
        "/api/v1/llms/CHAT",
        "api/v1/llms/chat",
        "*",
    ] {
        for token in [mcpd.admin_token(), &dana] {
            let status = status_of_raw(&mcpd, &format!("GET {path}"), "x", token);
            assert!(matches!(status, 400 | 404), "{path} gave {status}");
        }
    }
    // One decoding, for the router, the authoriser and the log alike.
    assert_eq!(status_of_raw(&mcpd, "GET /api/v1/llms/%63hat", "x", mcpd.admin_token()), 200);
    assert_eq!(status_of_raw(&mcpd, "GET /api/v1/llms/%63hat", "x", &dana), 403);
    assert_eq!(status_of_raw(&mcpd, "GET /api/v1/llms/%78?../chat", "x", &dana), 200);
}

#[test]
fn i04_empty_dotted_and_endless_names_mean_nothing() {
    let mcpd = Mcpd::start();
    for segment in [String::new(), ".".into(), "..".into(), "-x".into(), "a".repeat(64), "a".repeat(10_000)] {
        let path = format!("/api/v1/llms/{segment}");
        assert_eq!(
            mcpd.request("GET", &path, Some(mcpd.admin_token()), &[], b"").status,
            404,
            "{segment:.20}"
        );
    }
}

#[test]
fn i05_the_host_header_and_an_absolute_target_change_no_verdict() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    mcpd.create_llm("x", "http://127.0.0.1:9/v1");
    let dana = mcpd.user_with("dana", &[("view", "llms", Some("x"))]);
    for host in ["a/b?", "x/#@y", "x/api/v1/llms/x?", "", "localhost", "[::1]", "a, b"] {
        for (path, as_dana) in [(CHAT, 403), ("/api/v1/llms/x", 200)] {
            assert_eq!(status_of_raw(&mcpd, &format!("GET {path}"), host, &dana), as_dana, "{host:?}");
        }
    }
    for target in ["http://evil/api/v1/llms/chat", "http://x/api/v1/llms/x@evil/api/v1/llms/chat"] {
        let status = status_of_raw(&mcpd, &format!("GET {target}"), "x", &dana);
        assert!(matches!(status, 400 | 403 | 404), "{target} gave {status}");
    }
}

#[test]
fn i06_a_name_that_is_used_again_gets_another_id() {
    let mcpd = Mcpd::start();
    let old = mcpd.create_llm("chat", "http://127.0.0.1:9/v1").id;
    let by_name = mcpd.user_with("dana", &[("view", "llms", Some("chat")), ("run", "llms", Some("chat"))]);
    let by_id =
        mcpd.user_with("rob", &[("view", "llms", Some(old.as_str())), ("run", "llms", Some(old.as_str()))]);
    mcpd.delete_llm("chat");
    assert_eq!(probe(&mcpd, CHAT, &by_name).status, 403);
    let created = mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let [warning] = &created.warnings[..] else { panic!("no warning: {created:?}") };
    assert!(warning.contains("dana") && !warning.contains("rob"), "{warning}");
    let new = created.id;
    assert_ne!(old, new);
    // Bindings stay by name; who was bound to the old one's id has nothing here.
    assert_eq!(probe(&mcpd, CHAT, &by_name).status, 200);
    assert_eq!(probe(&mcpd, CHAT, &by_id).status, 403);
    assert_eq!(probe(&mcpd, &format!("/api/v1/llms/{old}"), &by_name).status, 403);
}

#[test]
fn p16_an_answer_names_the_llm_that_it_is_about() {
    let mcpd = Mcpd::start();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let id = mcpd.create_llm("chat", "http://127.0.0.1:9/v1").id;
        let answer = probe(&mcpd, CHAT, mcpd.admin_token());
        let decision: Decision = answer.header("mcpd-decision").unwrap().parse().unwrap();
        let Decision::Allow { llm, id: said, .. } = decision else { panic!("{decision:?}") };
        assert_eq!((llm.as_str(), &said), ("chat", &id));
        ids.push(said);
        mcpd.delete_llm("chat");
    }
    assert_ne!(ids[0], ids[1]);
}
