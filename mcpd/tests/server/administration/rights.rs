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

/// A02: whoever may fill one group must not find out by it who else there is.
#[test]
fn a02_naming_members_tells_nobody_who_exists() {
    let mcpd = Mcpd::start();
    mcpd.create_user("bob");
    mcpd.create_user("eve");
    mcpd.create_subject(SubjectKind::Group, "team", &["eve"]);
    let (all, one) = (paths::SUBJECTS, "/api/v1/users/group/team");
    let group = |name: &str, members: &[&str]| {
        let members: Vec<_> = members.iter().map(|name| json!({"kind": "User", "name": name})).collect();
        json!({"kind": "Group", "name": name, "members": members})
    };
    let lead = mcpd.user_with("lead", &[("edit", "users", Some("team")), ("create", "users", None)]);
    let ask = |token: &str, method: &str, path: &str, body: &Value| {
        let path = format!("{path}?dryRun=server");
        let answer = send_as(&mcpd, token, method, &path, body, None);
        (answer.status, answer.json::<Value>()["error"]["message"].clone())
    };
    for (method, path, name) in [("PUT", one, "team"), ("POST", all, "new")] {
        let of = |member: &str| ask(&lead, method, path, &group(name, &[member]));
        assert_eq!(of("bob"), of("absent"), "{method}");
        assert_eq!(of("eve"), of("absent"), "{method}: who is in it is not told either");
        assert_eq!(of("bob").0, 403, "{method}");
        assert_eq!(ask(&lead, method, path, &group(name, &[])).0 / 100, 2, "{method}");
    }
    // Whom he may view he may name, and whom he sees in the group he may leave there.
    mcpd.grant("more", "lead", &[("view", "users", Some("bob"))]);
    assert_eq!(ask(&lead, "PUT", one, &group("team", &["bob"])).0, 200);
    assert_eq!(ask(&lead, "PUT", one, &group("team", &["bob", "eve"])).0, 403);
    mcpd.grant("yet-more", "lead", &[("view", "users", Some("team"))]);
    assert_eq!(ask(&lead, "PUT", one, &group("team", &["bob", "eve"])).0, 200);
    // Only who may view all is told that there is nobody.
    let (status, message) = ask(mcpd.admin_token(), "PUT", one, &group("team", &["absent"]));
    assert_eq!((status, message), (422, json!("There is no User absent.")));
}

/// A09: to remove is not to view, least of all where nothing is removed.
#[test]
fn a09_who_may_only_delete_is_not_shown_what_goes() {
    let mcpd = Mcpd::start();
    for (number, Thing { all, one, body, other }) in things().into_iter().enumerate() {
        let (resource, kind) = match all {
            paths::LLMS => ("llms", json!("Llm")),
            paths::RBACS => ("rbac", json!("Rbac")),
            _ => ("users", body["kind"].clone()),
        };
        // The binding grants `view` on LLMs.
        let held = if all == paths::RBACS { vec![("view", "llms", None)] } else { vec![] };
        let remover =
            mcpd.user_with(&format!("r{number}"), &[&held[..], &[("delete", resource, None)]].concat());
        let viewer = mcpd.user_with(
            &format!("v{number}"),
            &[&held[..], &[("delete", resource, None), ("view", resource, Some("thing"))]].concat(),
        );
        done(&mcpd, "POST", all, &other, None);
        let dry = format!("{one}?dryRun=server");
        let whole: Value = send_as(&mcpd, &viewer, "DELETE", &dry, &Value::Null, None).json();
        assert_eq!(whole["labels"], json!({"team": "data"}), "{one}");
        for path in [&*dry, one] {
            let answer = send_as(&mcpd, &remover, "DELETE", path, &Value::Null, None);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert_eq!(answer.json::<Value>(), json!({"kind": kind, "name": "thing"}), "{path}");
            for header in ["etag", "mcpd-decision", "mcpd-failover"] {
                assert_eq!(answer.header(header), None, "{path}");
            }
        }
        assert_eq!(send(&mcpd, "GET", one, &Value::Null, None).status, 404, "{one}");
    }
}
