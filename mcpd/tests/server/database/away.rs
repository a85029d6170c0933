//! Without its database the server says so, quickly, and lets nobody in from memory.

use super::{BOUND, Stage};
use crate::cases::{CHAT, INFER, NONCE, error_of, prompt};
use fakes::{Response, required};
use serde_json::{Value, json};
use std::{thread, time::Instant};

/// The ways in which a database can be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    Stopped,
    Killed,
    Refused,
    Swallowed,
}

impl Away {
    fn begin(self, stage: &mut Stage) {
        match self {
            Self::Stopped => stage.postgres.stop(),
            Self::Killed => stage.postgres.kill(),
            Self::Refused => stage.wire.refuse(),
            Self::Swallowed => stage.wire.black_hole(),
        }
    }

    fn end(self, stage: &mut Stage) {
        match self {
            Self::Stopped | Self::Killed => stage.postgres.start_again(),
            Self::Refused | Self::Swallowed => stage.wire.pass(),
        }
    }
}

#[test]
fn p23_without_its_database_every_answer_is_503_and_none_is_from_memory() {
    let Some(mut stage) = Stage::start() else { return required("PostgreSQL") };
    for away in [Away::Stopped, Away::Killed, Away::Refused, Away::Swallowed] {
        assert_eq!(stage.probe(), 200, "{away:?}");
        let runs = stage.engine.requests();
        away.begin(&mut stage);
        for (what, answer) in everything(&stage) {
            assert_unavailable(&answer, &format!("{what}, {away:?}"));
        }
        assert_eq!(stage.engine.requests(), runs, "{away:?}: a prompt went on");
        // The process is well all the same: nobody is to restart it.
        assert_eq!(stage.mcpd.request("GET", "/healthz", None, &[], b"").status, 200);
        away.end(&mut stage);
        stage.wait_for_recovery();
        assert_eq!(stage.mcpd.request("GET", "/readyz", None, &[], b"").status, 200);
        let run = stage.mcpd.api("POST", INFER, &stage.token, &prompt(json!({})));
        assert_eq!((run.status, stage.engine.requests()), (200, runs + 1), "{away:?}");
    }
    assert!(!stage.mcpd.logs().contains(stage.postgres.password()), "the password is in the log");
}

/// One request of each kind, all at once, each within the bound. With a token that is good, one that never was, and
/// the administrator's.
fn everything(stage: &Stage) -> Vec<(String, Response)> {
    let stranger = format!("mcpd_{}_{}", "a".repeat(16), "0".repeat(64));
    let admin = stage.mcpd.admin_token();
    let (good, nothing) = (&*stage.token, Value::Null);
    let completion = prompt(json!({"model": "chat"}));
    let requests = [
        ("GET", CHAT, good, nothing.clone()),
        ("HEAD", CHAT, good, nothing.clone()),
        ("POST", INFER, good, prompt(json!({}))),
        ("POST", "/v1/chat/completions", good, completion),
        ("GET", "/v1/models", good, nothing.clone()),
        ("GET", "/api/v1/llms", good, nothing.clone()),
        ("GET", "/api/v1/whoami", good, nothing.clone()),
        ("GET", CHAT, &stranger, nothing.clone()),
        ("HEAD", CHAT, &stranger, nothing.clone()),
        ("GET", "/api/v1/users", admin, nothing.clone()),
        ("POST", "/api/v1/users", admin, json!({"kind": "User", "name": "late"})),
        ("DELETE", "/api/v1/rbac/dana", admin, nothing.clone()),
        ("GET", "/readyz", admin, nothing),
    ];
    let requests = requests.iter().filter(|(_, path, ..)| is_served(stage, path));
    thread::scope(|scope| {
        let asked: Vec<_> = requests
            .map(|(method, path, token, body)| {
                scope.spawn(move || {
                    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
                    let probe = [("mcpd-probe", &*format!("run; nonce={NONCE}"))];
                    let begun = Instant::now();
                    let answer = stage.mcpd.request(method, path, Some(token), &probe, &body);
                    let took = begun.elapsed();
                    assert!(took < BOUND, "{method} {path}: {took:?}");
                    (format!("{method} {path}"), answer)
                })
            })
            .collect();
        asked.into_iter().map(|request| request.join().unwrap()).collect()
    })
}

/// The routes for OpenAI's clients may not be there.
fn is_served(stage: &Stage, path: &str) -> bool {
    !path.starts_with("/v1/") || stage.mcpd.request("OPTIONS", path, None, &[], b"").status != 404
}

fn assert_unavailable(answer: &Response, what: &str) {
    assert_eq!(answer.status, 503, "{what}: {}", answer.text());
    assert!(answer.header("retry-after").is_some(), "{what}");
    assert_eq!(answer.header("mcpd-error-code"), Some("database_unavailable"), "{what}");
    assert!(answer.header("mcpd-decision").is_none_or(|decision| !decision.contains("allow")), "{what}");
    if !answer.body.is_empty() {
        assert_eq!(error_of(answer), (503, "database_unavailable".into(), "gateway".into()), "{what}");
    }
}
