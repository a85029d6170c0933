//! What `-o json` prints is an API: its types, the schemas that are shipped of them, and what the program really
//! prints are one.

use crate::{
    shipped,
    support::{Client, Stage, provider},
};
use clap::CommandFactory as _;
use serde_json::{Value, json};
use snapbox::{Data, assert_data_eq};
use std::{collections::BTreeSet, fs};

/// `SNAPSHOTS=overwrite cargo test --test cli documents::` writes them anew.
#[test]
fn the_shipped_schemas_are_those_of_the_types() {
    for (name, schema) in [mcpctl::schemas::all(), mcpctl::schemas::files()].concat() {
        let text = format!("{:#}\n", schema.as_value());
        assert_data_eq!(text, Data::read_from(&shipped::folder().join(format!("{name}.json")), None).raw());
    }
}

#[test]
fn nothing_is_shipped_that_is_no_schema_of_a_type() {
    let shipped: BTreeSet<String> = fs::read_dir(shipped::folder())
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let typed = [mcpctl::schemas::all(), mcpctl::schemas::files()].concat();
    let typed: BTreeSet<String> = typed.into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(shipped, typed);
}

/// Whoever adds a field without saying what it means finds out here.
#[test]
fn every_field_of_every_document_has_a_meaning() {
    fn walk(path: &str, node: &Value, mute: &mut Vec<String>) {
        // The meaning of a choice stands beside its one field.
        let chosen = node["properties"].as_object().is_some_and(|fields| fields.len() == 1);
        let of_choice = node["description"].as_str().filter(|_| chosen).unwrap_or_default();
        for word in ["properties", "$defs"] {
            for (name, field) in node[word].as_object().into_iter().flatten() {
                let here = format!("{path}.{name}");
                let meaning = field["description"].as_str().unwrap_or(of_choice);
                if word == "properties"
                    && field["const"].is_null()
                    && (meaning.len() < 6 || meaning.contains("[`"))
                {
                    mute.push(format!("{here}: {meaning:?}"));
                }
                walk(&here, field, mute);
            }
        }
        for word in ["oneOf", "anyOf", "allOf"] {
            node[word].as_array().into_iter().flatten().for_each(|one| walk(path, one, mute));
        }
        if node["items"].is_object() {
            walk(path, &node["items"], mute);
        }
    }
    let mut mute = Vec::new();
    for (kind, schema) in mcpctl::schemas::all() {
        walk(kind, schema.as_value(), &mut mute);
    }
    assert!(mute.is_empty(), "fields without a meaning for their readers: {mute:#?}");
}

/// A command line, how it ends, and the kind of its document.
type Play = (&'static str, i32, &'static str);

/// Asked by the administrator, in this order, of a server that has the LLM `chat-prod` and the user
/// `dana@example.com`, with the provider `laptop` on this machine.
const PLAYS: &[Play] = &[
    ("apply -f TEAM --dry-run=server", 0, "ApplyResult"),
    ("apply -f TEAM", 0, "ApplyResult"),
    ("apply -f NOT-ALL-RIGHT", 9, "Error"),
    ("get all", 0, "List"),
    ("get llm", 0, "List"),
    ("get llm chat-prod", 0, "Llm"),
    ("get rbac data", 0, "Rbac"),
    ("get user dana", 0, "User"),
    ("get group data", 0, "Group"),
    ("get serviceaccount ci", 0, "ServiceAccount"),
    ("get llm none", 9, "Error"),
    ("llm list", 0, "LlmList"),
    ("llm get chat-prod", 0, "Llm"),
    ("llm head chat-prod", 0, "Verdict"),
    ("infer chat-prod hello", 0, "Inference"),
    ("infer chat-prod hello --route local", 0, "Inference"),
    ("infer chat-prod hello --dry-run", 0, "InferencePlan"),
    ("infer chat-prod hello --dry-run --route local", 0, "InferencePlan"),
    ("infer none hello", 9, "Error"),
    ("infer", 2, "Error"),
    ("providers list", 0, "ProviderList"),
    ("providers get laptop", 0, "Provider"),
    ("providers get box", 0, "Provider"),
    ("providers failovers", 0, "FailoverList"),
    ("providers failovers --probe", 3, "FailoverProbeList"),
    ("providers failovers --drill", 3, "FailoverDrillList"),
    ("providers failovers --events", 0, "FailoverEventList"),
    ("providers status", 0, "ProviderStatusList"),
    ("providers status box", 3, "ProviderStatusList"),
    ("token create --user dana --expires 1h", 0, "Token"),
    ("token list", 0, "TokenList"),
    ("auth status", 0, "AuthStatusList"),
    ("auth whoami", 0, "Whoami"),
    ("auth can-i run llm/chat-prod", 0, "CanI"),
    ("audit list", 0, "AuditList"),
    ("audit list --failovers", 0, "AuditList"),
    ("audit verify", 0, "AuditVerification"),
    ("config get-contexts", 0, "ContextList"),
    ("config view", 0, "Config"),
    ("doctor", 3, "FindingList"),
    ("delete user dana2", 0, "DeleteResult"),
    ("version", 0, "Version"),
];

/// What prints lines for people only, and says so when it is asked for a document.
const LINES_ONLY: &[&str] = &[
    "auth login --token-stdin",
    "auth logout",
    "completion bash",
    "config delete-context here",
    "config path",
    "config set-context here --server http://127.0.0.1:9",
    "config use-context here",
    "diff -f TEAM",
    "explain llm",
    "help failover",
    "man PAGES",
    "providers logs box",
    "providers start box",
    "providers stop box",
    "providers validate",
    "token revoke abc",
];

const TEAM: &str = "kind: Rbac\nname: data\nsubjects: [{ kind: Group, name: data }]\nroleBindings:\n  - { role: view, \
                    resource: llms, name: chat-prod }\n---\nkind: Group\nname: data\nmembers: [{ kind: User, name: dana }]\n\
                    ---\nkind: User\nname: dana\nlabels: { team: data }\n---\nkind: User\nname: dana2\n---\nkind: ServiceAccount\n\
                    name: ci\n";

const NOT_ALL_RIGHT: &str =
    "kind: User\nname: erin\n---\nkind: Llm\nname: other\ntype: openai\nurl: 'ftp://nowhere'\nmodel: m\n";

const BOX: &str = "  - name: box\n    type: vllm-managed\n    failoverFor: other-llm\n    model: org/model\n    \
                   venvPath: /nowhere\n    gpuMemoryUtilization: 0.5\n    env: { A: b }\n";

/// The administrator, with two providers on their machine.
fn boss(stage: &Stage) -> Client {
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    boss.providers(&(provider("laptop", "chat-prod", &stage.local.url(), true) + BOX));
    boss
}

/// Every command as it is: those that this page does not know of have to be entered in it.
#[test]
fn every_command_prints_documents_as_its_schemas_say_or_says_that_it_has_none() {
    let stage = Stage::new();
    let boss = boss(&stage);
    let file = |name: &str, text: &str| {
        let path = boss.home().join(name);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (team, not_all_right) = (file("team.yaml", TEAM), file("bad.yaml", NOT_ALL_RIGHT));
    let line = |line: &'static str| -> Vec<String> {
        let here = |word| match word {
            "TEAM" => team.clone(),
            "NOT-ALL-RIGHT" => not_all_right.clone(),
            word => word.to_owned(),
        };
        line.split_whitespace().map(here).collect()
    };
    let refused = LINES_ONLY.iter().map(|line| (*line, 2, "Error"));
    let mut wrong = Vec::new();
    for (text, code, kind) in PLAYS.iter().copied().chain(refused) {
        let args = line(text);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (ended, document) = boss.json(&args);
        if ended != code || document["kind"] != kind {
            wrong.push(format!("{text}: {ended} instead of {code}, {document}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_command_is_among_those_that_are_held_against_their_schemas() {
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let visible = command.get_subcommands().filter(|one| !one.is_hide_set());
        let path = |one: &clap::Command| format!("{path} {}", one.get_name()).trim_start().to_owned();
        for one in visible {
            if one.has_subcommands() { leaves(one, &path(one), found) } else { found.push(path(one)) }
        }
    }
    let mut commands = Vec::new();
    leaves(&mcpctl::cmd::Cli::command(), "", &mut commands);
    assert!(commands.len() > 30, "{commands:?}");
    let known: Vec<&str> = PLAYS.iter().map(|play| play.0).chain(LINES_ONLY.iter().copied()).collect();
    let is_known = |command: &String| {
        known.iter().any(|line| line == command || line.starts_with(&format!("{command} ")))
    };
    let unknown: Vec<_> = commands.iter().filter(|command| !is_known(command)).collect();
    assert!(unknown.is_empty(), "put these into PLAYS or LINES_ONLY: {unknown:?}");
}

#[test]
fn every_line_of_jsonl_is_an_item_of_its_list_or_a_document() {
    let stage = Stage::new();
    let boss = boss(&stage);
    let lines = |line: &str| -> Vec<Value> {
        let output = boss.cmd(line.split_whitespace().chain(["-o", "jsonl"])).output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    for (line, kind) in PLAYS.iter().filter(|play| play.2.ends_with("List")).map(|play| (play.0, play.2)) {
        let items = lines(line);
        shipped::checked(json!({ "apiVersion": "mcpctl/v1", "kind": kind, "items": items }));
    }
    stage.upstream.stop();
    let events: Vec<Value> = lines("infer chat-prod hello").into_iter().map(shipped::checked).collect();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert!(types.starts_with(&["start", "attempt"]) && types.ends_with(&["end"]), "{types:?}");
    stage.local.stop();
    let last = lines("infer chat-prod hello").pop().map(shipped::checked).unwrap();
    assert_eq!((&last["kind"], &last["exitCode"]), (&json!("Error"), &json!(7)));
}
