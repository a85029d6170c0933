//! The commands around `infer`: contexts, administration, audit, and what they print for people and programs.

use crate::support::{Client, PROMPT, Stage, TEN_WORDS, provider, says};
use fakes::{Engine, Evild, Fault, Mcpd, wire};
use predicates::prelude::*;
use serde_json::Value;
use std::fs;

fn json(client: &Client, args: &[&str]) -> Value {
    let output = client.cmd(args.iter().chain(&["-o", "json"])).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}

#[test]
fn an_identity_that_is_set_to_nothing_is_not_somebody_elses() {
    let stage = Stage::new();
    let mut login = stage.dana.cmd(["auth", "login", "--token-stdin"]);
    login.write_stdin(stage.dana_token.clone()).assert().code(0);
    for name in ["MCPCTL_TOKEN", "MCPCTL_TOKEN_FILE"] {
        let mut command = stage.dana.cmd(["auth", "whoami"]);
        command.env_remove("MCPCTL_TOKEN_FILE").assert().code(0);
        command.env(name, "").assert().code(2).stdout("").stderr(says(&format!("{name} is set and empty")));
    }
    stage.dana.cmd(["auth", "logout"]).assert().code(0);
}

#[test]
fn first_contact_from_a_context_to_a_list() {
    let stage = Stage::new();
    let dana = Client::stranger(&stage.mcpd.url());
    let cmd = |args: &[&str]| {
        let mut command = dana.cmd(args);
        command.env_remove("MCPCTL_SERVER");
        command
    };
    cmd(&["llm", "list"]).assert().code(2).stderr(says("config set-context NAME --server URL"));
    let set = ["config", "set-context", "prod", "--server", &stage.mcpd.url()];
    cmd(&set).assert().code(0).stdout("Context \"prod\" created and selected.\n");
    cmd(&set).assert().code(0).stdout("Context \"prod\" changed and selected.\n");
    cmd(&["auth", "login", "--token-stdin"]).write_stdin(stage.dana_token.clone()).assert().code(0);
    let row = predicate::str::is_match(
        r"prod \* +http://127.0.0.1:\d+ +dana@example.com +file \(0600\) +never +yes \(\d+ ms\)\n",
    );
    cmd(&["auth", "status"]).assert().code(0).stdout(row.unwrap());
    let list =
        "NAME       MODEL  VERBS     FAILOVER  LOCAL PROVIDER\nchat-prod  tiny   view,run  allowed   -\n";
    cmd(&["llm", "list"]).assert().code(0).stdout(list);
    cmd(&["config", "set-context", "dev", "--server", "https://dev.example.com"])
        .assert()
        .code(0)
        .stdout("Context \"dev\" created.\n");
    cmd(&["config", "use-context", "de"]).assert().code(2).stderr(says("did you mean \"dev\"?"));
    cmd(&["config", "use-context", "dev"]).assert().code(0);
    cmd(&["config", "get-contexts", "-o", "name"]).assert().stdout("prod\ndev\n");
    cmd(&["llm", "list"]).assert().code(4).stderr(says("not logged in to https://dev.example.com"));
    cmd(&["llm", "list", "--context", "prod"]).assert().code(0);

    cmd(&["config", "delete-context", "de"]).assert().code(2).stderr(says("did you mean \"dev\"?"));
    cmd(&["config", "delete-context", "dev"])
        .assert()
        .code(0)
        .stdout("Context \"dev\" deleted.\n")
        .stderr(says("use-context NAME"));
    cmd(&["config", "get-contexts", "-o", "name"]).assert().stdout("prod\n");
    cmd(&["config", "delete-context", "dev"]).assert().code(2);
    // The token belongs to the server, not to the context that is gone.
    cmd(&["config", "use-context", "prod"]).assert().code(0);
    cmd(&["llm", "list"]).assert().code(0);
}

#[test]
fn the_same_list_in_every_format() {
    let stage = Stage::new();
    let list = |format| stage.dana.cmd(["llm", "list", "-o", format]).assert().code(0);
    list("name").stdout("chat-prod\n");
    list("csv").stdout(says(
        "name,model,verbs,failover,local_provider,id,type,url,enabled\nchat-prod,tiny,\"view,run\"",
    ));
    list("wide").stdout(says("ENABLED"));
    list("yaml").stdout(says("apiVersion: mcpctl/v1\nkind: LlmList\nitems:\n- id: c"));
    list("jsonl")
        .stdout(predicate::str::starts_with("{\"id\":\"c").and(says("\"localProvider\":\"laptop\"")));
    let document = json(&stage.dana, &["llm", "list"]);
    assert_eq!((&document["kind"], &document["items"][0]["name"]), (&"LlmList".into(), &"chat-prod".into()));
    stage.dana.cmd(["llm", "list", "-o", "text"]).assert().code(2).stderr(says("it has: table, wide"));
    stage.dana.cmd(["llm", "list"]).env("MCPCTL_OUTPUT", "name").assert().stdout("chat-prod\n");
    stage.dana.cmd(["llm", "get", "chat-prod"]).assert().code(0).stdout(says("name: chat-prod"));
}

#[test]
fn llm_head_tells_the_verdict_by_word_and_code() {
    let stage = Stage::new();
    let head = |name: &str| stage.dana.cmd(["llm", "head", name]).assert();
    head("chat-prod").code(0).stdout("allowed\n");
    head("other").code(5).stdout("denied: run is not granted (403)\n");
    stage.mcpd.delete_binding("dana-chat");
    head("chat-prod").code(5);
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    boss.cmd(["llm", "head", "other"]).assert().code(9);
    stage.mcpd.revoke_token(&stage.dana_token);
    head("chat-prod").code(4);
    let nobody = Client::of("http://127.0.0.1:9", "mcpd_a_b");
    nobody
        .cmd(["llm", "head", "chat-prod"])
        .assert()
        .code(6)
        .stdout(says("unknown: cannot reach 127.0.0.1:9"));
    stage.assert_local_untouched();
}

#[test]
fn administration_by_documents_from_nothing_to_an_answer() {
    let (upstream, mcpd) = (Engine::start(), Mcpd::start());
    let boss = Client::of(&mcpd.url(), mcpd.admin_token());
    let documents = format!(
        "apiVersion: mcpctl/v1\nkind: Llm\nname: chat-prod\ntype: openai\nurl: {}\nmodel: tiny\n---\n\
         kind: User\nname: dana@example.com\n---\nkind: ServiceAccount\nname: ci\n---\n\
         kind: Group\nname: data\nmembers: [{{ kind: User, name: dana@example.com }}]\n---\n\
         kind: Rbac\nname: data-team\nsubjects: [{{ kind: Group, name: data }}]\nroleBindings:\n\
         - {{ role: view, resource: llms, name: chat-prod }}\n- {{ role: run, resource: llms, name: chat-prod }}\n",
        upstream.url()
    );
    let created = "user/dana@example.com created\nserviceaccount/ci created\ngroup/data created\n\
                   llm/chat-prod created\nrbac/data-team created\n";
    boss.cmd(["apply", "-f", "-"]).write_stdin(documents.clone()).assert().code(0).stdout(created);
    let again = boss.cmd(["apply", "-f", "-"]).write_stdin(documents.clone()).assert().code(0);
    again.stdout(created.replace("created", "unchanged"));

    let output =
        boss.cmd(["token", "create", "--user", "dana@example.com", "--expires", "30d"]).output().unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    assert!(token.starts_with("mcpd_") && token.lines().count() == 1, "{} bytes", token.len());
    let dana = Client::of(&mcpd.url(), token.trim());
    dana.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n"));
    dana.cmd(["auth", "can-i", "run", "llm/chat-prod"])
        .assert()
        .code(0)
        .stdout(says("yes (by role binding \"data-team\")"));
    dana.cmd(["auth", "can-i", "edit", "llm/chat-prod"]).assert().code(3).stdout("no\n");
    dana.cmd(["apply", "-f", "-"])
        .write_stdin(documents.clone())
        .assert()
        .code(5)
        .stderr(says("user/dana@example.com"));
    dana.cmd(["auth", "status"]).assert().stdout(predicate::str::is_match("in (29|30)d").unwrap());

    let id = token.split('_').nth(1).unwrap();
    boss.cmd(["token", "revoke", id]).assert().code(0).stdout(format!("Token {id} revoked.\n"));
    dana.cmd(["llm", "list"]).assert().code(4);
    boss.cmd(["token", "list"]).assert().stdout(says("revoked"));
    boss.cmd(["delete", "-f", "-"]).write_stdin(documents).assert().code(0);
    boss.cmd(["llm", "list", "-o", "name"]).assert().code(0).stdout("");
}

#[test]
fn i06_apply_warns_when_a_name_brings_old_bindings_with_it() {
    let stage = Stage::new();
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    boss.cmd(["delete", "llm", "chat-prod"]).assert().code(0);
    let document =
        format!("kind: Llm\nname: chat-prod\ntype: openai\nurl: {}\nmodel: m\n", stage.upstream.url());
    let warned = says("warning: llm/chat-prod: Role bindings that were there before").and(says("dana-chat"));
    boss.cmd(["apply", "-f", "-"])
        .write_stdin(document)
        .assert()
        .code(0)
        .stdout("llm/chat-prod created\n")
        .stderr(warned);
}

#[test]
fn a_mistake_in_a_document_is_found_before_anything_is_sent() {
    let mcpd = Mcpd::start();
    let boss = Client::of(&mcpd.url(), mcpd.admin_token());
    let apply =
        |text: &str| boss.cmd(["apply", "-f", "-"]).write_stdin(text.to_owned()).assert().code(2).stdout("");
    let good = "kind: User\nname: dana\n---\n";
    apply(&format!("{good}kind: Llm\nname: x\nurll: y\n"))
        .stderr(says("standard input:6:1").and(says("did you mean `url`?")));
    apply(&format!("{good}kind: Lm\nname: x\n"))
        .stderr(says("standard input:4:7").and(says("unknown kind")).and(says("did you mean Llm?")));
    apply(&format!("{good}kind: User\nname: a b\n")).stderr(says("not ' '"));
    apply(&format!("{good}apiVersion: mcpctl/v9\nkind: User\nname: x\n")).stderr(says("expected mcpctl/v1"));
    apply("# nothing\n").stderr(says("there is no document"));
    boss.cmd(["delete", "rbca", "x"]).assert().code(2).stderr(says("did you mean rbac?"));
    boss.cmd(["delete", "rbac", "x"]).assert().code(9).stderr(says("rbac/x"));
    let users = mcpd.request("GET", "/api/v1/users", Some(mcpd.admin_token()), &[], b"").text();
    assert!(!users.contains("dana"), "a document was sent before all were read: {users}");
}

#[test]
fn audit_of_the_failovers_as_declared_and_as_they_would_go_now() {
    let stage = Stage::new();
    let declared = "LLM        PROVIDER  TYPE    MODEL         DECLARED AT\n\
                    chat-prod  laptop    openai  laptop-model  ~/.config/mcpctl/providers.yaml:4\n";
    stage.dana.cmd(["providers", "failovers"]).assert().code(0).stdout(declared);
    let probe = || stage.dana.cmd(["providers", "failovers", "--probe"]).assert();
    probe().code(0).stdout(predicate::str::is_match("allowed +running +yes").unwrap());
    stage.local.set_fault(Fault::Loading);
    probe().code(3).stdout(predicate::str::is_match("allowed +not ready +no").unwrap());
    stage.local.set_fault(Fault::None);
    stage.mcpd.delete_binding("dana-chat");
    probe().code(3).stdout(predicate::str::is_match(r"denied \(403\) +running +no").unwrap());
    assert!(stage.local.chats().is_empty(), "a probe sent a prompt");
    let document = json(&stage.dana, &["providers", "failovers", "--probe"]);
    assert_eq!(
        (&document["items"][0]["ready"], &document["items"][0]["permission"]["verdict"]),
        (&false.into(), &"denied".into())
    );
}

#[test]
fn a_provider_on_another_machine_is_told_of_everywhere() {
    let dana = Client::stranger("http://127.0.0.1:9");
    let remote = provider("box", "chat-prod", "http://10.0.0.7:1/v1", true);
    dana.providers(&remote);
    dana.cmd(["providers", "validate"]).assert().code(2).stderr(says("say `remote: true`"));
    dana.providers(&(remote + "    remote: true\n"));
    dana.cmd(["providers", "failovers", "-o", "wide"])
        .assert()
        .code(0)
        .stdout(says("remote: prompts leave this machine"));
    assert_eq!(json(&dana, &["providers", "failovers"])["items"][0]["remote"], true);
    assert_eq!(json(&dana, &["providers", "get", "box"])["remote"], true);
    dana.cmd(["providers", "get", "bax"]).assert().code(2).stderr(says("did you mean \"box\"?"));
}

#[test]
fn the_question_is_put_together_from_all_its_parts() {
    let stage = Stage::new();
    let file = stage.dana.home().join("issue.md");
    fs::write(&file, "canary-prompt body of the issue\n").unwrap();
    let file = file.to_str().unwrap();
    stage
        .dana
        .cmd(["infer", "chat-prod", "What is it?", "-s", "Be brief.", "-f", file])
        .write_stdin("and this\n")
        .assert()
        .code(0);
    let said = &stage.upstream.bodies()[0]["messages"];
    assert_eq!(said[0]["content"], "Be brief.");
    assert_eq!(said[1]["content"], "What is it?\n\ncanary-prompt body of the issue\n\nand this");
    fs::remove_file(file).unwrap();

    let more = [
        "--max-tokens",
        "7",
        "--temperature",
        "0.5",
        "--param",
        "top_p=0.9",
        "--param",
        "stop=END",
        "--no-stream",
    ];
    stage.dana.infer(&more).code(0).stdout(format!("{TEN_WORDS}\n"));
    let body = &stage.upstream.bodies()[1];
    assert_eq!((&body["max_tokens"], &body["top_p"], &body["stop"]), (&7.into(), &0.9.into(), &"END".into()));
    assert_eq!((&body["stream"], &body["model"]), (&false.into(), &"tiny".into()));

    let conversation = stage.dana.home().join("c.yaml");
    fs::write(&conversation, "- { role: user, content: one }\n- { role: assistant, content: two }\n")
        .unwrap();
    let named = ["infer", "chat-prod", "three", "--messages", conversation.to_str().unwrap()];
    stage.dana.cmd(named).assert().code(0);
    assert_eq!(stage.upstream.bodies()[2]["messages"].as_array().unwrap().len(), 3);
    let id = json(&stage.dana, &["llm", "get", "chat-prod"])["id"].as_str().unwrap().to_owned();
    stage.dana.cmd(["infer", &id, PROMPT]).assert().code(0).stdout(format!("{TEN_WORDS}\n"));
}

#[test]
fn bad_input_is_refused_before_anything_is_sent() {
    let stage = Stage::new();
    let refused = |args: &[&str], message: &str| {
        stage.dana.cmd(["infer"].iter().chain(args)).assert().code(2).stdout("").stderr(says(message));
    };
    refused(&["chat-prod"], "there is no question");
    refused(&["chat-prod", "hi", "--param", "model=x"], "mcpctl sets it");
    refused(&["chat-prod", "hi", "--param", "x"], "KEY=VALUE");
    refused(&["chat-prod", "hi", "-f", "/nowhere"], "/nowhere does not exist");
    refused(&["chat-prod", "hi", "-o", "table"], "it has: text, json");
    refused(&["chat-prod", "hi", "--idle-timeout", "soon"], "500ms, 5s or 2m");
    for name in ["", "Chat", "../x", "chat%2fprod", "a..b", "x y", &"a".repeat(64), "chаt"] {
        refused(&[name, "hi"], "is no LLM");
    }
    stage
        .dana
        .cmd(["infer", "chat-prod"])
        .write_stdin(vec![0xff, 0xfe])
        .assert()
        .code(2)
        .stderr(says("not UTF-8"));
    assert_eq!(stage.upstream.requests(), 0);
    assert!(!stage.mcpd.logs().contains("/infer"), "something was sent");
}

#[test]
fn a_truncated_answer_warns_and_strict_makes_it_an_error() {
    let stage = Stage::new();
    stage.upstream.set_fault(Fault::FinishReason("length".into()));
    let warned = says("warning: the answer reached --max-tokens 5 and is truncated (finish_reason: length)");
    stage.dana.infer(&["--max-tokens", "5"]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(warned);
    stage.dana.infer(&["--strict"]).code(8).stderr(says("error: the answer is truncated"));
    stage.upstream.set_fault(Fault::None);
    let used = predicate::str::is_match(
        r"note: chat-prod, central \(tiny\), \d+ tokens in, \d+ out, first token \d",
    );
    stage.dana.infer(&["--strict", "--usage"]).code(0).stderr(used.unwrap());
}

#[test]
fn routes_force_one_side_and_a_drill_still_asks() {
    let stage = Stage::new();
    stage
        .dana
        .infer(&["--route", "local"])
        .code(0)
        .stdout("Hello from the laptop.\n")
        .stderr(says("note: failover: answering"));
    assert_eq!((stage.upstream.requests(), stage.local.requests()), (0, 1));
    stage.mcpd.delete_binding("dana-chat");
    stage
        .dana
        .infer(&["--route", "local"])
        .code(5)
        .stdout("")
        .stderr(says("failover refused: run is not granted"));
    assert_eq!(stage.local.requests(), 1);
    let stage = Stage::new();
    stage.upstream.stop();
    stage
        .dana
        .infer(&["--route", "central"])
        .code(7)
        .stdout("")
        .stderr(says("and --route central forbids a failover"));
    let (code, document) = stage.dana.infer_json(&["--route", "central", "-q"]);
    assert_eq!((code, &document["kind"], &document["exitCode"]), (7, &"Error".into(), &7.into()));
    stage.assert_local_untouched();
}

#[test]
fn help_has_its_topics_and_names_every_exit_code() {
    let nobody = Client::stranger("http://127.0.0.1:9");
    for code in ["   0  ok", "   6  unverified", "   8  incomplete", " 130  interrupted"] {
        nobody.cmd(["help", "exit-codes"]).assert().code(0).stdout(says(code));
    }
    nobody.cmd(["help", "environment"]).assert().code(0).stdout(says("MCPCTL_TOKEN_FILE"));
    nobody.cmd(["help", "failover"]).assert().code(0).stdout(says("Only a clear yes counts"));
    nobody.cmd(["help", "llm", "head"]).assert().code(0).stdout(says("Exit codes: 0 allowed"));
    nobody.cmd(["help", "nothing"]).assert().code(2);
    nobody.cmd(["version"]).assert().code(0).stdout(format!("mcpctl {}\n", env!("CARGO_PKG_VERSION")));
    nobody.cmd(["llm", "lst"]).assert().code(2).stderr(says("'list'"));
    let documents = nobody.cmd(["llm", "lst", "-o", "json"]).assert().code(2).stderr(says("'list'"));
    documents.stdout(says("\"kind\": \"Error\"").and(says("\"exitCode\": 2")));
}

#[test]
fn without_a_home_a_named_server_and_token_are_enough() {
    let stage = Stage::new();
    let mut command = stage.dana.cmd(["infer", "chat-prod", PROMPT]);
    command.env_remove("HOME").assert().code(0).stdout(format!("{TEN_WORDS}\n"));
}

#[test]
fn a_url_of_the_wrong_kind_is_told_as_that() {
    let stage = Stage::new();
    let https = stage.mcpd.url().replace("http://", "https://");
    stage
        .dana
        .cmd(["llm", "list", "--server", &https])
        .assert()
        .code(7)
        .stderr(says("is it http:// instead of https://?"));
    let page = Evild::answering(wire::http(200, &[("content-type", "text/html")], "<h1>hi</h1>"));
    stage
        .dana
        .cmd(["llm", "list", "--server", &page.url()])
        .assert()
        .code(7)
        .stderr(says("content type \"text/html\""));
}
