//! Labels change nobody's rights, and nothing but what they are gets in with them.

use super::{Thing, done, epoch, everything, send, send_as, things};
use fakes::Mcpd;
use mcp_api::{Subject, SubjectKind, paths};
use serde_json::{Value, json};

#[test]
fn a10_nothing_but_what_an_administrator_says_gets_in() {
    let mcpd = Mcpd::start();
    for Thing { all, one, body, .. } in things() {
        let more = [
            ("warnings", json!([])),
            ("etag", json!("x")),
            ("version", json!(1)),
            ("createdAt", json!("2020-01-01T00:00:00Z")),
            ("createdBy", json!("admin")),
            ("apiVersion", json!("mcpctl/v1")),
            ("dryRun", json!("server")),
            ("labels", json!(null)),
            ("labels", json!("team=data")),
            ("labels", json!(["team"])),
            ("labels", json!({"team": 1})),
            ("labels", json!({"team": {"x": "y"}})),
            ("labels", json!({"-team": "x"})),
            ("labels", json!({"team": "a\nb"})),
            ("labels", json!({ "a".repeat(64): "x" })),
            (
                "labels",
                (0..33).map(|i| (format!("k{i}"), json!(""))).collect::<serde_json::Map<_, _>>().into(),
            ),
        ];
        let (before, was) = (epoch(&mcpd), everything(&mcpd));
        for (key, value) in &more {
            let mut odd = body.clone();
            odd[*key] = value.clone();
            assert_eq!(send(&mcpd, "POST", all, &odd, None).status, 422, "{all} {key} {value}");
        }
        assert_eq!((epoch(&mcpd), everything(&mcpd)), (before, was), "{all}");
        done(&mcpd, "POST", all, &body, None);
        for (key, value) in &more {
            let mut odd = body.clone();
            odd[*key] = value.clone();
            assert_eq!(send(&mcpd, "PUT", one, &odd, None).status, 422, "{one} {key} {value}");
        }
    }
    for patch in [json!({"labels": {"-": ""}}), json!({"warnings": []}), json!({"labels": 1})] {
        assert_eq!(send(&mcpd, "PATCH", "/api/v1/llms/thing", &patch, None).status, 422, "{patch}");
    }
}

#[test]
fn a09_a_label_shows_nobody_what_they_may_not_view() {
    let mcpd = Mcpd::start();
    for Thing { all, other, .. } in things() {
        done(&mcpd, "POST", all, &other, None);
    }
    let dana = mcpd.user_with("dana", &[("view", "users", Some("dana")), ("view", "llms", Some("other"))]);
    for path in [paths::LLMS, paths::RBACS, paths::SUBJECTS] {
        for query in ["", "?labelSelector=team%3Ddata", "?labels=team%3Ddata"] {
            let seen = send_as(&mcpd, &dana, "GET", &format!("{path}{query}"), &Value::Null, None).text();
            assert!(!seen.contains("thing") && !seen.contains("team"), "{path}: {seen}");
        }
    }
}

/// The ways by which somebody who administers people and bindings, but holds no other right, could get one.
#[test]
fn a08_neither_labels_nor_versions_nor_groups_nor_service_accounts_are_a_way_up() {
    let mcpd = Mcpd::start();
    let clerk = mcpd
        .user_with("clerk", &[("admin", "rbac", None), ("admin", "users", None), ("admin", "tokens", None)]);
    let (robot, ops) = (SubjectKind::ServiceAccount, SubjectKind::Group);
    mcpd.create_subject(robot, "robot", &[]);
    mcpd.create_subject(ops, "ops", &[]);
    for (binding, kind, name) in [("robots", robot, "robot"), ("ops", ops, "ops")] {
        mcpd.grant_to(binding, Subject { kind, name: name.parse().unwrap() }, &[("run", "llms", None)]);
    }
    let ask = |method: &str, path: &str, body: &Value, if_match: Option<&str>| {
        send_as(&mcpd, &clerk, method, path, body, if_match)
    };
    let grants = |subject: &str| {
        json!({"name": "ops", "labels": {"a": "b"}, "subjects": [{"kind": "User", "name": subject}],
            "roleBindings": [{"role": "run", "resource": "llms"}]})
    };
    let member =
        |kind: &str| json!({"kind": "Group", "name": "ops", "members": [{"kind": kind, "name": "clerk"}]});
    let token = json!({"subject": {"kind": "ServiceAccount", "name": "robot"}});
    let before = epoch(&mcpd);
    for if_match in [None, Some("*")] {
        for (method, path, body) in [
            ("PUT", "/api/v1/rbac/ops", grants("clerk")),
            ("PUT", "/api/v1/rbac/ops", grants("ops")),
            ("DELETE", "/api/v1/rbac/ops", Value::Null),
            ("PUT", "/api/v1/users/group/ops", member("User")),
            ("DELETE", "/api/v1/users/group/ops", Value::Null),
            ("DELETE", "/api/v1/users/serviceaccount/robot", Value::Null),
        ] {
            let answer = ask(method, path, &body, if_match);
            assert_eq!(answer.status, 403, "{method} {path} {body}: {}", answer.text());
            assert!(answer.text().contains("run on llms"), "{}", answer.text());
        }
    }
    assert_eq!(ask("POST", paths::TOKENS, &token, None).status, 403);
    assert_eq!(epoch(&mcpd), before, "something was written");
    // Labels alone are no right, so who may edit may label.
    let labelled = json!({"kind": "ServiceAccount", "name": "robot", "labels": {"team": "data"}});
    assert_eq!(ask("PUT", "/api/v1/users/serviceaccount/robot", &labelled, None).status, 200);
    let empty = json!({"kind": "Group", "name": "ops", "labels": {"team": "data"}});
    assert_eq!(ask("PUT", "/api/v1/users/group/ops", &empty, None).status, 200);
    let can = json!({"verb": "run", "resource": "llms"});
    assert_eq!(mcpd.api("POST", paths::CAN_I, &clerk, &can).json::<Value>()["allowed"], json!(false));
}
