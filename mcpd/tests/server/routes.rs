//! Every route, with every kind of token: a route without a row here fails.

use crate::cases::{CHAT, INFER, expired_token, prompt};
use fakes::{Engine, Grant, Mcpd, Response};
use mcp_api::paths;
use mcpd::routes::ROUTES;
use serde_json::{Value, json};

/// What a route wants.
enum Wants {
    /// Nothing: it is for everybody.
    Nothing,
    /// A valid token.
    Token,
    /// A valid token, and shows what its owner may view.
    Rows(&'static str),
    /// A role on a resource.
    Right(&'static str, &'static str),
    /// Several of them at once.
    Rights(&'static [(&'static str, &'static str)]),
}

struct Row {
    method: &'static str,
    path: &'static str,
    wants: Wants,
    body: Value,
}

fn row(method: &'static str, path: &'static str, wants: Wants, body: Value) -> Row {
    Row { method, path, wants, body }
}

fn rows(upstream: &str) -> Vec<Row> {
    use Wants::{Nothing, Right, Rights, Rows, Token};
    let llm = |name| json!({"name": name, "type": "openai", "url": upstream, "model": "tiny"});
    let rbac = |name| json!({"name": name, "subjects": [], "roleBindings": []});
    let subject = |name| json!({"kind": "User", "name": name});
    let token = json!({"subject": {"kind": "User", "name": "thing"}});
    vec![
        row("GET", paths::LLMS, Rows("llms"), Value::Null),
        row("POST", paths::LLMS, Right("create", "llms"), llm("new")),
        row("GET", paths::LLM, Right("view", "llms"), Value::Null),
        row("HEAD", paths::LLM, Right("view", "llms"), Value::Null),
        row("PUT", paths::LLM, Right("edit", "llms"), llm("thing")),
        row("PATCH", paths::LLM, Right("edit", "llms"), json!({})),
        row("POST", paths::INFER, Right("run", "llms"), prompt(json!({}))),
        row("POST", paths::OPENAI_CHAT, Right("run", "llms"), prompt(json!({"model": "thing"}))),
        row(
            "POST",
            paths::OPENAI_COMPLETIONS,
            Right("run", "llms"),
            json!({"model": "thing", "prompt": "hi"}),
        ),
        row("POST", paths::OPENAI_EMBEDDINGS, Right("run", "llms"), json!({"model": "thing", "input": "hi"})),
        row("POST", paths::OPENAI_RESPONSES, Right("run", "llms"), json!({"model": "thing", "input": "hi"})),
        row("GET", paths::OPENAI_MODELS, Rows("llms"), Value::Null),
        row("GET", paths::OPENAI_MODEL, Right("view", "llms"), Value::Null),
        row("DELETE", paths::LLM, Right("delete", "llms"), Value::Null),
        row("GET", paths::RBACS, Rows("rbac"), Value::Null),
        row("POST", paths::RBACS, Right("create", "rbac"), rbac("new")),
        row("GET", paths::RBAC, Right("view", "rbac"), Value::Null),
        row("PUT", paths::RBAC, Right("edit", "rbac"), rbac("thing")),
        row("DELETE", paths::RBAC, Right("delete", "rbac"), Value::Null),
        row("GET", paths::TOKENS, Rows("tokens"), Value::Null),
        row("POST", paths::TOKENS, Rights(&[("create", "tokens"), ("edit", "users")]), token),
        row("GET", paths::TOKEN, Right("view", "tokens"), Value::Null),
        row("DELETE", paths::TOKEN, Right("delete", "tokens"), Value::Null),
        row("GET", paths::SUBJECTS, Rows("users"), Value::Null),
        row("POST", paths::SUBJECTS, Right("create", "users"), subject("new")),
        row("GET", paths::SUBJECT, Right("view", "users"), Value::Null),
        row("PUT", paths::SUBJECT, Right("edit", "users"), subject("thing")),
        row("DELETE", paths::SUBJECT, Right("delete", "users"), Value::Null),
        row("GET", paths::WHOAMI, Token, Value::Null),
        row("POST", paths::CAN_I, Token, json!({"verb": "run", "resource": "llms", "name": "thing"})),
        row("GET", paths::AUDIT, Right("view", "audit"), Value::Null),
        row("GET", paths::AUDIT_HEAD, Right("view", "audit"), Value::Null),
        row("POST", paths::FAILOVER_REPORTS, Token, json!({"reports": []})),
        row("GET", paths::HEALTHZ, Nothing, Value::Null),
        row("GET", paths::READYZ, Nothing, Value::Null),
        row("GET", paths::VERSION, Nothing, Value::Null),
        row("GET", paths::OPENAPI, Nothing, Value::Null),
        row("GET", paths::METRICS, Right("view", "llms"), Value::Null),
    ]
}

/// The server with one thing of each kind, and everybody who may ask for it.
struct World {
    mcpd: Mcpd,
    token_id: String,
    bad: Vec<(&'static str, Option<String>)>,
}

impl World {
    fn new(upstream: &str) -> Self {
        let mut mcpd = Mcpd::start();
        mcpd.create_user("nobody");
        let expired = expired_token(&mut mcpd, "nobody");
        mcpd.create_llm("thing", upstream);
        mcpd.create_user("thing");
        mcpd.grant("thing", "thing", &[]);
        let revoked = mcpd.token_for("nobody");
        mcpd.revoke_token(&revoked);
        let token = mcpd.token_for("thing");
        let forged = format!("{}{}", &token[..token.len() - 64], "0".repeat(64));
        let bad = vec![
            ("no", None),
            ("an expired", Some(expired)),
            ("a revoked", Some(revoked)),
            ("a forged", Some(forged)),
            ("a cut", Some(token[..token.len() - 1].to_owned())),
            ("a longer", Some(format!("{token}0"))),
            ("a quoted", Some(format!("\"{token}\""))),
            ("an upper-case", Some(token.to_uppercase())),
            ("half a", Some(token[..22].to_owned())),
            ("an empty", Some(String::new())),
        ];
        Self { token_id: token.split('_').nth(1).unwrap().to_owned(), mcpd, bad }
    }

    fn ask(&self, row: &Row, token: Option<&str>) -> Response {
        let path = row.path.replace("{llm}", "thing").replace("{kind}", "user").replace("{name}", "thing");
        let path = path.replace("{id}", &self.token_id);
        let body = if row.body.is_null() { Vec::new() } else { row.body.to_string().into_bytes() };
        self.mcpd.request(row.method, &path, token, &[], &body)
    }

    /// Asks with these rights; with all but one of them; and with all rights on something else.
    fn wants(&self, row: &Row, number: usize, rights: &[(&'static str, &'static str)]) {
        let what = format!("{} {}", row.method, row.path);
        let ask = |who: &str, grants: &[Grant<'_>]| {
            self.ask(row, Some(&self.mcpd.user_with(&format!("{who}{number}"), grants)))
        };
        for (role, resource) in rights {
            let wrong = ask(&format!("no-{role}-{resource}"), &all_but(role, resource));
            assert_eq!(wrong.status, 403, "{what} with every other right than {role} on {resource}");
        }
        let elsewhere = ask("elsewhere", &all_on("another"));
        assert_eq!(elsewhere.status, 403, "{what} with every right on another");
        let all: Vec<_> = rights.iter().map(|(role, resource)| (*role, *resource, None)).collect();
        let answer = ask("right", &all);
        assert!((200..300).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    }
}

const ROLES: [&str; 5] = ["view", "run", "create", "edit", "delete"];
const RESOURCES: [&str; 6] = ["llms", "rbac", "users", "tokens", "secrets", "audit"];

fn all_but(role: &str, resource: &str) -> Vec<Grant<'static>> {
    let all = RESOURCES.iter().flat_map(|on| ROLES.iter().map(|role| (*role, *on, None)));
    all.filter(|(r, on, _)| (*r, *on) != (role, resource)).collect()
}

/// Everything that can be done, with things of this name.
fn all_on(name: &str) -> Vec<Grant<'_>> {
    let all = RESOURCES.iter().chain(&["*"]).flat_map(|on| ROLES.iter().map(|role| (*role, *on, Some(name))));
    all.chain([("admin", "*", Some(name))]).collect()
}

#[test]
fn a01_every_route_asks_for_a_valid_token_and_for_its_right() {
    let engine = Engine::start();
    let world = World::new(&engine.url());
    let rows = rows(&engine.url());
    for (number, row) in rows.iter().enumerate() {
        let what = format!("{} {}", row.method, row.path);
        for (kind, token) in &world.bad {
            let wanted = if matches!(row.wants, Wants::Nothing) { 200 } else { 401 };
            assert_eq!(world.ask(row, token.as_deref()).status, wanted, "{what} with {kind} token");
        }
        let user =
            |suffix: &str, grants: &[Grant<'_>]| world.mcpd.user_with(&format!("{suffix}{number}"), grants);
        let elsewhere = || user("elsewhere", &all_on("another"));
        match row.wants {
            Wants::Nothing => {}
            Wants::Token => assert_eq!(world.ask(row, Some(&user("any", &[]))).status, 200, "{what}"),
            Wants::Rows(resource) => {
                let rows_for = |token: &str| {
                    let answer = world.ask(row, Some(token)).expect_success(&what);
                    // OpenAI's word for what a list holds is another one.
                    let key = if row.path == paths::OPENAI_MODELS { "data" } else { "items" };
                    answer.json::<Value>()[key].as_array().unwrap().len()
                };
                assert_eq!(rows_for(&user("wrong", &all_but("view", resource))), 0, "{what}");
                assert_eq!(rows_for(&elsewhere()), 0, "{what}");
                assert_ne!(rows_for(&user("right", &[("view", resource, None)])), 0, "{what}");
            }
            Wants::Right(role, resource) => world.wants(row, number, &[(role, resource)]),
            Wants::Rights(rights) => world.wants(row, number, rights),
        }
    }
    assert_eq!(engine.requests(), 2, "one of all these callers may run it, by each of the two ways");
    let listed: Vec<_> =
        ROUTES.iter().flat_map(|(path, methods)| methods.iter().map(move |m| (*m, *path))).collect();
    for route in &listed {
        assert!(rows.iter().any(|row| (row.method, row.path) == *route), "{route:?} has no row here");
    }
    assert_eq!(listed.len(), rows.len(), "a row for a route that is no more");
}

#[test]
fn a01_a_method_that_a_route_does_not_take_is_405_for_everybody() {
    let mcpd = Mcpd::start();
    for (path, methods) in ROUTES {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let is_taken = methods.contains(&method) || (method == "HEAD" && methods.contains(&"GET"));
            if !is_taken {
                let answer = mcpd.request(method, &path.replace(['{', '}'], ""), None, &[], b"");
                assert_eq!(answer.status, 405, "{method} {path}");
                assert_eq!(answer.header("mcpd-error-code"), Some("method_not_allowed"), "{method} {path}");
                assert!(answer.header("allow").is_some(), "{method} {path}");
            }
        }
    }
}

/// All that a caller can see of an answer, but for the date.
fn seen(answer: &Response) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    (answer.status, headers.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(), answer.text())
}

#[test]
fn a02_without_a_right_nobody_learns_what_exists() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    let id = mcpd.create_llm("chat", &engine.url()).id;
    let other = mcpd.user_with("dana", &[("run", "llms", Some("other")), ("view", "users", None)]);
    let spec = json!({"name": "chat", "type": "openai", "url": "http://a", "model": "m"}).to_string();
    let absent_id = format!("c{}", "0".repeat(24));
    for (there, absent) in [("chat", "nope"), (id.as_str(), absent_id.as_str()), ("chat", "other2")] {
        for (method, rest, body) in [
            ("GET", "", ""),
            ("HEAD", "", ""),
            ("PUT", "", &*spec),
            ("PATCH", "", "{}"),
            ("DELETE", "", ""),
            ("POST", "/infer", "{}"),
        ] {
            for probe in [None, Some("run; nonce=00112233445566778899aabbccddeeff")] {
                let mut headers = vec![("x-request-id", "same")];
                headers.extend(probe.map(|probe| ("mcpd-probe", probe)));
                let ask = |key: &str| {
                    let path = format!("/api/v1/llms/{key}{rest}");
                    seen(&mcpd.request(method, &path, Some(&other), &headers, body.as_bytes()))
                };
                let (of_there, of_absent) = (ask(there), ask(absent));
                assert_eq!(of_there, of_absent, "{method} {rest}");
                assert_eq!(of_there.0, 403, "{method} {rest}");
            }
        }
    }
    assert_eq!(engine.connections(), 0);
}

#[test]
fn a02_other_kinds_keep_their_secrets_too() {
    let mcpd = Mcpd::start();
    mcpd.create_user("there");
    mcpd.grant("there", "there", &[]);
    let token = mcpd.token_for("there");
    let token_id = token.split('_').nth(1).unwrap();
    let nobody = mcpd.user_with("nobody", &[]);
    for (there, absent) in [
        (paths::RBACS.to_owned() + "/there", paths::RBACS.to_owned() + "/absent"),
        (paths::SUBJECTS.to_owned() + "/user/there", paths::SUBJECTS.to_owned() + "/user/absent"),
        (format!("{}/{token_id}", paths::TOKENS), format!("{}/{}", paths::TOKENS, "a".repeat(16))),
    ] {
        for method in ["GET", "DELETE"] {
            let ask = |path: &str, token: &str| {
                seen(&mcpd.request(method, path, Some(token), &[("x-request-id", "same")], b""))
            };
            assert_eq!(ask(&there, &nobody), ask(&absent, &nobody), "{method} {there}");
            assert_eq!(ask(&absent, &nobody).0, 403, "{method} {absent}");
            assert_eq!(ask(&absent, mcpd.admin_token()).0, 404, "{method} {absent}");
        }
    }
}

#[test]
fn a02_only_who_may_view_all_is_told_that_there_is_nothing() {
    let mcpd = Mcpd::start();
    let sees_all = mcpd.user_with("ana", &[("view", "llms", None)]);
    let runs_all = mcpd.user_with("rob", &[("run", "llms", None)]);
    let views_it = mcpd.user_with("dana", &[("view", "llms", Some("chat"))]);
    let status = |path, token: &str| mcpd.request("GET", path, Some(token), &[], b"").status;
    assert_eq!(status(CHAT, &sees_all), 404);
    assert_eq!(status(CHAT, &runs_all), 403);
    assert_eq!(status(CHAT, &views_it), 403);
    assert_eq!(mcpd.request("POST", INFER, Some(&sees_all), &[], b"{}").status, 404);
}

#[test]
fn a09_lists_hold_only_what_their_reader_may_view() {
    let mcpd = Mcpd::start();
    for name in ["chat", "other"] {
        mcpd.create_llm(name, "http://127.0.0.1:9/v1");
    }
    let dana = mcpd.user_with(
        "dana",
        &[("view", "llms", Some("chat")), ("view", "users", Some("dana")), ("view", "rbac", Some("dana"))],
    );
    let names = |path: &str, token: &str| -> Vec<String> {
        let list: Value = mcpd.request("GET", path, Some(token), &[], b"").json();
        let items = list["items"].as_array().unwrap();
        assert_eq!(list.as_object().unwrap().len(), 1, "a list says nothing about what it leaves out");
        items.iter().map(|item| item["name"].as_str().unwrap_or("token").to_owned()).collect()
    };
    assert_eq!(names(paths::LLMS, mcpd.admin_token()), ["chat", "other"]);
    assert_eq!(names(paths::LLMS, &dana), ["chat"]);
    assert_eq!(names(paths::SUBJECTS, &dana), ["dana"]);
    assert_eq!(names(paths::RBACS, &dana), ["dana"]);
    assert!(names(paths::TOKENS, &dana).is_empty());
}

#[test]
fn an_unknown_path_is_404_with_the_error_body_for_everybody() {
    let mcpd = Mcpd::start();
    for path in ["/", "/api", "/api/v1/llms/", "/api/v1/llms/chat/infer/", "/API/v1/llms", "/api/v1//llms"] {
        let answer = mcpd.request("GET", path, None, &[], b"");
        assert_eq!(crate::cases::error_of(&answer), (404, "not_found".into(), "gateway".into()), "{path}");
    }
}
