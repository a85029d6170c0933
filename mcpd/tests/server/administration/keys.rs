//! K10: who says where a key goes must be allowed to use the key.

use super::send_as;
use crate::cases::{INFER, prompt};
use fakes::{Canary, Engine, Mcpd};
use mcp_api::{ApiKeyRef, LlmSpec, paths};
use serde_json::{Value, json};

const CHAT: &str = "/api/v1/llms/chat";
/// What an editor needs for everything but keys.
const EDITOR: &[fakes::Grant<'_>] = &[
    ("view", "llms", None),
    ("run", "llms", None),
    ("create", "llms", None),
    ("edit", "llms", None),
    ("delete", "llms", None),
];

/// A server with the LLM `chat`, whose upstream gets a key, and the engine of somebody who would like to have it.
struct Stage {
    mcpd: Mcpd,
    upstream: Engine,
    thief: Engine,
    key: String,
    canary: Canary,
}

impl Stage {
    fn new() -> Self {
        let mut canary = Canary::new();
        let key = canary.secret("upstream-key");
        let upstream = Engine::builder().key(&key).start();
        let thief = Engine::start();
        let mcpd = Mcpd::builder().env("CHAT_KEY", &key).env("OTHER_KEY", &key).start();
        let reference = Some(ApiKeyRef::Env("CHAT_KEY".into()));
        mcpd.create_llm_from(&LlmSpec { api_key_ref: reference, ..Mcpd::llm_spec("chat", &upstream.url()) });
        Self { mcpd, upstream, thief, key, canary }
    }

    /// Runs an LLM and says whether the thief got the key of it.
    fn is_harvested(&self, token: &str, path: &str) -> bool {
        let _answer = self.mcpd.api("POST", path, token, &prompt(json!({})));
        self.thief.received().windows(self.key.len()).any(|bytes| bytes == self.key.as_bytes())
    }
}

fn spec(name: &str, url: &str, key: Option<&Value>) -> Value {
    let mut spec = json!(Mcpd::llm_spec(name, url));
    if let Some(key) = key {
        spec["apiKeyRef"] = key.clone();
    }
    spec
}

fn key(variable: &str) -> Value {
    json!({ "env": variable })
}

#[test]
fn k10_an_editor_who_may_not_use_a_key_cannot_have_it_sent_to_himself() {
    let stage = Stage::new();
    let editor = stage.mcpd.user_with("editor", EDITOR);
    let (here, there) = (stage.upstream.url(), stage.thief.url());
    let ask =
        |method: &str, path: &str, body: &Value| send_as(&stage.mcpd, &editor, method, path, body, None);
    // The key does its work, for the editor too.
    assert_eq!(stage.mcpd.api("POST", INFER, &editor, &prompt(json!({}))).status, 200);
    let file = json!({"file": "/proc/self/environ"});
    for (method, path, body) in [
        ("PUT", CHAT, spec("chat", &there, Some(&key("CHAT_KEY")))),
        ("PATCH", CHAT, json!({"url": there, "apiKeyRef": key("CHAT_KEY")})),
        ("PATCH", CHAT, json!({"apiKeyRef": key("OTHER_KEY")})),
        ("PATCH", CHAT, json!({"apiKeyRef": file})),
        ("PUT", CHAT, spec("chat", &here, Some(&key("OTHER_KEY")))),
        ("POST", paths::LLMS, spec("mine", &there, Some(&key("CHAT_KEY")))),
        ("POST", paths::LLMS, spec("mine", &here, Some(&key("CHAT_KEY")))),
        ("POST", paths::LLMS, spec("mine", &there, Some(&file))),
    ] {
        for path in [path.to_owned(), format!("{path}?dryRun=server")] {
            let answer = ask(method, &path, &body);
            assert_eq!(answer.status, 403, "{method} {path} {body}: {}", answer.text());
            assert!(answer.text().contains("you lack: run on secrets"), "{}", answer.text());
            assert!(!stage.is_harvested(&editor, INFER), "{method} {path} {body}");
        }
    }
    // Without the key he may send prompts elsewhere; the reference does not go along, and he is told.
    let moved = ask("PATCH", CHAT, &json!({"url": there}));
    assert_eq!(moved.status, 200, "{}", moved.text());
    let moved: Value = moved.json();
    assert!(moved.get("apiKeyRef").is_none(), "{moved}");
    assert!(moved["warnings"][0].as_str().unwrap().contains("environment variable CHAT_KEY"), "{moved}");
    assert!(!stage.is_harvested(&editor, INFER));
    assert!(stage.thief.requests() > 0, "the thief's engine was never asked, so this shows nothing");
    // Nor does it come back with the way back.
    assert_eq!(ask("PATCH", CHAT, &json!({"url": here})).status, 200);
    assert_eq!(ask("PATCH", CHAT, &json!({"apiKeyRef": key("CHAT_KEY")})).status, 403);
    // Nor by making the LLM again.
    assert_eq!(ask("DELETE", CHAT, &Value::Null).status, 200);
    assert_eq!(ask("POST", paths::LLMS, &spec("chat", &there, Some(&key("CHAT_KEY")))).status, 403);
    let logs = stage.mcpd.logs();
    stage.canary.sweep(&[&stage.mcpd.data_dir()], &[("the log", logs.as_bytes())]);
}

#[test]
fn k10_an_editor_may_go_on_using_a_key_where_it_goes_already() {
    let stage = Stage::new();
    let editor = stage.mcpd.user_with("editor", EDITOR);
    let here = stage.upstream.url();
    let mut same = spec("chat", &here, Some(&key("CHAT_KEY")));
    same["displayName"] = json!("Chat");
    same["labels"] = json!({"team": "data"});
    assert_eq!(send_as(&stage.mcpd, &editor, "PUT", CHAT, &same, None).status, 200);
    let path = json!({"url": format!("{here}/other")});
    assert_eq!(send_as(&stage.mcpd, &editor, "PATCH", CHAT, &path, None).status, 200);
    let llm: Value = send_as(&stage.mcpd, &editor, "GET", CHAT, &Value::Null, None).json();
    assert_eq!(llm["apiKeyRef"], key("CHAT_KEY"));
}

#[test]
fn k10_a_key_is_used_by_whoever_may_use_that_one() {
    let stage = Stage::new();
    let mut grants = EDITOR.to_vec();
    grants.push(("run", "secrets", Some("CHAT_KEY")));
    let keeper = stage.mcpd.user_with("keeper", &grants);
    let there = stage.thief.url();
    let put = |variable: &str| {
        let spec = spec("chat", &there, Some(&key(variable)));
        send_as(&stage.mcpd, &keeper, "PUT", CHAT, &spec, None)
    };
    let refused = put("OTHER_KEY");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("run on secrets OTHER_KEY"), "{}", refused.text());
    let by_file = spec("x", &there, Some(&json!({"file": "/run/key"})));
    assert_eq!(send_as(&stage.mcpd, &keeper, "POST", paths::LLMS, &by_file, None).status, 403);
    assert_eq!(put("CHAT_KEY").status, 200);
    assert!(stage.is_harvested(&keeper, INFER), "the key of its own host is sent there");
    // To view or to administer something else is not to use.
    let viewer = stage.mcpd.user_with("viewer", &[EDITOR, &[("view", "secrets", None)]].concat());
    let spec = spec("x", &there, Some(&key("CHAT_KEY")));
    assert_eq!(send_as(&stage.mcpd, &viewer, "POST", paths::LLMS, &spec, None).status, 403);
    let boss = stage.mcpd.user_with("boss", &[EDITOR, &[("run", "secrets", None)]].concat());
    assert_eq!(send_as(&stage.mcpd, &boss, "POST", paths::LLMS, &by_file, None).status, 201);
    // Nor does a right on `*` that is not all of them reach keys.
    let runner = stage.mcpd.user_with("runner", &[EDITOR, &[("run", "*", None)]].concat());
    assert_eq!(send_as(&stage.mcpd, &runner, "POST", paths::LLMS, &spec, None).status, 403);
}

#[test]
fn a08_the_right_to_use_a_key_is_given_only_by_who_holds_it() {
    let mcpd = Mcpd::start();
    let clerk = mcpd.user_with(
        "clerk",
        &[("admin", "rbac", None), ("admin", "llms", None), ("run", "secrets", Some("A"))],
    );
    let grant = |name: Option<&str>| {
        let mut what = json!({"role": "run", "resource": "secrets"});
        if let Some(name) = name {
            what["name"] = json!(name);
        }
        let more =
            json!({"name": "more", "subjects": [{"kind": "User", "name": "clerk"}], "roleBindings": [what]});
        send_as(&mcpd, &clerk, "POST", paths::RBACS, &more, None)
    };
    for name in [None, Some("B")] {
        assert_eq!(grant(name).status, 403, "{name:?}");
    }
    assert_eq!(grant(Some("A")).status, 201);
}
