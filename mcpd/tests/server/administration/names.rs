//! Names that are used again.

use super::send_as;
use fakes::{Mcpd, Response};
use mcp_api::{Subject, SubjectKind, paths};
use serde_json::{Value, json};

fn warnings(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 201, "{}", answer.text());
    let body: Value = answer.json();
    let warnings = body["warnings"].as_array().cloned().unwrap_or_default();
    warnings.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn i06_whoever_makes_something_of_a_name_that_bindings_mention_is_told_which() {
    let mcpd = Mcpd::start();
    for kind in [SubjectKind::User, SubjectKind::ServiceAccount, SubjectKind::Group] {
        let held = Subject { kind, name: "used".parse().unwrap() };
        mcpd.grant_to(&format!("held-by-{}", kind.path_segment()), held, &[("view", "llms", Some("used"))]);
    }
    mcpd.grant("about-users", "admin", &[("edit", "users", Some("used")), ("view", "rbac", Some("used"))]);
    mcpd.grant("about-everything", "admin", &[("view", "*", Some("used")), ("view", "*", None)]);
    let subject = |kind: &str, name: &str| json!({"kind": kind, "name": name});
    let llm = |name: &str| json!({"name": name, "type": "openai", "url": "http://127.0.0.1:9", "model": "m"});
    let rbac = |name: &str| json!({"name": name, "subjects": [], "roleBindings": []});
    let of = |kind: &'static str| vec!["about-everything", "about-users", kind];
    for (path, used, fresh, which) in [
        (paths::SUBJECTS, subject("User", "used"), subject("User", "fresh"), of("held-by-user")),
        (
            paths::SUBJECTS,
            subject("ServiceAccount", "used"),
            subject("ServiceAccount", "fresh"),
            of("held-by-serviceaccount"),
        ),
        (paths::SUBJECTS, subject("Group", "used"), subject("Group", "fresh"), of("held-by-group")),
        (
            paths::LLMS,
            llm("used"),
            llm("fresh"),
            vec!["about-everything", "held-by-group", "held-by-serviceaccount", "held-by-user"],
        ),
        (paths::RBACS, rbac("used"), rbac("fresh"), vec!["about-everything", "about-users"]),
    ] {
        let ask = |token: &str, path: &str, body: &Value| send_as(&mcpd, token, "POST", path, body, None);
        let rehearsed = warnings(&ask(mcpd.admin_token(), &format!("{path}?dryRun=server"), &used));
        let [warning] = &warnings(&ask(mcpd.admin_token(), path, &used))[..] else { panic!("{used}") };
        assert!(warning.ends_with(&format!("by its name used: {}.", which.join(", "))), "{warning}");
        assert_eq!(&rehearsed[0], warning);
        assert!(warnings(&ask(mcpd.admin_token(), path, &fresh)).is_empty(), "{fresh}");
    }
}

#[test]
fn i06_names_of_bindings_are_for_those_who_may_see_them() {
    let mcpd = Mcpd::start();
    mcpd.grant("hidden", "later", &[("view", "llms", None)]);
    mcpd.grant("seen", "later", &[("view", "llms", None)]);
    let clerk = mcpd.user_with("clerk", &[("create", "users", None), ("view", "rbac", Some("seen"))]);
    let later = json!({"kind": "User", "name": "later"});
    let told = warnings(&send_as(&mcpd, &clerk, "POST", paths::SUBJECTS, &later, None)).join("");
    assert!(told.contains("2 of them") && !told.contains("hidden") && !told.contains("seen"), "{told}");
}

#[test]
fn i06_the_rights_that_are_warned_of_are_really_there() {
    let mcpd = Mcpd::start();
    let dana = mcpd.user_with("dana", &[("view", "llms", None)]);
    mcpd.delete_user("dana");
    assert_eq!(mcpd.request("GET", paths::LLMS, Some(&dana), &[], b"").status, 401);
    let dana = json!({"kind": "User", "name": "dana"});
    let told = warnings(&send_as(&mcpd, mcpd.admin_token(), "POST", paths::SUBJECTS, &dana, None)).join("");
    assert!(told.contains("apply to this user, by its name dana: dana."), "{told}");
    let again = mcpd.token_for("dana");
    let can = json!({"verb": "view", "resource": "llms"});
    assert_eq!(mcpd.api("POST", paths::CAN_I, &again, &can).json::<Value>()["allowed"], json!(true));
}
