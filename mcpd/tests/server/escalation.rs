//! A08: nobody gets more than the one who gives it, by any way of giving.

use fakes::{Mcpd, Response};
use mcp_api::paths;
use serde_json::{Value, json};

/// Holds every right to administer and none to an LLM.
const CLERK: &[fakes::Grant<'_>] =
    &[("admin", "rbac", None), ("admin", "users", None), ("admin", "tokens", None)];

fn binding(name: &str, subject: &str, grants: &Value) -> Value {
    json!({"name": name, "subjects": [{"kind": "User", "name": subject}], "roleBindings": grants})
}

fn refused(answer: &Response, lacking: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    let message = answer.json::<Value>()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(lacking), "{message}");
}

#[test]
fn a08_a_clerk_cannot_grant_what_he_does_not_hold() {
    let mcpd = Mcpd::start();
    let clerk = mcpd.user_with("clerk", CLERK);
    for (grants, lacking) in [
        (json!([{"role": "admin", "resource": "*"}]), "admin on *"),
        (json!([{"role": "run", "resource": "llms", "name": "chat"}]), "run on llms chat"),
        (json!([{"role": "view", "resource": "users"}, {"role": "run", "resource": "*"}]), "run on *"),
    ] {
        let answer = mcpd.api("POST", paths::RBACS, &clerk, &binding("more", "clerk", &grants));
        refused(&answer, lacking);
    }
    let held = binding("less", "rob", &json!([{"role": "view", "resource": "users"}]));
    assert_eq!(mcpd.api("POST", paths::RBACS, &clerk, &held).status, 201);
}

#[test]
fn a08_a_clerk_can_neither_change_nor_remove_a_binding_above_him() {
    let mcpd = Mcpd::start();
    let clerk = mcpd.user_with("clerk", CLERK);
    let path = format!("{}/bootstrap-admin", paths::RBACS);
    let joined = json!({"name": "bootstrap-admin", "roleBindings": [{"role": "admin", "resource": "*"}],
        "subjects": [{"kind": "User", "name": "admin"}, {"kind": "User", "name": "clerk"}]});
    refused(&mcpd.api("PUT", &path, &clerk, &joined), "admin on *");
    refused(&mcpd.api("PUT", &path, &clerk, &binding("bootstrap-admin", "admin", &json!([]))), "admin on *");
    refused(&mcpd.request("DELETE", &path, Some(&clerk), &[], b""), "admin on *");
    let own = format!("{}/clerk", paths::RBACS);
    let more = binding("clerk", "clerk", &json!([{"role": "admin", "resource": "llms"}]));
    refused(&mcpd.api("PUT", &own, &clerk, &more), "admin on llms");
}

#[test]
fn a08_a_clerk_can_neither_speak_for_nor_remove_somebody_above_him() {
    let mcpd = Mcpd::start();
    let clerk = mcpd.user_with("clerk", CLERK);
    let token_for = |name: &str| json!({"subject": {"kind": "User", "name": name}});
    refused(&mcpd.api("POST", paths::TOKENS, &clerk, &token_for("admin")), "admin on *");
    let admin = format!("{}/user/admin", paths::SUBJECTS);
    refused(&mcpd.request("DELETE", &admin, Some(&clerk), &[], b""), "admin on *");
    assert_eq!(mcpd.api("POST", paths::TOKENS, &clerk, &token_for("clerk")).status, 201);
}

/// A08: a token made in advance would have whatever its owner is given later.
#[test]
fn a08_a_token_for_somebody_else_takes_the_right_to_edit_them() {
    let mcpd = Mcpd::start();
    mcpd.create_user("later");
    let token_for = |name: &str| json!({"subject": {"kind": "User", "name": name}});
    let clerk = mcpd.user_with("clerk", &[("create", "tokens", None), ("edit", "users", Some("other"))]);
    let ask = |name: &str| mcpd.api("POST", paths::TOKENS, &clerk, &token_for(name));
    let message = |answer: &Response| answer.json::<Value>()["error"]["message"].clone();
    let (there, absent) = (ask("later"), ask("absent"));
    assert_eq!((there.status, message(&there)), (403, message(&absent)));
    assert_eq!(absent.status, 403);
    assert_eq!(ask("clerk").status, 201, "his own");
    mcpd.grant("more", "clerk", &[("edit", "users", Some("later"))]);
    assert_eq!(ask("later").status, 201);
    assert_eq!(mcpd.api("POST", paths::TOKENS, mcpd.admin_token(), &token_for("absent")).status, 422);
}

#[test]
fn a02_a_refusal_names_nobodys_rights_to_who_may_not_view_them() {
    let mcpd = Mcpd::start();
    let secret: &[fakes::Grant<'_>] = &[("run", "llms", Some("secret-project"))];
    mcpd.user_with("one", secret);
    mcpd.user_with("two", &[("admin", "*", None)]);
    mcpd.create_subject(mcp_api::SubjectKind::Group, "ops", &[]);
    for group in ["ops", "late"] {
        let group = mcp_api::Subject { kind: mcp_api::SubjectKind::Group, name: group.parse().unwrap() };
        mcpd.grant_to(group.name.as_str(), group.clone(), secret);
    }
    let rights: Vec<fakes::Grant<'_>> = ["view", "create", "edit", "delete"]
        .iter()
        .flat_map(|role| [(*role, "users", None), (*role, "tokens", None)])
        .chain([("edit", "rbac", None), ("delete", "rbac", None)])
        .collect();
    let clerk = mcpd.user_with("clerk", &rights);
    let auditor = mcpd.user_with("auditor", &[&rights[..], &[("view", "rbac", None)]].concat());
    let token_for = |name: &str| json!({"subject": {"kind": "User", "name": name}});
    let joined =
        |group: &str| json!({"kind": "Group", "name": group, "members": [{"kind": "User", "name": "clerk"}]});
    let mut told = std::collections::BTreeSet::new();
    for (method, path, body, lacking) in [
        ("POST", paths::TOKENS, token_for("one"), "run on llms secret-project"),
        ("POST", paths::TOKENS, token_for("two"), "admin on *"),
        ("DELETE", "/api/v1/users/user/one?dryRun=server", Value::Null, "run on llms secret-project"),
        ("DELETE", "/api/v1/users/user/two", Value::Null, "admin on *"),
        ("POST", paths::SUBJECTS, joined("late"), "run on llms secret-project"),
        ("PUT", "/api/v1/users/group/ops", joined("ops"), "run on llms secret-project"),
        ("PUT", "/api/v1/rbac/one", binding("one", "one", &json!([])), "run on llms secret-project"),
        ("DELETE", "/api/v1/rbac/two", Value::Null, "admin on *"),
    ] {
        refused(&mcpd.api(method, path, &auditor, &body), lacking);
        let answer = mcpd.api(method, path, &clerk, &body);
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        told.insert(answer.json::<Value>()["error"]["message"].as_str().unwrap().to_owned());
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told.iter().all(|text| text.contains("do not hold")), "{told:?}");
    // What he wrote himself is named, and nothing beside it.
    let more = binding("one", "one", &json!([{"role": "create", "resource": "llms"}]));
    let answer = mcpd.api("PUT", "/api/v1/rbac/one", &clerk, &more);
    refused(&answer, "you lack: create on llms.");
}

/// `*` is about what it was about when there were no rights on keys and on the audit trail.
#[test]
fn a08_only_all_of_everything_includes_keys_and_the_audit_trail() {
    let mcpd = Mcpd::start();
    let runner =
        mcpd.user_with("runner", &[("run", "*", None), ("view", "*", None), ("create", "rbac", None)]);
    let may = |token: &str, what: &Value| mcpd.api("POST", paths::CAN_I, token, what).json::<Value>();
    let grant = |name: &str, what: &Value| {
        mcpd.api("POST", paths::RBACS, &runner, &binding(name, "rob", &json!([what])))
    };
    for (number, (role, resource)) in [("run", "secrets"), ("view", "audit")].into_iter().enumerate() {
        for name in [None, Some("x")] {
            let mut what = json!({"role": role, "resource": resource});
            let mut asked = json!({"verb": role, "resource": resource});
            if let Some(name) = name {
                what["name"] = json!(name);
                asked["name"] = json!(name);
            }
            assert_eq!(may(&runner, &asked)["allowed"], json!(false), "{asked}");
            assert_eq!(may(mcpd.admin_token(), &asked)["allowed"], json!(true), "{asked}");
            refused(&grant("more", &what), &format!("{role} on {resource}"));
        }
        assert_eq!(grant(&format!("same{number}"), &json!({"role": role, "resource": "*"})).status, 201);
    }
    assert_eq!(mcpd.request("GET", paths::AUDIT, Some(&runner), &[], b"").status, 403);
    assert_eq!(mcpd.request("GET", paths::AUDIT, Some(mcpd.admin_token()), &[], b"").status, 200);
}

#[test]
fn a08_a_clerk_cannot_join_a_group_above_him() {
    let mcpd = Mcpd::start();
    let clerk = mcpd.user_with("clerk", CLERK);
    let group = |members: Value| json!({"kind": "Group", "name": "ops", "members": members});
    let with_clerk = group(json!([{"kind": "User", "name": "clerk"}]));
    let ops = mcp_api::Subject { kind: mcp_api::SubjectKind::Group, name: "ops".parse().unwrap() };
    mcpd.grant_to("ops", ops, &[("run", "llms", None)]);
    // The binding waits for a group of this name: making it with members is joining it.
    refused(&mcpd.api("POST", paths::SUBJECTS, &clerk, &with_clerk), "run on llms");
    assert_eq!(mcpd.api("POST", paths::SUBJECTS, &clerk, &group(json!([]))).status, 201);
    let path = format!("{}/group/ops", paths::SUBJECTS);
    refused(&mcpd.api("PUT", &path, &clerk, &with_clerk), "run on llms");
    // So is a user's name that a binding waits for.
    mcpd.grant("later", "later", &[("run", "llms", None)]);
    assert_eq!(
        mcpd.api("POST", paths::SUBJECTS, &clerk, &json!({"kind": "User", "name": "later"})).status,
        201
    );
    let token = json!({"subject": {"kind": "User", "name": "later"}});
    refused(&mcpd.api("POST", paths::TOKENS, &clerk, &token), "run on llms");
}

#[test]
fn rights_come_and_go_with_the_membership_of_a_group() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let dana = mcpd.user_with("dana", &[]);
    mcpd.create_subject(mcp_api::SubjectKind::Group, "data", &["dana"]);
    let data = mcp_api::Subject { kind: mcp_api::SubjectKind::Group, name: "data".parse().unwrap() };
    mcpd.grant_to("data", data, &[("view", "llms", Some("chat"))]);
    let status = || mcpd.request("GET", crate::cases::CHAT, Some(&dana), &[], b"").status;
    assert_eq!(status(), 200);
    let path = format!("{}/group/data", paths::SUBJECTS);
    let empty = json!({"kind": "Group", "name": "data"});
    assert_eq!(mcpd.api("PUT", &path, mcpd.admin_token(), &empty).status, 200);
    assert_eq!(status(), 403);
}

#[test]
fn the_last_administrator_stays() {
    let mcpd = Mcpd::start();
    let admin = Some(mcpd.admin_token());
    let own_token = mcpd.admin_token().split('_').nth(1).unwrap();
    for path in [
        format!("{}/bootstrap-admin", paths::RBACS),
        format!("{}/user/admin", paths::SUBJECTS),
        format!("{}/{own_token}", paths::TOKENS),
    ] {
        assert_eq!(mcpd.request("DELETE", &path, admin, &[], b"").status, 409, "{path}");
    }
    // With a second one the first can go.
    let ana = mcpd.user_with("ana", &[("admin", "*", None)]);
    mcpd.delete_user("admin");
    assert_eq!(mcpd.request("GET", paths::WHOAMI, admin, &[], b"").status, 401);
    assert_eq!(mcpd.request("GET", paths::RBACS, Some(&ana), &[], b"").status, 200);
}

#[test]
fn a10_what_only_the_server_sets_cannot_be_set() {
    let mcpd = Mcpd::start();
    let admin = mcpd.admin_token();
    let llm = json!({"name": "chat", "type": "openai", "url": "http://a", "model": "m"});
    mcpd.create_llm("there", "http://127.0.0.1:9/v1");
    for (key, value) in [
        ("id", json!(format!("c{}", "0".repeat(24)))),
        ("createdAt", json!("2020-01-01T00:00:00Z")),
        ("verbs", json!(["run"])),
        ("role", json!("admin")),
        ("apiKey", json!("sk-1")),
    ] {
        let mut body = llm.clone();
        body[key] = value.clone();
        assert_eq!(mcpd.api("POST", paths::LLMS, admin, &body).status, 422, "{key}");
        let patch = json!({ key: value });
        assert_eq!(mcpd.api("PATCH", "/api/v1/llms/there", admin, &patch).status, 422, "{key}");
    }
    assert_eq!(mcpd.api("PATCH", "/api/v1/llms/there", admin, &json!({"name": "x"})).status, 422);
    let other_name = json!({"name": "other", "type": "openai", "url": "http://a", "model": "m"});
    assert_eq!(mcpd.api("PUT", "/api/v1/llms/there", admin, &other_name).status, 422);
    let token = json!({"subject": {"kind": "User", "name": "admin"}, "id": "a".repeat(16)});
    assert_eq!(mcpd.api("POST", paths::TOKENS, admin, &token).status, 422);
}
