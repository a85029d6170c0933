//! What nobody gets by documents: rights, keys, and old rights of a name without being told.

use crate::{
    admin_apply::{LLM, apply, boss, team},
    support::{Client, says},
};
use fakes::{Canary, Engine, Mcpd};
use predicates::prelude::*;
use serde_json::Value;

#[test]
fn a08_documents_grant_nothing_that_their_applier_does_not_hold() {
    let mcpd = Mcpd::start();
    mcpd.create_subject(mcp_api::SubjectKind::Group, "ops", &[]);
    let ops = mcp_api::Subject { kind: mcp_api::SubjectKind::Group, name: "ops".parse().unwrap() };
    mcpd.grant_to("ops", ops, &[("run", "llms", None)]);
    let grants = &[("admin", "rbac", None), ("admin", "users", None), ("admin", "tokens", None)];
    let clerk = Client::of(&mcpd.url(), &mcpd.user_with("clerk", grants));
    let binding = |name: &str, what: &str| {
        format!(
            "kind: Rbac\nname: {name}\nsubjects: [{{ kind: User, name: clerk }}]\nroleBindings: [{{ {what} }}]\n"
        )
    };
    for (document, lacking) in [
        (binding("more", "role: admin, resource: '*'"), "you lack: admin on *"),
        (binding("clerk", "role: run, resource: llms"), "you lack: run on llms"),
        (binding("more", "role: run, resource: secrets"), "you lack: run on secrets"),
        (binding("ops", "role: view, resource: users"), "you lack: run on llms"),
        ("kind: Group\nname: ops\nmembers: [{ kind: User, name: clerk }]\n".into(), "you lack: run on llms"),
    ] {
        for more in [&[][..], &["--dry-run=server"], &["--prune", "-l", "a=b"]] {
            apply(&clerk, &document, more)
                .code(5)
                .stdout("")
                .stderr(says(lacking).and(says("standard input:1: ")));
        }
    }
    clerk.cmd(["delete", "user", "admin"]).assert().code(5).stderr(says("you lack: admin on *"));
    clerk.cmd(["delete", "rbac/bootstrap-admin", "--ignore-not-found"]).assert().code(5);
    clerk.cmd(["auth", "can-i", "run", "llms"]).assert().code(3);
}

#[test]
fn i06_whoever_makes_something_of_an_old_name_is_warned_for_every_kind() {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    apply(&boss, &team(), &[]).code(0);
    boss.cmd(["delete", "group/data", "user/dana", "llm/chat"]).assert().code(0);
    let warned = || {
        says("warning: group/data: Role bindings that were there before apply to this group, by its name data: data.")
        .and(says("warning: llm/chat: Role bindings that were there before apply to this LLM, by its name chat: data."))
    };
    apply(&boss, &team(), &["--dry-run=server"]).code(0).stderr(warned());
    let applied = apply(&boss, &team(), &["-q", "-o", "json"]).code(0).stderr(warned());
    let result: Value = serde_json::from_slice(&applied.get_output().stdout).unwrap();
    let warnings: Vec<usize> = result["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["warnings"].as_array().unwrap().len())
        .collect();
    assert_eq!(warnings, [0, 1, 1, 0]);
}

#[test]
fn k10_a_document_does_not_send_a_key_where_its_applier_may_not() {
    let mut canary = Canary::new();
    let key = canary.secret("upstream-key");
    let (upstream, thief) = (Engine::builder().key(&key).start(), Engine::start());
    let mcpd = Mcpd::builder().env("CHAT_KEY", &key).start();
    let document = |url: &str, key: &str| LLM.replace("http://127.0.0.1:9/v1", url) + key;
    let (boss, with_key) = (boss(&mcpd), "apiKeyRef: { env: CHAT_KEY }\n");
    apply(&boss, &document(&upstream.url(), with_key), &[]).code(0).stdout("llm/chat created\n");
    let grants =
        &[("view", "llms", None), ("run", "llms", None), ("edit", "llms", None), ("create", "llms", None)];
    let editor = Client::of(&mcpd.url(), &mcpd.user_with("editor", grants));
    let lacking = || says("standard input:1: llm/").and(says("you lack: run on secrets CHAT_KEY"));
    for more in [&[][..], &["--dry-run=server"]] {
        apply(&editor, &document(&thief.url(), with_key), more).code(5).stdout("").stderr(lacking());
        let mine = document(&thief.url(), with_key).replace("name: chat", "name: mine");
        apply(&editor, &mine, more).code(5).stdout("").stderr(lacking());
    }
    let told = says("warning: llm/chat: The LLM no longer uses the key in the environment variable CHAT_KEY");
    apply(&editor, &document(&thief.url(), ""), &[]).code(0).stdout("llm/chat configured\n").stderr(told);
    editor.infer_as("chat");
    assert!(thief.requests() > 0, "the thief's engine was never asked, so this shows nothing");
    canary.sweep(&[], &[("what the thief got", &thief.received())]);
}

#[test]
fn k09_no_command_shows_a_key() {
    let mut canary = Canary::new();
    let key = canary.secret("upstream-key");
    let mcpd = Mcpd::builder().env("CHAT_KEY", &key).start();
    let boss = boss(&mcpd);
    let document = format!("{LLM}apiKeyRef: {{ env: CHAT_KEY }}\n");
    let changed = document.replace("model: m", "model: other");
    let mut seen = Vec::new();
    let mut run = |args: &[&str], input: &str| {
        let output = boss.cmd(args.iter().chain(&["-v"])).write_stdin(input.to_owned()).output().unwrap();
        seen.extend(output.stdout);
        seen.extend(output.stderr);
    };
    for format in ["text", "json", "name"] {
        run(&["apply", "-f", "-", "-o", format], &document);
        run(&["apply", "-f", "-", "-o", format, "--dry-run=server"], &changed);
        run(&["delete", "llm", "chat", "-o", format, "--dry-run=server"], "");
    }
    run(&["diff", "-f", "-"], &changed);
    run(&["diff", "-f", "-", "-o", "name"], &changed);
    for format in ["table", "wide", "yaml", "json", "jsonl", "name", "csv"] {
        run(&["get", "all", "-o", format], "");
        run(&["get", "llm", "-o", format], "");
        run(&["get", "llm", "chat", "-o", format], "");
    }
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(text.contains("CHAT_KEY") && text.contains("+model: other"), "{text}");
    canary.sweep(&[boss.home(), &mcpd.data_dir()], &[("what was printed", &seen)]);
}

impl Client {
    /// Asks an LLM and does not care for the answer.
    fn infer_as(&self, llm: &str) {
        let _answer = self.cmd(["infer", llm, "hi"]).output().unwrap();
    }
}
