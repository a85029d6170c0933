//! `apply` against the real server: order, errors, rehearsals and races.

use crate::support::{Client, assert_logged, says};
use fakes::{Evild, Mcpd, Step, wire};
use predicates::prelude::*;
use serde_json::{Value, json};
use std::{fs, thread};

pub(crate) const LLM: &str =
    "kind: Llm\nname: chat\nlabels: { team: data }\ntype: openai\nurl: http://127.0.0.1:9/v1\nmodel: m\n";
const DANA: &str = "kind: User\nname: dana\nlabels: { team: data }\n";
const GROUP: &str =
    "kind: Group\nname: data\nlabels: { team: data }\nmembers: [{ kind: User, name: dana }]\n";
const RBAC: &str = "kind: Rbac\nname: data\nlabels: { team: data }\nsubjects: [{ kind: Group, name: data }]\n\
                    roleBindings: [{ role: view, resource: llms, name: chat }]\n";

/// The administrator's client.
pub(crate) fn boss(mcpd: &Mcpd) -> Client {
    Client::of(&mcpd.url(), mcpd.admin_token())
}

/// Everything that a team needs, in an order in which it could not be made.
pub(crate) fn team() -> String {
    [RBAC, GROUP, LLM, DANA].join("---\n")
}

/// Runs `apply -f -` with these documents and more arguments.
pub(crate) fn apply(client: &Client, documents: &str, more: &[&str]) -> assert_cmd::assert::Assert {
    client.cmd(["apply", "-f", "-"].iter().chain(more)).write_stdin(documents.to_owned()).assert()
}

#[test]
fn files_of_a_folder_are_applied_in_an_order_that_works_whatever_their_own() {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    let folder = boss.home().join("access");
    fs::create_dir_all(folder.join("deeper.yaml")).unwrap();
    for (name, text) in [
        (
            "10-rbac.json",
            json!({"apiVersion": "mcpctl/v1", "kind": "Rbac", "name": "data",
            "subjects": [{"kind": "Group", "name": "data"}], "roleBindings": []})
            .to_string(),
        ),
        ("20-group.yml", format!("# the team\n---\n{GROUP}")),
        (
            "30-people.yaml",
            format!("{DANA}---\nkind: ServiceAccount\nname: ci\n---\nkind: User\nname: ana\n"),
        ),
        (".40-half-saved.yaml", "kind: Nonsense\n".into()),
        ("notes.txt", "kind: Nonsense\n".into()),
        ("deeper.yaml/50.yaml", "kind: Nonsense\n".into()),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    fs::write(boss.home().join("llm.yaml"), LLM).unwrap();
    let paths = [folder.to_str().unwrap(), boss.home().join("llm.yaml").to_str().unwrap()].map(str::to_owned);
    let args = ["apply", "-f", &paths[0], "-f", &paths[1]];
    let lines = "user/dana created\nuser/ana created\nserviceaccount/ci created\ngroup/data created\n\
                 llm/chat created\nrbac/data created\n";
    boss.cmd(args).assert().code(0).stdout(lines).stderr("");
    boss.cmd(args).assert().code(0).stdout(lines.replace("created", "unchanged"));
    let delete = ["delete", "-f", &paths[0], "-f", &paths[1]];
    let gone = "rbac/data deleted\nllm/chat deleted\ngroup/data deleted\nserviceaccount/ci deleted\n\
                user/ana deleted\nuser/dana deleted\n";
    boss.cmd(delete).assert().code(0).stdout(gone);
    boss.cmd(delete.iter().chain(&["--ignore-not-found"])).assert().code(0).stdout("");
    boss.cmd(["apply", "-f", &format!("{}/deeper.yaml", paths[0]), "-f", "/nowhere"]).assert().code(2);
}

#[test]
fn a_mistake_anywhere_is_found_before_anything_is_sent() {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    let twice = format!("{DANA}---\n{LLM}---\n{DANA}");
    let both = says("standard input:12: user/dana is described in standard input:1 already");
    apply(&boss, &twice, &[]).code(2).stdout("").stderr(both);
    let odd = format!("{DANA}---\nkind: User\nname: x\nlabels: {{ team: data, -x: y }}\n");
    apply(&boss, &odd, &[])
        .code(2)
        .stdout("")
        .stderr(says("standard input:7:27\n").and(says("a label begins and ends")));
    for args in [
        &["apply", "-f", "-", "--dry-run=client"][..],
        &["apply", "-f", "-", "--prune"],
        &["apply", "-f", "-", "-l", "a=b"],
        &["apply", "-f", "-", "--prune", "-l", "a"],
        &["apply", "-f", "-", "--prune", "-l", ""],
        &["apply", "-f", "-", "-o", "table"],
        &["apply"],
    ] {
        boss.cmd(args).write_stdin(DANA).assert().code(2).stdout("");
    }
    assert_logged(&mcpd, "POST", 0);
    assert_logged(&mcpd, "PUT", 0);
}

#[test]
fn the_first_failure_ends_it_and_says_what_was_done_and_what_was_not() {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    let documents = [RBAC, DANA, &GROUP.replace("name: dana }", "name: nobody }"), LLM].join("---\n");
    let told =
        says("error: standard input:11: group/data: the server answered 422 (There is no User nobody)")
            .and(says("  done: user/dana created\n  not done: group/data, llm/chat, rbac/data\n"));
    apply(&boss, &documents, &[]).code(9).stdout("user/dana created\n").stderr(told);
    let failed = apply(&boss, &documents, &["-o", "json"]).code(9);
    let error: Value = serde_json::from_slice(&failed.get_output().stdout).unwrap();
    assert_eq!((&error["kind"], &error["exitCode"]), (&json!("Error"), &json!(9)));
    assert_eq!(error["done"][0]["action"], json!("unchanged"));
    assert_eq!(error["notDone"], json!(["group/data", "llm/chat", "rbac/data"]));
}

#[test]
fn results_for_programs() {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    apply(&boss, DANA, &["-o", "name"]).code(0).stdout("user/dana\n");
    let applied = apply(&boss, &team(), &["-o", "json"]).code(0);
    let result: Value = serde_json::from_slice(&applied.get_output().stdout).unwrap();
    assert_eq!((&result["kind"], &result["dryRun"]), (&json!("ApplyResult"), &json!(false)));
    let items = result["items"].as_array().unwrap();
    assert_eq!(
        items[0],
        json!({"kind": "User", "name": "dana", "action": "unchanged", "warnings": [], "source": "standard input:19"})
    );
    let actions: Vec<_> = items.iter().map(|item| item["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["unchanged", "created", "created", "created"]);
    let changed = LLM.replace("model: m", "model: other");
    apply(&boss, &changed, &[]).code(0).stdout("llm/chat configured\n");
}

#[test]
fn a_dry_run_asks_the_server_and_changes_nothing() {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    let dry = "user/dana created (dry run)\ngroup/data created (dry run)\nllm/chat created (dry run)\n\
               rbac/data created (dry run)\n";
    let note =
        says("note: group/data: checked without 1 of its members, which are not there before the real thing");
    apply(&boss, &team(), &["--dry-run=server"]).code(0).stdout(dry).stderr(note);
    boss.cmd(["get", "all", "-o", "name"]).assert().code(0).stdout("user/admin\nrbac/bootstrap-admin\n");
    apply(&boss, &team(), &[]).code(0).stdout(dry.replace(" (dry run)", ""));
    let changed = team().replace("model: m", "model: other");
    let lines = "user/dana unchanged (dry run)\ngroup/data unchanged (dry run)\nllm/chat configured (dry run)\n\
                 rbac/data unchanged (dry run)\n";
    apply(&boss, &changed, &["--dry-run=server"]).code(0).stdout(lines).stderr("");
    boss.cmd(["get", "llm", "chat", "-o", "yaml"]).assert().stdout(says("model: m\n"));
    boss.cmd(["delete", "llm/chat", "rbac/data", "--dry-run=server"])
        .assert()
        .code(0)
        .stdout("llm/chat deleted (dry run)\nrbac/data deleted (dry run)\n");
    boss.cmd(["diff", "-f", "-"]).write_stdin(team()).assert().code(0).stdout("");
}

#[test]
fn a_dry_run_says_what_the_real_thing_would_do_with_a_group_and_its_new_members() {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    apply(&boss, &team(), &[]).code(0);
    let ana = "kind: User\nname: ana\nlabels: { team: data }\n";
    let more = GROUP.replace("name: dana }", "name: dana }, { kind: User, name: ana }");
    let documents = [ana, &more].join("---\n");
    let dry = "user/ana created (dry run)\ngroup/data configured (dry run)\n";
    let note = says("note: group/data: checked without 1 of its members");
    apply(&boss, &documents, &["--dry-run=server"]).code(0).stdout(dry).stderr(note);
    apply(&boss, &documents, &[]).code(0).stdout(dry.replace(" (dry run)", ""));
}

#[test]
fn a_byte_order_mark_at_the_start_is_skipped() {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    let marked = format!("\u{feff}---\n{DANA}");
    let file = boss.home().join("marked.yaml");
    fs::write(&file, format!("\u{feff}{DANA}---\n{LLM}")).unwrap();
    let file = file.to_str().unwrap();
    apply(&boss, &marked, &[]).code(0).stdout("user/dana created\n").stderr("");
    boss.cmd(["diff", "-f", file, "-o", "name"]).assert().code(3).stdout("llm/chat\n");
    boss.cmd(["apply", "-f", file]).assert().code(0).stdout("user/dana unchanged\nllm/chat created\n");
    boss.cmd(["delete", "-f", file]).assert().code(0).stdout("llm/chat deleted\nuser/dana deleted\n");
    let inside = says("standard input:4:1\n").and(says("a byte order mark"));
    apply(&boss, &format!("{DANA}\u{feff}x: y\n"), &[]).code(2).stdout("").stderr(inside);
}

/// A double for a server that does not know dry runs: it would have done the real thing.
#[test]
fn a_dry_run_that_the_server_does_not_confirm_is_an_error() {
    let created = wire::json_answer(201, &json!({"kind": "User", "name": "dana"}));
    let missing = wire::json_answer(404, &json!({}));
    let old = Evild::start([missing, created].map(|answer| vec![Step::ReadRequest, Step::Send(answer)]));
    let boss = Client::of(&old.url(), "mcpd_0123456789abcdef_canary");
    let told = says("does not say that this was a dry run, so it may have been done");
    apply(&boss, DANA, &["--dry-run=server"]).code(7).stdout("").stderr(told);
    assert_eq!(old.requests()[1].target, "/api/v1/users?dryRun=server");
}

/// A double for a server on which somebody else is faster between a look and a change.
#[test]
fn whoever_is_overtaken_overwrites_nothing_unless_both_want_the_same() {
    let user = |label: &str| json!({"kind": "User", "name": "dana", "labels": {"team": label}});
    let answer = |version: &str, label: &str| {
        let headers = [("content-type", "application/json"), ("etag", version)];
        Step::Send(wire::http(200, &headers, user(label).to_string()))
    };
    let refused = Step::Send(wire::http(
        412,
        &[
            ("content-type", "application/json"),
            ("mcpd-error-origin", "gateway"),
            ("mcpd-error-code", "precondition_failed"),
        ],
        wire::error("It was changed by somebody else meanwhile; read it again.", 412).to_string(),
    ));
    for (theirs, code, out) in [("other", 9, ""), ("data", 0, "user/dana unchanged\n")] {
        let answers = [answer("\"1\"", "old"), refused.clone(), answer("\"2\"", theirs)];
        let server = Evild::start(answers.map(|answer| vec![Step::ReadRequest, answer]));
        let boss = Client::of(&server.url(), "mcpd_0123456789abcdef_canary");
        let run = apply(&boss, DANA, &[]).code(code).stdout(out);
        if code == 9 {
            run.stderr(says("user/dana: the server answered 412 (It was changed by somebody else meanwhile"));
        }
        let methods: Vec<_> = server.requests().iter().map(|request| request.method.clone()).collect();
        assert_eq!(methods, ["GET", "PUT", "GET"]);
        assert_eq!(server.requests()[1].headers.all("if-match"), ["\"1\""]);
    }
}

#[test]
fn appliers_at_once_leave_what_one_of_them_wanted() {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    apply(&boss, LLM, &[]).code(0);
    let outcomes: Vec<(i32, String)> = thread::scope(|scope| {
        let run = |number: usize| {
            let (boss, text) = (&boss, LLM.replace("model: m", &format!("model: m{number}")));
            move || {
                let output = boss.cmd(["apply", "-f", "-"]).write_stdin(text).output().unwrap();
                (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
            }
        };
        let threads: Vec<_> = (0..6).map(|number| scope.spawn(run(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (code, told) in &outcomes {
        assert!(*code == 0 || (*code == 9 && told.contains("412")), "{outcomes:?}");
    }
    assert!(outcomes.iter().any(|(code, _)| *code == 0), "{outcomes:?}");
    boss.cmd(["get", "llm", "chat"]).assert().stdout(predicate::str::is_match("chat  m[0-5] ").unwrap());
}
