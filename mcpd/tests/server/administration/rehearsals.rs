//! `?dryRun=server`: all is checked and nothing is written.

use super::{Thing, done, epoch, etag, everything, send, send_as, things};
use fakes::Mcpd;
use mcp_api::paths;
use serde_json::{Value, json};

fn dry(path: &str) -> String {
    format!("{path}?dryRun=server")
}

#[test]
fn a_rehearsal_answers_like_the_real_thing_and_writes_nothing() {
    let mcpd = Mcpd::start();
    for Thing { all, one, body, other } in things() {
        let (before, was) = (epoch(&mcpd), everything(&mcpd));
        let rehearsed = send(&mcpd, "POST", &dry(all), &body, None);
        assert_eq!((rehearsed.status, rehearsed.header("mcpd-dry-run")), (201, Some("server")), "{one}");
        assert_eq!((epoch(&mcpd), everything(&mcpd)), (before, was), "POST {one}");
        let created = send(&mcpd, "POST", all, &body, None).expect_success(one);
        assert_eq!(created.header("mcpd-dry-run"), None);
        assert_eq!(etag(&rehearsed), etag(&created), "{one}");
        assert_eq!(send(&mcpd, "POST", &dry(all), &body, None).status, 409, "{one}");

        let (before, was) = (epoch(&mcpd), everything(&mcpd));
        let rehearsed = send(&mcpd, "PUT", &dry(one), &other, Some(&etag(&created)));
        assert_eq!((rehearsed.status, rehearsed.header("mcpd-dry-run")), (200, Some("server")), "{one}");
        assert_eq!(rehearsed.json::<Value>()["labels"], json!({"team": "data"}), "{one}");
        assert_eq!(send(&mcpd, "PUT", &dry(one), &other, Some("\"x\"")).status, 412, "{one}");
        // What is so already is a rehearsal too.
        let same = send(&mcpd, "PUT", &dry(one), &body, None);
        assert_eq!((same.status, same.header("mcpd-dry-run")), (200, Some("server")), "{one}");
        let removed = send(&mcpd, "DELETE", &dry(one), &Value::Null, None);
        assert_eq!((removed.status, removed.header("mcpd-dry-run")), (200, Some("server")), "{one}");
        assert_eq!((epoch(&mcpd), everything(&mcpd)), (before, was), "{one}");
    }
    let patched = send(&mcpd, "PATCH", &dry("/api/v1/llms/thing"), &json!({"enabled": false}), None);
    assert_eq!(patched.json::<Value>()["enabled"], json!(false));
    let llm: Value = send(&mcpd, "GET", "/api/v1/llms/thing", &Value::Null, None).json();
    assert_eq!(llm["enabled"], json!(true), "a rehearsal was made");
}

#[test]
fn what_would_leave_nobody_in_charge_fails_at_the_rehearsal_too() {
    let mcpd = Mcpd::start();
    let binding = format!("{}/bootstrap-admin", paths::RBACS);
    let nobody = json!({"name": "bootstrap-admin", "subjects": [], "roleBindings": []});
    for path in [dry(&binding), binding] {
        for method in ["PUT", "DELETE"] {
            assert_eq!(send(&mcpd, method, &path, &nobody, None).status, 409, "{method} {path}");
        }
    }
    let me = format!("{}/user/admin", paths::SUBJECTS);
    assert_eq!(send(&mcpd, "DELETE", &dry(&me), &Value::Null, None).status, 409);
    done(&mcpd, "GET", &me, &Value::Null, None);
}

/// Whoever misspells a rehearsal, or asks for one where there is none, must not get the real thing.
#[test]
fn a_query_that_is_not_understood_is_refused_and_nothing_is_done() {
    let mcpd = Mcpd::start();
    let (before, was) = (epoch(&mcpd), everything(&mcpd));
    for Thing { all, body, .. } in things() {
        for query in ["dryRun=All", "dryRun", "dryRun=", "dryrun=server", "dry_run=server", "x", "force=true"]
        {
            assert_eq!(
                send(&mcpd, "POST", &format!("{all}?{query}"), &body, None).status,
                422,
                "{all} {query}"
            );
        }
    }
    let token = json!({"subject": {"kind": "User", "name": "admin"}});
    assert_eq!(send(&mcpd, "POST", &dry(paths::TOKENS), &token, None).status, 422);
    let id = mcpd.admin_token().split('_').nth(1).unwrap();
    let own = format!("{}/{id}", paths::TOKENS);
    assert_eq!(send(&mcpd, "DELETE", &dry(&own), &Value::Null, None).status, 422);
    let report = json!({"reports": [{
        "id": "0".repeat(32), "at": "2026-01-02T03:04:05.678Z", "llm": "chat", "reason": "http_502",
        "provider": "laptop", "providerType": "openai", "outcome": "complete", "durationMs": 5, "requestId": "r-1",
    }]});
    assert_eq!(send(&mcpd, "POST", &dry(paths::FAILOVER_REPORTS), &report, None).status, 422);
    assert!(crate::audit::entries(&mcpd, "event=failover").is_empty(), "a rehearsal was written");
    done(&mcpd, "POST", paths::FAILOVER_REPORTS, &report, None);
    assert_eq!(
        crate::audit::entries(&mcpd, "event=failover").len(),
        1,
        "the report is none, so this shows nothing"
    );
    assert_eq!((epoch(&mcpd), everything(&mcpd)), (before, was));
}

#[test]
fn a08_a_rehearsal_lets_nobody_pass_whom_the_real_thing_would_stop() {
    let mcpd = Mcpd::start();
    let clerk = mcpd.user_with("clerk", &[("admin", "rbac", None), ("admin", "users", None)]);
    let more = json!({"name": "more", "subjects": [], "roleBindings": [{"role": "admin", "resource": "*"}]});
    let ops = mcp_api::Subject { kind: mcp_api::SubjectKind::Group, name: "ops".parse().unwrap() };
    mcpd.grant_to("ops", ops, &[("run", "llms", None)]);
    let joining = json!({"kind": "Group", "name": "ops", "members": [{"kind": "User", "name": "clerk"}]});
    for (method, path, body) in [
        ("POST", paths::RBACS, &more),
        ("POST", paths::SUBJECTS, &joining),
        ("DELETE", "/api/v1/rbac/bootstrap-admin", &Value::Null),
        ("DELETE", "/api/v1/users/user/admin", &Value::Null),
        ("POST", paths::LLMS, &json!(Mcpd::llm_spec("x", "http://127.0.0.1:9"))),
    ] {
        let real = send_as(&mcpd, &clerk, method, path, body, None);
        let rehearsed = send_as(&mcpd, &clerk, method, &dry(path), body, None);
        let message = |answer: &fakes::Response| answer.json::<Value>()["error"]["message"].clone();
        assert_eq!((rehearsed.status, message(&rehearsed)), (real.status, message(&real)), "{method} {path}");
        assert_eq!(real.status, 403, "{method} {path}: {}", real.text());
    }
}
