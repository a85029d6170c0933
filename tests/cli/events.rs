//! `providers failovers --events`: what happened on this machine, and what was refused.

use crate::{
    engine_stage::EngineStage,
    support::{Client, LIMIT, PROMPT, Stage, provider, says},
};
use fakes::{FakeEngine, Fault};
use mcp_api::{FailoverPolicy, LlmPatch};
use predicates::prelude::*;
use serde_json::{Value, json};
use std::{fs, io::Write, process::Stdio};

const EVENTS: [&str; 3] = ["providers", "failovers", "--events"];

fn csv(dana: &Client, more: &[&str]) -> String {
    let output =
        dana.cmd(EVENTS.iter().chain(more).chain(&["-o", "csv"])).assert().code(0).get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

fn items(dana: &Client) -> Vec<Value> {
    let (code, document) = dana.json(&EVENTS);
    assert_eq!(code, 0);
    document["items"].as_array().unwrap().clone()
}

/// Dana's machine after an answer, a denial and an outage.
fn lived() -> Stage {
    let mut stage = Stage::new();
    stage.upstream.stop();
    stage.dana.infer(&[]).code(0);
    let forbid = LlmPatch { failover: Some(FailoverPolicy::Forbidden), ..LlmPatch::default() };
    stage.mcpd.patch_llm("chat-prod", &forbid);
    stage.dana.infer(&[]).code(5);
    stage.mcpd.stop();
    stage.dana.infer(&[]).code(6);
    stage
}

#[test]
fn what_was_answered_and_what_was_refused_is_told_in_every_format() {
    let stage = lived();
    let text = csv(&stage.dana, &[]);
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("time,user,llm,reason,verdict,provider,model,outcome,duration_ms,request_id")
    );
    let when = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ,";
    for end in [
        r",chat-prod,central 502,allowed,laptop,laptop-model,ok,\d+,r-[0-9a-f]{32}$",
        r",chat-prod,central 502,denied,,,refused,\d+,r-[0-9a-f]{32}$",
        r",chat-prod,connection refused,unknown,,,refused,\d+,r-[0-9a-f]{32}$",
    ] {
        let line = lines.next().unwrap();
        assert!(predicate::str::is_match(format!("{when}.*{end}")).unwrap().eval(line), "{line}");
    }
    assert_eq!(lines.next(), None);
    let events = items(&stage.dana);
    let told: Vec<_> =
        events.iter().map(|it| json!([it["reason"], it["verdict"], it["why"], it["outcome"]])).collect();
    assert_eq!(told[0], json!(["http_502", "allowed", null, "ok"]));
    assert_eq!(
        told[1],
        json!(["http_502", "denied", "the administrator forbids failovers of this LLM", "refused"])
    );
    assert_eq!(events[0]["server"], stage.mcpd.url());
    assert_eq!(events[0]["tokenId"], stage.dana_token.split('_').nth(1).unwrap());
    let table = stage.dana.cmd(EVENTS).assert().code(0).stderr("");
    table.stdout(says("TIME ").and(says("unknown  -         -             refused")));
    for format in ["jsonl", "name"] {
        let output = stage.dana.cmd(EVENTS.iter().chain(&["-o", format])).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3, "{format}");
    }
    stage.dana.cmd(EVENTS.iter().chain(&["-o", "yaml"])).assert().stdout(says("kind: FailoverEventList"));
    // Neither what was asked nor what was answered.
    let all = fs::read_to_string(stage.dana.home().join(".local/state/mcpctl/failovers.jsonl")).unwrap();
    assert!(!all.contains(PROMPT) && !all.contains("Hello from the laptop"));
    assert!(!all.contains(&stage.dana_token));
}

#[test]
fn events_are_looked_for_by_their_time() {
    let stage = lived();
    assert_eq!(csv(&stage.dana, &["--since", "1h"]).lines().count(), 4);
    let last = items(&stage.dana).pop().unwrap();
    let since = last["at"].as_str().unwrap();
    assert_eq!(csv(&stage.dana, &["--since", since]).lines().count(), 2);
    assert_eq!(csv(&stage.dana, &["--since", "2999-01-01"]).lines().count(), 1);
    let wrong = |args: &[&str]| stage.dana.cmd(args).assert().code(2).stdout("");
    wrong(&[&EVENTS[..], &["--since", "soon"]].concat()).stderr(says("give a time such as 24h"));
    wrong(&["providers", "failovers", "--since", "24h"]).stderr(says("--events"));
    wrong(&[&EVENTS[..], &["--probe"]].concat());
}

#[test]
fn a_machine_on_which_nothing_happened_says_so_and_makes_no_folder() {
    let dana = Client::stranger("http://127.0.0.1:9");
    assert_eq!(csv(&dana, &[]).lines().count(), 1);
    assert!(!dana.home().join(".local").exists());
    let mut nowhere = dana.cmd(EVENTS);
    nowhere.env_remove("HOME").assert().code(2).stdout("").stderr(says("set HOME or XDG_STATE_HOME"));
}

#[test]
fn lines_that_are_no_events_are_counted_and_hide_no_other() {
    let stage = lived();
    let path = stage.dana.home().join(".local/state/mcpctl/failovers.jsonl");
    let append =
        |bytes: &[u8]| fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(bytes).unwrap();
    append(b"not json\n{\"llm\": \"chat-prod\"}\n\xff\n{\"id\": \"half");
    let told = says("warning: lines of failovers.jsonl that are no events, or are cut short: 4");
    stage.dana.cmd(EVENTS).assert().code(0).stderr(told);
    assert_eq!(items(&stage.dana).len(), 3);
    // The next one does not become a part of the half line.
    stage.dana.infer(&[]).code(6);
    assert_eq!(items(&stage.dana).len(), 4);
}

#[test]
fn a_command_that_is_killed_while_it_is_answered_is_an_event_of_unknown_end() {
    let stage = Stage::new();
    stage.upstream.stop();
    stage.local.set_fault(Fault::HangAfter(1));
    let mut command = stage.dana.raw(["infer", "chat-prod", PROMPT]);
    command.env("USER", "dana");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    stage.local.wait_for_request(1, LIMIT);
    assert!(items(&stage.dana).is_empty(), "it still goes on");
    child.kill().unwrap();
    child.wait().unwrap();
    // By a look that has no server to ask and another user.
    for _ in 0..2 {
        let events = items(&stage.dana);
        assert_eq!((events.len(), &events[0]["outcome"]), (1, &json!("incomplete")));
        assert_eq!(events[0]["login"], "dana");
    }
}

#[test]
fn a_login_is_not_taken_for_a_name_at_the_server_and_no_cell_for_a_formula() {
    let stage = Stage::new();
    stage.upstream.stop();
    let entry = provider("laptop", "chat-prod", &stage.local.url(), true);
    stage.dana.providers(&entry.replace("model: laptop-model", "model: '=cmd|x'"));
    let mut command = stage.dana.cmd(["infer", "chat-prod", PROMPT]);
    command.env("USER", "@dana").assert().code(0);
    let text = csv(&stage.dana, &[]);
    assert!(text.contains("Z,'@dana (login),chat-prod,"), "{text}");
    assert!(text.contains(",laptop,'=cmd|x,ok,"), "{text}");
    assert_eq!(
        (&items(&stage.dana)[0]["user"], &items(&stage.dana)[0]["login"]),
        (&Value::Null, &json!("@dana"))
    );
}

#[test]
fn who_has_logged_in_is_called_by_the_servers_name_also_while_it_is_away() {
    let mut stage = Stage::new();
    stage.upstream.stop();
    let user = |stage: &Stage| items(&stage.dana).pop().unwrap()["user"].clone();
    stage.dana.infer(&[]).code(0);
    assert_eq!(user(&stage), Value::Null);
    stage.dana.cmd(["auth", "whoami"]).assert().code(0);
    stage.dana.infer(&[]).code(0);
    assert_eq!(user(&stage), "dana@example.com");
    stage.mcpd.stop();
    stage.dana.infer(&[]).code(6);
    assert_eq!(user(&stage), "dana@example.com");
    // Another token is of nobody that is known here.
    let mut other = stage.dana.cmd(["infer", "chat-prod", PROMPT]);
    other.env_remove("MCPCTL_TOKEN_FILE").env("MCPCTL_TOKEN", "mcpd_0123456789abcdef_x").assert().code(6);
    assert_eq!(user(&stage), Value::Null);
    assert!(
        csv(&stage.dana, &[]).contains(",dana@example.com,chat-prod,connection refused,unknown,,,refused,")
    );
}

#[test]
fn an_engine_that_was_not_ready_in_time_is_an_event() {
    let engine = FakeEngine::llama().gated();
    let stage = EngineStage::of(&engine, "");
    stage.infer(&["--timeout", "1s"]).code(7).stderr(says("--timeout 1 s is over"));
    let event = items(&stage.dana).pop().unwrap();
    assert_eq!(
        json!([event["verdict"], event["provider"], event["outcome"]]),
        json!(["allowed", "laptop", "not_ready"])
    );
    assert!((900..10_000).contains(&event["durationMs"].as_u64().unwrap()), "{event}");
}
