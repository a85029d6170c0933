//! How far an issuer is believed: not in what people choose for themselves, not for longer than they are known here, and
//! not about more than who calls.

use super::{believing, service_account, status, whoami};
use crate::cases::{INFER, LIMIT, USES_CHAT, endless, error_of, prompt};
use fakes::{Engine, Issuer, Mcpd};
use mcp_api::{FailoverReceipt, Subject, SubjectKind, Whoami, failover_report::owner, paths};
use serde_json::{Value, json};
use std::{
    io::ErrorKind,
    net::TcpListener,
    time::{Duration, Instant},
};

/// What `mcpd check` says of one issuer, and whether it is content.
fn judged(issuer: &Value) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mcpd.yaml");
    std::fs::write(&file, json!({ "oidc": [issuer] }).to_string()).unwrap();
    let output = Mcpd::builder().sqlite().env("MCPD_CONFIG", file.to_str().unwrap()).run(&["check"]);
    let told = [output.stdout, output.stderr].concat();
    // Of the database it cannot be: there is none.
    let told = String::from_utf8_lossy(&told).into_owned();
    (told.contains("ok  OIDC issuers: 1"), told)
}

fn with(issuer: &str, more: Value) -> Value {
    let mut settings = json!({ "name": "x", "issuer": issuer, "audiences": ["mcpd"] });
    let Value::Object(more) = more else { panic!("keys and values") };
    settings.as_object_mut().unwrap().extend(more);
    settings
}

#[test]
fn a08_a_name_that_people_choose_for_themselves_is_nobodys_here() {
    let idp = "https://login.example.com";
    for (more, said) in [
        (json!({ "subject": { "claim": "/email", "kind": "User", "prefix": "" } }), "email_verified"),
        (json!({ "groups": { "claim": "email" } }), "email_verified"),
        (json!({ "require": { "/email": "ada@example.com" } }), "email_verified"),
        (json!({ "subject": { "claim": "preferred_username", "prefix": "" } }), "prefix"),
        (json!({ "subject": { "claim": "/preferred_username", "kind": "User", "prefix": "" } }), "prefix"),
        (json!({ "groups": [{ "claim": "nickname", "prefix": "" }] }), "prefix"),
        (json!({ "groups": [{ "claim": "/profile/UPN", "prefix": "" }] }), "prefix"),
    ] {
        let (is_content, told) = judged(&with(idp, more.clone()));
        assert!(!is_content && told.contains(said), "{more}: {told}");
    }
    for more in [
        json!({ "subject": { "claim": "/email", "prefix": "" }, "require": { "/email_verified": true } }),
        json!({ "subject": { "claim": "preferred_username" }, "groups": { "claim": "nickname" } }),
        json!({ "subject": { "claim": "/kubernetes.io/serviceaccount/name", "prefix": "" } }),
    ] {
        let (is_content, told) = judged(&with(idp, more.clone()));
        assert!(is_content, "{more}: {told}");
    }
}

#[test]
fn a08_where_anybody_can_sign_up_it_is_said_whose_tokens_are_meant() {
    for (issuer, require, said) in [
        ("https://accounts.google.com", json!({ "email_verified": true }), "hd"),
        (
            "https://token.actions.githubusercontent.com",
            json!({ "ref": "refs/heads/main" }),
            "repository_owner_id",
        ),
        ("https://gitlab.com", json!({ "ref_protected": "true" }), "namespace_id"),
        ("https://agent.buildkite.com", json!({}), "organization_slug"),
        (
            "https://app.terraform.io",
            json!({ "terraform_workspace_name": "prod" }),
            "terraform_organization_id",
        ),
    ] {
        let (is_content, told) = judged(&with(issuer, json!({ "require": require })));
        assert!(!is_content && told.contains("anybody can have a token") && told.contains(said), "{told}");
    }
    for (issuer, require) in [
        ("https://accounts.google.com", json!({ "hd": "example.com" })),
        ("https://token.actions.githubusercontent.com", json!({ "/repository_owner_id": "1" })),
        ("https://agent.buildkite.com", json!({ "organization_slug": "octo" })),
        ("https://agent.buildkite.com.example.com", json!({})),
    ] {
        let (is_content, told) = judged(&with(issuer, json!({ "require": require })));
        assert!(is_content, "{issuer} {require}: {told}");
    }
}

#[test]
fn a11_whoever_is_deleted_here_is_out_with_the_word_of_an_issuer_too() {
    let (issuer, engine) = (Issuer::start(), Engine::start());
    let mcpd = believing(&issuer, json!({ "subject": { "kind": "User", "prefix": "" } }));
    mcpd.create_llm("chat", &engine.url());
    mcpd.user_with("ada", USES_CHAT);
    let token = issuer.token(json!({ "sub": "ada" }));
    let who: Whoami = whoami(&mcpd, &token).expect_success("whoami").json();
    assert_eq!(who.subject, Subject { kind: SubjectKind::User, name: "ada".parse().unwrap() });
    // A name that nobody has here is nobody.
    assert_eq!(status(&mcpd, &issuer.token(json!({ "sub": "bob" }))), 401);
    let body = endless().to_string();
    let mut exchange = mcpd.open("POST", INFER, Some(&token), &[], body.as_bytes()).unwrap();
    exchange.read_until("tock");
    mcpd.delete_user("ada");
    assert!(exchange.finish().events().pop().unwrap().contains("\"revoked\""));
    engine.wait_for_cancel(LIMIT);
    let refused = mcpd.api("POST", INFER, &token, &prompt(json!({})));
    assert_eq!(error_of(&refused), (401, "unauthenticated".into(), "policy".into()));
}

#[test]
fn who_has_to_be_registered_is_said_by_the_operator() {
    let issuer = Issuer::start();
    let open = json!({ "subject": { "kind": "User", "prefix": "" }, "registered": "optional" });
    assert_eq!(status(&believing(&issuer, open), &issuer.token(json!({}))), 200);
    let mcpd = believing(&issuer, json!({ "registered": "required" }));
    let token = issuer.token(json!({}));
    assert_eq!(status(&mcpd, &token), 401);
    fakes::wait_until(LIMIT, "why is in the log", || mcpd.logs().contains("is not registered here"));
    mcpd.create_subject(SubjectKind::ServiceAccount, "ci.job", &[]);
    assert_eq!(status(&mcpd, &token), 200);
}

#[test]
fn a08_an_issuers_word_makes_no_token_without_an_end() {
    let issuer = Issuer::start();
    let mcpd = believing(&issuer, json!({ "tokenMaxSeconds": 3600 }));
    mcpd.create_subject(SubjectKind::ServiceAccount, "ci.job", &[]);
    mcpd.create_subject(SubjectKind::User, "rob", &[]);
    let grants = [("create", "tokens", None), ("edit", "users", None)];
    mcpd.grant_to("job", service_account("ci.job"), &grants);
    let made = |kind: &str, name: &str, seconds: Option<u64>| {
        let mut wanted = json!({ "subject": { "kind": kind, "name": name } });
        if let Some(seconds) = seconds {
            wanted["expiresInSeconds"] = seconds.into();
        }
        mcpd.api("POST", paths::TOKENS, &issuer.token(json!({})), &wanted)
    };
    for (kind, name) in [("ServiceAccount", "ci.job"), ("User", "rob")] {
        for seconds in [None, Some(3601), Some(0)] {
            let answer = made(kind, name, seconds);
            assert_eq!(answer.status, 422, "{name} {seconds:?}: {}", answer.text());
            assert!(answer.text().contains("expiresInSeconds"), "{}", answer.text());
        }
        let answer = made(kind, name, Some(3600)).expect_success("a token that ends");
        assert!(answer.json::<Value>()["expiresAt"].is_string(), "{}", answer.text());
    }
}

#[test]
fn k09_a_report_names_a_token_or_is_not_written_down() {
    let issuer = Issuer::start();
    let mcpd = believing(&issuer, json!({}));
    let token = issuer.token(json!({}));
    let report = |id: u32, token_id: Option<&str>| {
        json!({
            "id": format!("{id:032x}"), "at": "2026-01-02T03:04:05.678Z", "llm": "chat", "reason": "http_502",
            "provider": "laptop", "providerType": "openai", "outcome": "complete", "durationMs": 1,
            "requestId": "r-1", "tokenId": token_id,
        })
    };
    let whose = |subject: &str| owner(&issuer.url(), subject);
    let taken = |token_id: Option<&str>| {
        let sent = json!({ "reports": [report(1, token_id)] });
        let answer = mcpd.api("POST", paths::FAILOVER_REPORTS, &token, &sent).expect_success("a receipt");
        let receipt: FailoverReceipt = answer.json();
        receipt.rejected.iter().for_each(|rejected| assert_eq!(rejected.field, "tokenId"));
        receipt.accepted.len() == 1
    };
    let long = format!("ci:{}", "a".repeat(65));
    let other = whose("other");
    for odd in [
        "ci:",
        "ci:\u{1b}[2J",
        "ci:a b",
        "ci:a:b",
        &long,
        "other:jti-1",
        "ci:jti-2",
        "0123456789abcdef",
        &other,
    ] {
        assert!(!taken(Some(odd)), "{odd:?}");
    }
    assert!(!taken(None), "whose is it?");
    assert!(taken(Some(&whose("job"))), "of an earlier job of the same name");
    assert!(taken(Some("ci:jti-1")));
    // Nor with a token of ours: nobody has made one of such an id.
    let dana = mcpd.user_with("dana", &[]);
    let sent = json!({ "reports": [report(1, Some("ci:\u{1b}[2J"))] });
    let receipt: FailoverReceipt = mcpd.api("POST", paths::FAILOVER_REPORTS, &dana, &sent).json();
    assert_eq!(receipt.accepted.len(), 0);
}

#[test]
fn x01_an_issuer_elsewhere_does_not_have_its_keys_on_this_machine() {
    let issuer = Issuer::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    issuer.point_at(&format!("http://{}/keys", listener.local_addr().unwrap()));
    // No loopback address, but it leads here.
    let elsewhere = issuer.url().replace("127.0.0.1", "0.0.0.0");
    let mcpd = believing(&issuer, json!({ "issuer": elsewhere }));
    let token = issuer.token(json!({ "iss": elsewhere }));
    assert_eq!(status(&mcpd, &token), 503);
    fakes::wait_until(LIMIT, "why is in the log", || mcpd.logs().contains("keys are not at an https URL"));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "it was asked");
}

#[test]
fn a_bearer_file_that_is_a_pipe_holds_nobody_up() {
    let issuer = Issuer::start();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("token");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let keys = format!("{}/keys", issuer.url());
    let mcpd = believing(&issuer, json!({ "jwksUrl": keys, "bearerFile": pipe }));
    assert_eq!(status(&mcpd, &issuer.token(json!({}))), 503);
    fakes::wait_until(LIMIT, "why is in the log", || mcpd.logs().contains("does not hold a token"));
}

#[test]
fn keys_are_asked_for_again_before_they_are_too_old_and_a_silent_issuer_holds_up_one_login() {
    let issuer = Issuer::start();
    let keys = json!({ "keys": { "minRefreshSeconds": 1, "maxAgeSeconds": 4, "keepSeconds": 3600 } });
    let mcpd = believing(&issuer, keys);
    let token = issuer.token(json!({}));
    assert_eq!(status(&mcpd, &token), 200);
    let mut waited = Vec::new();
    issuer.silent(|| {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(14) {
            let asked = Instant::now();
            assert_eq!(status(&mcpd, &token), 200);
            if asked.elapsed() > Duration::from_secs(1) {
                waited.push((begun.elapsed(), asked.elapsed()));
            }
        }
    });
    // The one that finds the keys too old before it is known that the issuer is silent: five seconds after it was asked.
    assert!(waited.len() <= 1, "{waited:?}");
}
