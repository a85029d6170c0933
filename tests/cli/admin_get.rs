//! `get`, `diff`, `--prune` and `explain` against the real server: what is shown, and what stays as it is.

use crate::{
    admin_apply::{apply, boss, team},
    support::{Client, assert_logged, says},
};
use fakes::Mcpd;
use predicates::prelude::*;
use serde_json::{Value, json};
use std::fs;

fn with_team() -> (Mcpd, Client) {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    apply(&boss, &team(), &[]).code(0);
    (mcpd, boss)
}

#[test]
fn what_get_prints_apply_takes_back_and_nothing_changes() {
    let (mcpd, boss) = with_team();
    // Words that YAML reads as something else, and text of its own characters.
    let odd = "kind: Llm\nname: odd\nlabels: { on: 'true', a: '1.0', b: '', c: 'null' }\ndisplayName: \"- 'a': #b ü\"\n\
               type: 'no'\nurl: http://127.0.0.1:9/v1\nmodel: '0x1f'\nenabled: false\nfailover: forbidden\n\
               contextLength: 1000\napiKeyRef: { file: /run/key }\n---\n\
               kind: Group\nname: mixed\nmembers: [{ kind: User, name: dana }, { kind: ServiceAccount, name: '1' }]\n\
               ---\nkind: ServiceAccount\nname: '1'\n";
    apply(&boss, odd, &[]).code(0);
    let shown = |format: &str| {
        let output = boss.cmd(["get", "all", "-o", format]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (documents, times) =
        (shown("yaml"), boss.cmd(["llm", "list", "-o", "json"]).output().unwrap().stdout);
    assert!(
        documents.starts_with("apiVersion: mcpctl/v1\nkind: User\nname: admin\n---\napiVersion"),
        "{documents}"
    );
    let unchanged = predicate::str::is_match("^(?:[a-z]+/[a-z0-9-]+ unchanged\n){9}$").unwrap();
    apply(&boss, &documents, &[]).code(0).stdout(unchanged).stderr("");
    assert_eq!(shown("yaml"), documents);
    assert_eq!(boss.cmd(["llm", "list", "-o", "json"]).output().unwrap().stdout, times, "a time has moved");
    assert_logged(&mcpd, "PUT", 0);
    boss.cmd(["diff", "-f", "-"]).write_stdin(documents.clone()).assert().code(0).stdout("");
    // Even where somebody sends it all anyway.
    let lists = ["users", "llms", "rbac"].map(|kind| {
        mcpd.request("GET", &format!("/api/v1/{kind}"), Some(mcpd.admin_token()), &[], b"").text()
    });
    boss.cmd(["delete", "-f", "-", "--dry-run=server", "--ignore-not-found"])
        .write_stdin(documents)
        .assert()
        .code(9);
    let after = ["users", "llms", "rbac"].map(|kind| {
        mcpd.request("GET", &format!("/api/v1/{kind}"), Some(mcpd.admin_token()), &[], b"").text()
    });
    assert_eq!(after, lists);
}

#[test]
fn every_kind_has_its_table_and_every_format_its_text() {
    let (_mcpd, boss) = with_team();
    let get = |args: &[&str]| boss.cmd(["get"].iter().chain(args)).assert().code(0);
    get(&["llm"]).stdout(
        "NAME  MODEL  URL                    ENABLED  FAILOVER\n\
                          chat  m      http://127.0.0.1:9/v1  yes      allowed\n",
    );
    get(&["LLMs", "-o", "wide"])
        .stdout(says("KEY  CONTEXT  LABELS\n").and(says("  -    -        team=data\n")));
    get(&["rbac", "data"]).stdout("NAME  SUBJECTS    GRANTS\ndata  group/data  view llms/chat\n");
    get(&["groups"]).stdout("NAME  MEMBERS\ndata  user/dana\n");
    get(&["user/dana", "group/data"]).stdout("NAME        ABOUT\nuser/dana   -\ngroup/data  user/dana\n");
    get(&["all", "-l", "team=data", "-o", "name"]).stdout("user/dana\ngroup/data\nllm/chat\nrbac/data\n");
    get(&["user,rbac", "-o", "name"]).stdout("user/admin\nuser/dana\nrbac/bootstrap-admin\nrbac/data\n");
    get(&["all", "-l", "team=other"]).stdout("NAME  ABOUT\n");
    get(&["serviceaccounts", "-o", "yaml"]).stdout("");
    get(&["user", "dana", "-o", "yaml"])
        .stdout("apiVersion: mcpctl/v1\nkind: User\nname: dana\nlabels:\n  team: data\n");
    get(&["user", "-o", "csv"]).stdout("name,labels\nadmin,\ndana,team=data\n");
    let json = |args: &[&str]| -> Value {
        serde_json::from_slice(&get(&[args, &["-o", "json"]].concat()).get_output().stdout).unwrap()
    };
    let dana = json!({"apiVersion": "mcpctl/v1", "kind": "User", "name": "dana", "labels": {"team": "data"}});
    assert_eq!(json(&["user", "dana"]), dana);
    let list = json(&["user", "dana", "admin"]);
    assert_eq!((&list["kind"], &list["items"][0]), (&json!("List"), &dana));
    get(&["user", "dana", "-o", "jsonl"]).stdout(format!("{dana}\n"));
    let wrong = |args: &[&str], code: i32, told: &str| {
        boss.cmd(["get"].iter().chain(args)).assert().code(code).stdout("").stderr(says(told));
    };
    wrong(&["lm"], 2, "unknown kind \"lm\" (did you mean llm?)");
    wrong(&["llm", "No"], 2, "\"No\": a name starts with");
    wrong(&["llm/chat", "dana"], 2, "\"dana\" is not KIND/NAME like the others");
    wrong(&["user", "dana", "-l", "a=b"], 2, "leave it or the names out");
    wrong(&["llm", "chat", "nope"], 9, "llm/nope does not exist on the server, or you may not see it");
    wrong(&["all", "x"], 2, "all has no names");
}

#[test]
fn a09_get_shows_only_what_its_reader_may_view() {
    let (mcpd, boss) = with_team();
    let grants = &[("view", "users", Some("dana")), ("view", "llms", Some("chat"))];
    let reader = Client::of(&mcpd.url(), &mcpd.user_with("reader", grants));
    reader.cmd(["get", "all", "-o", "name"]).assert().code(0).stdout("user/dana\nllm/chat\n");
    reader
        .cmd(["get", "all", "-l", "team=data", "-o", "name"])
        .assert()
        .code(0)
        .stdout("user/dana\nllm/chat\n");
    for format in ["table", "wide", "yaml", "json", "jsonl", "csv"] {
        let shown = reader.cmd(["get", "all", "-o", format]).assert().code(0);
        let text = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
        assert!(
            !["admin", "group", "rbac", "Rbac"].iter().any(|word| text.contains(word)),
            "{format}: {text}"
        );
    }
    reader.cmd(["get", "group", "data"]).assert().code(5).stdout("");
    reader.cmd(["get", "group", "absent"]).assert().code(5).stdout("");
    reader.cmd(["diff", "-f", "-"]).write_stdin(team()).assert().code(5).stdout("");
    // Nor does it remove what it may not see.
    let pruned =
        apply(&reader, "kind: User\nname: dana\nlabels: { team: data }\n", &["--prune", "-l", "team=data"]);
    pruned
        .code(5)
        .stdout("user/dana unchanged\n")
        .stderr(says("error: llm/chat: ").and(says("not done: llm/chat\n")));
    boss.cmd(["get", "all", "-l", "team=data", "-o", "name"])
        .assert()
        .stdout("user/dana\ngroup/data\nllm/chat\nrbac/data\n");
}

#[test]
fn a_diff_is_empty_without_drift_and_exits_3_with_it() {
    let (mcpd, boss) = with_team();
    let diff = |text: &str, more: &[&str]| {
        boss.cmd(["diff", "-f", "-"].iter().chain(more)).write_stdin(text.to_owned()).assert()
    };
    diff(&team(), &[]).code(0).stdout("").stderr("");
    let changed =
        team().replace("role: view", "role: run").replace("team: data }\ntype", "team: ops }\ntype");
    let shown = "\
--- server llm/chat
+++ standard input:12 llm/chat
@@ -2,7 +2,7 @@
 kind: Llm
 name: chat
 labels:
-  team: data
+  team: ops
 type: openai
 url: http://127.0.0.1:9/v1
 model: m
--- server rbac/data
+++ standard input:1 rbac/data
@@ -7,6 +7,6 @@
 - kind: Group
   name: data
 roleBindings:
-- role: view
+- role: run
   resource: llms
   name: chat
";
    diff(&changed, &[]).code(3).stdout(shown);
    diff(&changed, &["-o", "name"]).code(3).stdout("llm/chat\nrbac/data\n");
    let coloured = says("\x1b[31m-  team: data\x1b[0m\n\x1b[32m+  team: ops\x1b[0m\n");
    diff(&changed, &["--color", "always"]).code(3).stdout(coloured);
    let absent = "--- server user/new (absent)\n+++ standard input:1 user/new\n@@ -0,0 +1,3 @@\n\
                  +apiVersion: mcpctl/v1\n+kind: User\n+name: new\n";
    diff("kind: User\nname: new\n", &[]).code(3).stdout(absent);
    let fewer = team().replace("kind: User\nname: dana", "kind: User\nname: ana");
    let surplus = says("--- server user/dana\n+++ in no document user/dana\n").and(says("-name: dana\n"));
    diff(&fewer, &["--prune", "-l", "team=data"]).code(3).stdout(surplus);
    apply(&boss, "kind: User\nname: stranger\nlabels: { team: ops }\n", &[]).code(0);
    let names = "user/ana\nuser/dana\n";
    diff(&fewer, &["--prune", "-l", "team=data", "-o", "name"]).code(3).stdout(names);
    assert_logged(&mcpd, "PUT", 0);
    assert_logged(&mcpd, "DELETE", 0);
}

#[test]
fn prune_removes_what_has_the_label_and_is_in_no_file() {
    let (_mcpd, boss) = with_team();
    let other = "kind: User\nname: other\nlabels: { team: ops }\n---\nkind: User\nname: plain\n";
    apply(&boss, other, &[]).code(0);
    let kept = "kind: User\nname: dana\nlabels: { team: data }\n";
    let prune = ["--prune", "-l", "team=data"];
    let lines = "user/dana unchanged (dry run)\nrbac/data pruned (dry run)\nllm/chat pruned (dry run)\n\
                 group/data pruned (dry run)\n";
    apply(&boss, kept, &[&prune[..], &["--dry-run=server"]].concat()).code(0).stdout(lines);
    apply(&boss, kept, &[&prune[..], &["--dry-run=server"]].concat()).code(0).stdout(lines);
    apply(&boss, kept, &prune).code(0).stdout(lines.replace(" (dry run)", ""));
    apply(&boss, kept, &prune).code(0).stdout("user/dana unchanged\n");
    boss.cmd(["get", "all", "-o", "name"])
        .assert()
        .stdout("user/admin\nuser/dana\nuser/other\nuser/plain\nrbac/bootstrap-admin\n");
    let forgotten =
        says("warning: standard input:1: user/plain lacks the label team=data: --prune will never remove it");
    apply(&boss, "kind: User\nname: plain\n", &[&prune[..], &["--dry-run=server"]].concat())
        .code(0)
        .stdout("user/plain unchanged (dry run)\nuser/dana pruned (dry run)\n")
        .stderr(forgotten);
}

#[test]
fn a_folder_without_documents_has_prune_remove_all_that_has_the_label() {
    let (_mcpd, boss) = with_team();
    apply(&boss, "kind: User\nname: other\nlabels: { team: ops }\n", &[]).code(0);
    let folder = boss.home().join("access");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("README.md"), "kind: Nonsense\n").unwrap();
    let run = |command: &str, more: &[&str]| {
        boss.cmd([command, "-f", folder.to_str().unwrap()].iter().chain(more)).assert()
    };
    let prune = ["--prune", "-l", "team=data"];
    let nothing = || says("there is no document in what was given");
    for command in ["apply", "diff", "delete"] {
        run(command, &[]).code(2).stdout("").stderr(nothing());
    }
    // Who pipes in nothing has rather lost something.
    apply(&boss, "", &prune).code(2).stdout("").stderr(nothing());
    let names = "rbac/data\nllm/chat\ngroup/data\nuser/dana\n";
    run("diff", &[&prune[..], &["-o", "name"]].concat()).code(3).stdout(names);
    let own = "kind: Group\nname: bosses\nlabels: { team: data }\nmembers: [{ kind: User, name: admin }]\n";
    apply(&boss, own, &[]).code(0);
    let kept = says("warning: group/bosses is kept, because your own rights depend on it");
    run("apply", &prune).code(0).stdout(names.replace('\n', " pruned\n")).stderr(kept);
    run("apply", &prune).code(0).stdout("");
    boss.cmd(["get", "users", "-o", "name"]).assert().stdout("user/admin\nuser/other\n");
}

#[test]
fn prune_does_not_saw_off_the_branch_that_its_caller_sits_on() {
    let (_mcpd, boss) = with_team();
    let mine = "kind: User\nname: admin\nlabels: { team: x }\n---\n\
                kind: Rbac\nname: bootstrap-admin\nlabels: { team: x }\nsubjects: [{ kind: User, name: admin }]\n\
                roleBindings: [{ role: admin, resource: '*' }]\n---\n\
                kind: Group\nname: bosses\nlabels: { team: x }\nmembers: [{ kind: User, name: admin }]\n---\n\
                kind: Rbac\nname: bosses\nlabels: { team: x }\nsubjects: [{ kind: Group, name: bosses }]\n\
                roleBindings: []\n---\nkind: User\nname: leaves\nlabels: { team: x }\n";
    apply(&boss, mine, &[]).code(0);
    let anything = "kind: User\nname: dana\nlabels: { team: x }\n";
    apply(&boss, anything, &["--prune", "-l", "team=x"])
        .code(0)
        .stdout("user/dana configured\nuser/leaves pruned\n")
        .stderr(predicate::function(|told: &str| {
            ["user/admin", "group/bosses", "rbac/bootstrap-admin", "rbac/bosses"].iter().all(|name| {
                told.contains(&format!(
                    "warning: {name} is kept, because your own rights depend on it; mcpctl delete {name}"
                ))
            })
        }));
    boss.cmd(["auth", "whoami"]).assert().code(0);
}

#[test]
fn explain_says_what_the_types_say() {
    let anybody = Client::stranger("http://127.0.0.1:9");
    let explain = |args: &[&str]| anybody.cmd(["explain"].iter().chain(args)).assert();
    explain(&[])
        .code(0)
        .stdout(says("  Llm             A language model: where it runs").and(says("  ServiceAccount ")));
    explain(&["llms"]).code(0).stdout(
        says("  model  (text, required)\n")
            .and(says("  enabled  (true or false, default true)\n      Whether anybody can")),
    );
    let role = says("  a word, required\n").and(says("  run\n      Send prompts to it."));
    explain(&["rbac.roleBindings.role"]).code(0).stdout(role);
    let roles = says(
        "  role  (a word, required)\n      What may be done: view, run, create, edit, delete or admin.\n",
    );
    explain(&["rbac.roleBindings"]).code(0).stdout(roles);
    let members = says(
        "  kind  (a word, required)\n      Whether a person or a program is meant: User or ServiceAccount.\n",
    )
    .and(says("They must exist"))
    .and(says("need not exist").not());
    explain(&["group.members"]).code(0).stdout(members);
    explain(&["group.members.kind"]).code(0).stdout(says("  Group\n").not());
    explain(&["rbac.subjects.kind"]).code(0).stdout(says("  Group\n"));
    explain(&["rbac.subjects"]).code(0).stdout(says(" User, Group or").and(says("need not exist yet")));
    explain(&["Llm.apiKeyRef.file"]).code(0).stdout(says("The absolute path of a file"));
    explain(&["group.members.name"]).code(0).stdout(says("It matches ^[A-Za-z0-9]"));
    explain(&["llm.ulr"])
        .code(2)
        .stderr(says("Llm has no field \"ulr\" (did you mean url?); it has: name, labels"));
    explain(&["llm.url.x"]).code(2).stderr(says("Llm.url has no fields"));
    explain(&["lmm"]).code(2).stderr(says("did you mean llm?"));
    for line in String::from_utf8_lossy(&explain(&["llm"]).get_output().stdout).lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
