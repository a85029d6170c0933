//! Tokens of others: an issuer that the operator has named vouches for who calls.

mod forged;
mod trust;

use crate::cases::{INFER, LIMIT, USES_CHAT, endless, error_of, prompt};
use fakes::{Engine, Exchange, Issuer, KeyKind, Mcpd, Response, SigningKey};
use mcp_api::{Subject, SubjectKind, Whoami, paths};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A server that believes one issuer, as `ci`.
pub(crate) fn believing(issuer: &Issuer, more: Value) -> Mcpd {
    let file = issuer.config_file(more);
    Mcpd::builder().env("MCPD_CONFIG", file.to_str().unwrap()).arg("--stream-recheck").arg("1s").start()
}

pub(crate) fn whoami(mcpd: &Mcpd, token: &str) -> Response {
    mcpd.request("GET", paths::WHOAMI, Some(token), &[], b"")
}

pub(crate) fn status(mcpd: &Mcpd, token: &str) -> u16 {
    whoami(mcpd, token).status
}

fn service_account(name: &str) -> Subject {
    Subject { kind: SubjectKind::ServiceAccount, name: name.parse().unwrap() }
}

fn group(name: &str) -> Subject {
    Subject { kind: SubjectKind::Group, name: name.parse().unwrap() }
}

#[test]
fn a_job_is_who_its_issuer_says_and_may_do_what_bindings_say() {
    for kind in [KeyKind::Rsa, KeyKind::P256, KeyKind::Ed25519] {
        let (issuer, engine) = (Issuer::with(kind), Engine::start());
        let mcpd = believing(&issuer, json!({ "groups": { "claim": "teams" } }));
        mcpd.create_llm("chat", &engine.url());
        let token = issuer.token(json!({ "sub": "repo:octo/app", "teams": ["data", "ml/ops"] }));
        let who: Whoami = whoami(&mcpd, &token).expect_success("whoami").json();
        assert_eq!(who.subject, service_account("ci.repo+3Aocto+2Fapp"));
        let groups: Vec<_> = who.groups.iter().map(ToString::to_string).collect();
        assert_eq!((groups, &*who.token_id), (vec!["ci.data".into(), "ci.ml+2Fops".to_owned()], "ci:jti-1"));
        assert!(who.token_expires_at.is_some());

        let asked = || mcpd.api("POST", INFER, &token, &prompt(json!({})));
        assert_eq!(error_of(&asked()), (403, "forbidden".into(), "policy".into()));
        // By the subject, which nobody has registered.
        mcpd.grant_to("job", who.subject.clone(), USES_CHAT);
        assert_eq!(asked().status, 200);
        mcpd.delete_binding("job");
        assert_eq!(asked().status, 403);
        // By a group, which nobody has registered either.
        mcpd.grant_to("team", group("ci.ml+2Fops"), USES_CHAT);
        assert_eq!(asked().status, 200);
        let other = issuer.token(json!({ "sub": "repo:octo/app", "teams": ["data"] }));
        assert_eq!(mcpd.api("POST", INFER, &other, &prompt(json!({}))).status, 403);
        mcpd.delete_binding("team");
        assert_eq!(asked().status, 403);
    }
}

#[test]
fn what_subject_and_groups_may_adds_up() {
    let (issuer, engine) = (Issuer::start(), Engine::start());
    let mcpd = believing(&issuer, json!({ "groups": { "claim": "teams" } }));
    mcpd.create_llm("chat", &engine.url());
    let token = issuer.token(json!({ "teams": "data" }));
    let probed = || crate::cases::probe(&mcpd, crate::cases::CHAT, &token);
    mcpd.grant_to("one", service_account("ci.job"), &[("view", "llms", Some("chat"))]);
    assert_eq!(probed().status, 403);
    mcpd.grant_to("other", group("ci.data"), &[("run", "llms", Some("chat"))]);
    let allowed = probed();
    assert_eq!(allowed.status, 200);
    assert!(allowed.header("mcpd-decision").unwrap().contains("verbs=view,run"));
    // A group of ours in which a subject of the issuer is, like anybody else.
    mcpd.delete_binding("other");
    mcpd.create_subject(SubjectKind::ServiceAccount, "ci.job", &[]);
    let members = json!({ "kind": "Group", "name": "ours", "members": [{ "kind": "ServiceAccount", "name": "ci.job" }] });
    let made = mcpd.api("POST", paths::SUBJECTS, mcpd.admin_token(), &members);
    assert_eq!(made.status, 201, "{}", made.text());
    mcpd.grant_to("ours", group("ours"), &[("run", "llms", Some("chat"))]);
    assert_eq!(probed().status, 200);
    let who: Whoami = whoami(&mcpd, &token).json();
    assert_eq!(who.groups.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ci.data", "ours"]);
}

#[test]
fn a_name_of_an_issuer_is_nobody_elses() {
    let issuer = Issuer::start();
    let mcpd = believing(&issuer, json!({}));
    // A user of ours who is called like the job is called by its issuer, and one who is called like it here.
    let _of_ours = mcpd.user_with("job", &[("admin", "*", None)]);
    let _same_name = mcpd.user_with("ci.job", &[("admin", "*", None)]);
    let who: Whoami = whoami(&mcpd, &issuer.token(json!({}))).json();
    assert_eq!(who.subject, service_account("ci.job"));
    let asked = mcpd.request("GET", paths::LLMS, Some(&issuer.token(json!({}))), &[], b"");
    assert_eq!(asked.json::<mcp_api::LlmList>().items.len(), 0);
    let made = json!({ "subject": { "kind": "User", "name": "job" } });
    assert_eq!(mcpd.api("POST", paths::TOKENS, &issuer.token(json!({})), &made).status, 403);
}

#[test]
fn a08_an_issuers_word_makes_no_token_that_lasts() {
    let issuer = Issuer::start();
    let mcpd = believing(&issuer, json!({}));
    mcpd.grant_to("job", service_account("ci.job"), &[("create", "tokens", None)]);
    let own = json!({ "subject": { "kind": "ServiceAccount", "name": "ci.job" } });
    let answer = mcpd.api("POST", paths::TOKENS, &issuer.token(json!({})), &own);
    assert_eq!(error_of(&answer).0, 422, "{}", answer.text());
}

#[test]
fn two_issuers_vouch_for_their_own_only() {
    let (one, two) = (Issuer::start(), Issuer::start());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mcpd.yaml");
    let settings = json!({ "oidc": [one.settings("one", json!({})), two.settings("two", json!({}))] });
    std::fs::write(&file, settings.to_string()).unwrap();
    let mcpd = Mcpd::builder().arg("--config").arg(file.to_str().unwrap()).start();
    let name = |token: &str| whoami(&mcpd, token).json::<Whoami>().subject.name.to_string();
    assert_eq!(name(&one.token(json!({}))), "one.job");
    assert_eq!(name(&two.token(json!({}))), "two.job");
    // Both keys are called `first`: one issuer cannot speak for the other.
    assert_eq!(status(&mcpd, &one.token(json!({ "iss": two.url() }))), 401);
    assert_eq!(status(&mcpd, &two.token(json!({ "iss": one.url() }))), 401);
    assert_eq!(status(&mcpd, &one.token(json!({ "iss": [one.url(), two.url()] }))), 401);
}

#[test]
fn a_key_that_is_rotated_in_is_found_and_one_that_is_taken_away_is_dropped() {
    let issuer = Issuer::with(KeyKind::Rsa);
    let mcpd = believing(&issuer, json!({}));
    let old = issuer.token(json!({}));
    assert_eq!(status(&mcpd, &old), 200);
    issuer.rotate(SigningKey::new(KeyKind::P256, "second"));
    let new = issuer.token(json!({}));
    fakes::wait_until(LIMIT, "the new key counts", || status(&mcpd, &new) == 200);
    assert_eq!(status(&mcpd, &old), 401);
    // The same id, but another key.
    issuer.rotate(SigningKey::new(KeyKind::P256, "second"));
    let newest = issuer.token(json!({}));
    fakes::wait_until(LIMIT, "the newest key counts", || status(&mcpd, &newest) == 200);
    assert_eq!(status(&mcpd, &new), 401);
    // Without anybody asking for an unknown one, too.
    issuer.publish(json!({ "keys": [] }));
    fakes::wait_until(LIMIT, "the key that is gone does not count", || status(&mcpd, &newest) == 401);
}

#[test]
fn an_issuer_that_is_down_stops_neither_the_server_nor_those_whom_it_knows() {
    let issuer = Issuer::start();
    issuer.stop();
    let mcpd = believing(&issuer, json!({}));
    let token = issuer.token(json!({}));
    let answer = whoami(&mcpd, &token);
    assert_eq!(error_of(&answer), (503, "issuer_unavailable".into(), "gateway".into()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(status(&mcpd, mcpd.admin_token()), 200);
    issuer.resume();
    fakes::wait_until(LIMIT, "the issuer is asked again", || status(&mcpd, &token) == 200);
    issuer.stop();
    let down = Instant::now();
    // Longer than the keys are fresh: they are asked for, and go on counting.
    while down.elapsed() < Duration::from_secs(4) {
        assert_eq!(status(&mcpd, &token), 200);
    }
    assert!(mcpd.logs().contains("the issuer's keys cannot be read"));
    let unknown = SigningKey::new(KeyKind::P256, "other");
    let header = json!({ "alg": "ES256", "kid": "other" }).to_string();
    let unknown = unknown.token(&header, &issuer.claims(json!({})).to_string());
    assert_eq!(status(&mcpd, &unknown), 503, "it may be a new key");
    issuer.answer_with(500);
    issuer.resume();
    assert_eq!(status(&mcpd, &token), 200);
}

#[test]
fn a06_whatever_tokens_come_the_issuer_is_asked_seldom() {
    let issuer = Issuer::start();
    let slowly = json!({ "keys": { "minRefreshSeconds": 3600 } });
    let mcpd = believing(&issuer, slowly);
    assert_eq!(status(&mcpd, &issuer.token(json!({}))), 200);
    std::thread::scope(|scope| {
        for number in 0..20 {
            let (issuer, mcpd) = (&issuer, &mcpd);
            scope.spawn(move || {
                let header = json!({ "alg": "ES256", "kid": format!("k{number}") }).to_string();
                let forged = issuer.key().token(&header, &issuer.claims(json!({})).to_string());
                assert_eq!(status(mcpd, &forged), 401);
            });
        }
    });
    assert_eq!(issuer.asked(), ["/.well-known/openid-configuration", "/keys"]);
}

#[test]
fn many_jobs_that_begin_at_once_make_one_question() {
    let issuer = Issuer::start();
    let mcpd = believing(&issuer, json!({ "keys": { "minRefreshSeconds": 3600 } }));
    let token = issuer.token(json!({}));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(status(&mcpd, &token), 200));
        }
    });
    assert_eq!(issuer.asked().len(), 2, "{:?}", issuer.asked());
}

#[test]
fn a11_a_stream_of_a_job_ends_when_its_right_goes_and_when_its_token_does() {
    let (issuer, engine) = (Issuer::start(), Engine::start());
    let mcpd = believing(&issuer, json!({ "clockSkewSeconds": 0, "groups": { "claim": "teams" } }));
    mcpd.create_llm("chat", &engine.url());
    mcpd.grant_to("team", group("ci.data"), USES_CHAT);
    let begin = |token: &str| {
        let body = endless().to_string();
        let mut exchange = mcpd.open("POST", INFER, Some(token), &[], body.as_bytes()).unwrap();
        exchange.read_until("tock");
        exchange
    };
    // What comes of the answer after this, at most for as long as a test waits.
    let rest = |mut exchange: Exchange| {
        let (mut rest, begun) = (Vec::new(), Instant::now());
        while let Ok(Some(piece)) = exchange.next_piece() {
            rest.extend(piece);
            assert!(begun.elapsed() < LIMIT, "the answer goes on");
        }
        String::from_utf8(rest).unwrap()
    };
    let exchange = begin(&issuer.token(json!({ "teams": ["data"] })));
    mcpd.delete_binding("team");
    assert!(rest(exchange).contains("\"revoked\""));

    mcpd.grant_to("team", group("ci.data"), USES_CHAT);
    let Value::Number(iat) = issuer.claims(json!({}))["iat"].take() else { panic!("a time") };
    let ends = iat.as_u64().unwrap() + 3;
    let short = issuer.token(json!({ "teams": ["data"], "exp": ends }));
    let told = rest(begin(&short));
    assert!(told.contains("\"revoked\"") && told.contains("The token has ended"), "{told}");
    assert_eq!(error_of(&whoami(&mcpd, &short)), (401, "unauthenticated".into(), "policy".into()));
    engine.wait_for_cancel(LIMIT);
}

#[test]
fn a10_the_audit_trail_says_which_job_it_was() {
    let (issuer, engine) = (Issuer::start(), Engine::start());
    let mcpd = believing(&issuer, json!({}));
    mcpd.create_llm("chat", &engine.url());
    mcpd.grant_to("job", service_account("ci.job"), &[("admin", "*", None)]);
    let token = issuer.token(json!({ "jti": "run-7" }));
    assert_eq!(mcpd.api("POST", INFER, &token, &prompt(json!({}))).status, 200);
    let user = json!({ "kind": "User", "name": "made-by-a-job" });
    assert_eq!(mcpd.api("POST", paths::SUBJECTS, &token, &user).status, 201);
    let mut entries = Vec::new();
    fakes::wait_until(LIMIT, "both are written", || {
        let page =
            mcpd.request("GET", &format!("{}?user=ci.job", paths::AUDIT), Some(mcpd.admin_token()), &[], b"");
        entries = page.json::<Value>()["items"].as_array().unwrap().clone();
        entries.len() == 2
    });
    for entry in entries {
        assert_eq!(entry["subject"], json!({ "kind": "ServiceAccount", "name": "ci.job" }));
        assert_eq!(entry["tokenId"], "ci:run-7");
    }
}

#[test]
fn k03_no_token_of_an_issuer_is_written_anywhere() {
    let issuer = Issuer::start();
    let mcpd = believing(&issuer, json!({}));
    let good = issuer.token(json!({}));
    let expired = issuer.token(json!({ "exp": 1 }));
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    assert_eq!((status(&mcpd, &good), status(&mcpd, &expired), status(&mcpd, &forged)), (200, 401, 401));
    fakes::wait_until(LIMIT, "why is in the log", || mcpd.logs().matches("a JWT is not taken").count() == 2);
    let logs = mcpd.logs();
    for token in [&good, &expired, &forged] {
        for part in token.split('.') {
            assert!(!logs.contains(part), "a part of a token is in the log");
        }
    }
}

#[test]
fn settings_that_cannot_be_meant_stop_the_start_and_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mcpd.yaml");
    for (oidc, said) in [
        (
            json!([{ "name": "gl", "issuer": "https://gitlab.com", "audiences": ["a"] }]),
            "anybody can have a token",
        ),
        (
            json!([{ "name": "a", "issuer": "https://a", "audiences": ["a"], "caFile": "/nowhere" }]),
            "/nowhere",
        ),
        (json!([{ "name": "a", "issuer": "https://a", "audience": "a" }]), "unknown field `audience`"),
    ] {
        std::fs::write(&file, json!({ "oidc": oidc }).to_string()).unwrap();
        for command in [&["serve"][..], &["check"]] {
            let output = Mcpd::builder().sqlite().env("MCPD_CONFIG", file.to_str().unwrap()).run(command);
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert!(!output.status.success() && told.contains(said), "{command:?}: {told}");
        }
    }
}
