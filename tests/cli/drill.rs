//! `providers failovers --drill`: every failover goes the whole way, with the same permission as a real one.

use crate::{
    engine_stage::{EngineStage, ended, texts, wait_until_old},
    support::{Client, LIMIT, PROMPT, Scripted, Stage, assert_logged, provider, says},
};
use fakes::{Evild, FakeEngine, Fault, SlowDisk, Step, wait_until, wire};
use mcpctl::clock::Moment;
use predicates::prelude::*;
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    process::{Output, Stdio},
};

const DRILL: [&str; 3] = ["providers", "failovers", "--drill"];
/// What a stage posts before anything is done on it: LLM, user, binding, token.
const POSTS_OF_STAGE: usize = 4;

/// The exit code, and what became of each failover.
fn drilled(dana: &Client, more: &[&str]) -> (i32, Vec<Value>) {
    let (code, document) = dana.json(&[&DRILL, more].concat());
    (code, document["items"].as_array().unwrap().clone())
}

/// What is in the journal: reason, verdict, provider and outcome.
fn events(dana: &Client) -> Vec<Value> {
    let path = dana.home().join(".local/state/mcpctl/failovers.jsonl");
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = |line| serde_json::from_str::<Value>(line).unwrap();
    text.lines()
        .map(line)
        .map(|it| json!([it["reason"], it["verdict"], it["provider"], it["outcome"]]))
        .collect()
}

#[test]
fn a_drill_starts_the_engine_asks_it_and_leaves_it_to_its_idle_time() {
    let engine = FakeEngine::llama();
    let stage = EngineStage::of(&engine, "");
    let drill = || {
        let output = stage.cmd(&[&DRILL[..], &["-o", "json"]].concat()).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        (output.status.code(), document["items"][0].clone())
    };
    let (code, first) = drill();
    assert_eq!(
        (code, &first["ok"], &first["permission"]["verdict"]),
        (Some(0), &json!(true), &json!("allowed")),
        "{first}"
    );
    assert!(first["engineStartMs"].is_u64() && first["firstTokenMs"].is_u64(), "{first}");
    assert!(first["totalMs"].as_u64() >= first["engineStartMs"].as_u64(), "{first}");
    let (code, second) = drill();
    assert_eq!((code, &second["ok"], &second["engineStartMs"]), (Some(0), &json!(true), &Value::Null));
    assert_ne!(first["requestId"], second["requestId"]);
    assert_eq!(engine.starts().len(), 1, "it was left running");
    assert_eq!(stage.record()["state"]["phase"], "ready");
    let chats = engine.chats();
    assert_eq!((chats.len(), &chats[0]["max_tokens"]), (2, &json!(32)));
    assert!(chats[0]["messages"][0]["content"].as_str().unwrap().starts_with("This is a drill."));
    // The server was asked for permission each time, and never for an answer.
    assert_logged(&stage.mcpd, "POST", POSTS_OF_STAGE);
    assert_logged(&stage.mcpd, "HEAD", 2);
    assert_eq!(events(&stage.dana), vec![json!(["drill", "allowed", "laptop", "ok"]); 2]);
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    let (_, known) = boss.json(&["audit", "list", "--failovers"]);
    let known = &known["items"];
    assert_eq!(
        (&known[0]["detail"]["reason"], &known[1]["requestId"]),
        (&json!("drill"), &second["requestId"])
    );
    let row = r"\nchat-prod  laptop    llamacpp-managed  .*  allowed     -             \d+ ms      +yes\n$";
    stage.cmd(&DRILL).assert().code(0).stdout(predicate::str::is_match(row).unwrap()).stderr("");
}

#[test]
fn a_drill_that_is_not_permitted_contacts_nobody() {
    let mut stage = Stage::new();
    stage.mcpd.delete_binding("dana-chat");
    let (code, rows) = drilled(&stage.dana, &[]);
    assert_eq!((code, &rows[0]["ok"], &rows[0]["firstTokenMs"]), (3, &json!(false), &Value::Null));
    assert_eq!(rows[0]["why"], "not permitted: run is not granted (403)");
    stage.mcpd.stop();
    let (code, rows) = drilled(&stage.dana, &[]);
    assert_eq!((code, &rows[0]["permission"]["verdict"]), (3, &json!("unknown")));
    stage.dana.cmd(DRILL).assert().code(3).stderr(says("chat-prod: permission cannot be confirmed: "));
    let refused = |verdict: &str| json!(["drill", verdict, null, "refused"]);
    assert_eq!(events(&stage.dana), [refused("denied"), refused("unknown"), refused("unknown")]);
    stage.assert_local_untouched();
}

#[test]
fn p18_a_right_that_is_revoked_while_a_drill_starts_the_engine_keeps_the_prompt_from_it() {
    let engine = FakeEngine::vllm().gated();
    let stage = EngineStage::of(&engine, "");
    let mut command = stage.raw(&DRILL);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    engine.wait_for_start();
    let asked = Moment::now();
    stage.mcpd.delete_binding("dana-chat");
    wait_until_old(asked);
    engine.open_gate();
    let output = ended(child);
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(3), "{stdout}{stderr}");
    assert!(stderr.contains("not permitted: run is not granted (403)"), "{stderr}");
    assert!(engine.chats().is_empty(), "the engine got a prompt");
    assert_eq!(events(&stage.dana), [json!(["drill", "denied", null, "refused"])]);
}

#[test]
fn one_that_cannot_take_over_is_found_among_those_that_can() {
    let stage = Stage::new();
    let good = provider("laptop", "chat-prod", &stage.local.url(), true);
    let bad = provider("away", "code-prod", "http://127.0.0.1:9/v1", false);
    stage.dana.providers(&(good + &bad));
    stage.mcpd.create_llm("code-prod", &stage.upstream.url());
    stage.mcpd.grant(
        "dana-code",
        "dana@example.com",
        &[("run", "llms", Some("code-prod")), ("view", "llms", Some("code-prod"))],
    );
    let (code, rows) = drilled(&stage.dana, &[]);
    let told: Vec<_> = rows.iter().map(|row| (row["llm"].clone(), row["ok"].clone())).collect();
    assert_eq!(
        (code, told),
        (3, vec![(json!("chat-prod"), json!(true)), (json!("code-prod"), json!(false))])
    );
    assert!(rows[1]["why"].as_str().unwrap().contains("connection refused"), "{rows:?}");
    // Those that are asked for, and no others.
    let (code, rows) = drilled(&stage.dana, &["chat-prod"]);
    assert_eq!((code, rows.len(), stage.local.chats().len()), (0, 1, 2));
    let sent = String::from_utf8_lossy(&stage.local.received()).into_owned();
    assert!(!sent.contains(&stage.dana_token), "the provider got the token of the server");
    assert_eq!(stage.upstream.requests(), 0, "the server was asked for an answer");
}

#[test]
fn what_answers_badly_or_not_at_all_could_not_take_over() {
    let stage = Stage::new();
    let why = |fault: Fault| {
        stage.local.set_fault(fault);
        let (code, rows) = drilled(&stage.dana, &[]);
        assert_eq!((code, &rows[0]["ok"]), (3, &json!(false)), "{rows:?}");
        rows[0]["why"].as_str().unwrap().to_owned()
    };
    assert!(why(Fault::CutAfter(2)).contains("the answer broke off"));
    assert!(why(Fault::Html).contains("sent no answer of this protocol"));
    assert!(why(Fault::NoDone).contains("the answer broke off"));
    stage.local.set_text("");
    assert_eq!(why(Fault::None), "provider \"laptop\" gave an empty answer");
    let outcomes: Vec<_> = events(&stage.dana).into_iter().map(|event| event[3].clone()).collect();
    assert_eq!(outcomes, ["incomplete", "failed", "incomplete", "failed"]);
}

#[test]
fn an_engine_that_does_not_start_is_told_with_its_log() {
    let engine = FakeEngine::vllm().failing_at_start(1, &["ValueError: no room for the model"]);
    let stage = EngineStage::of(&engine, "");
    let told = says("warning: chat-prod: provider \"laptop\" cannot be asked: vLLM did not start")
        .and(says("ValueError: no room for the model"))
        .and(says("mcpctl providers logs laptop"));
    stage.cmd(&DRILL).assert().code(3).stdout(says("no\n")).stderr(told);
    assert_eq!(events(&stage.dana), [json!(["drill", "allowed", "laptop", "not_ready"])]);
    // A real one that goes wrong in the same way is in the journal too.
    stage.infer(&[]).code(7);
    assert_eq!(events(&stage.dana)[1], json!(["http_502", "allowed", "laptop", "not_ready"]));
}

#[test]
fn a_drill_of_nothing_is_no_success() {
    let stage = Stage::new();
    let drill = |llm: &str| stage.dana.cmd(DRILL.iter().chain(&[llm])).assert();
    drill("chat-prd").code(2).stdout("").stderr(says("(did you mean \"chat-prod\"?)"));
    drill("other").code(2).stderr(says("no provider is declared as failover for \"other\"\n"));
    drill("NO NAME").code(2);
    fs::remove_file(stage.dana.providers_path()).unwrap();
    for look in ["--drill", "--probe"] {
        let command = ["providers", "failovers", look];
        stage.dana.cmd(command).assert().code(3).stderr(says("warning: no failover is declared"));
    }
    stage.dana.cmd(DRILL.iter().chain(&["--probe"])).assert().code(2);
    stage.assert_local_untouched();
    assert_logged(&stage.mcpd, "HEAD", 0);
}

/// A disk that takes its time to write down that the provider is about to be asked.
fn slowly(command: &[&str]) -> (Stage, Output) {
    let stage = Stage::new();
    // What is remembered of a server is written, and waited for, only once.
    stage.dana.cmd(["llm", "head", "chat-prod"]).assert().code(0);
    stage.upstream.stop();
    let disk = SlowDisk::new();
    disk.stall();
    let mut command = stage.dana.raw(command);
    command.envs(disk.env()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let reports = stage.dana.home().join(".local/state/mcpctl/v1/reports");
    let notes = || -> Vec<PathBuf> {
        let folders = fs::read_dir(&reports).into_iter().flatten().flatten();
        folders.flat_map(|folder| fs::read_dir(folder.path()).unwrap()).map(|it| it.unwrap().path()).collect()
    };
    wait_until(LIMIT, "the note", || !notes().is_empty());
    let asked = Moment::now();
    stage.mcpd.delete_binding("dana-chat");
    wait_until_old(asked);
    disk.flow();
    let output = ended(child);
    assert!(notes().is_empty(), "a report is left of what nobody was asked");
    stage.assert_local_untouched();
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    let (_, told) = boss.json(&["audit", "list", "--failovers"]);
    assert_eq!(told["items"], json!([]), "the server was told of a failover that was none");
    (stage, output)
}

#[test]
fn p18_a_permission_that_ages_while_the_disk_is_slow_is_worth_no_prompt() {
    for (command, reason, code) in
        [(&DRILL[..], "drill", 3), (&["infer", "chat-prod", PROMPT][..], "http_502", 5)]
    {
        let (stage, output) = slowly(command);
        let (stdout, stderr) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
        assert!(stderr.contains("run is not granted (403)"), "{stderr}");
        assert_eq!(events(&stage.dana), [json!([reason, "denied", null, "refused"])]);
    }
}

#[test]
fn p09_a_decision_that_was_seen_for_one_llm_is_required_for_the_next() {
    for look in ["--drill", "--probe"] {
        // The first answer has a decision, and is none for other reasons; then somebody only says yes.
        let decision = "allow; llm=aaa; id=c3ixunma9sj1v3eii1525jhx9; verbs=view,run";
        let answer = |headers: &[(&str, &str)]| {
            vec![Step::ReadRequest, Step::Send(wire::http(200, headers, "")), Step::Close]
        };
        let scene = Scripted::new(Evild::start([answer(&[("mcpd-decision", decision)]), answer(&[])]));
        let entry = provider("laptop", "[aaa, bbb]", &scene.local.url(), true);
        scene.dana.providers(&entry);
        // Nothing can be remembered from one run to the next.
        let mut command = scene.dana.cmd(["providers", "failovers", look]);
        let refused =
            says("bbb: ").and(says("answered without the decision that this server is known to send"));
        command.env("XDG_STATE_HOME", "/proc/nope").assert().code(3).stderr(refused);
        assert!(scene.local.chats().is_empty(), "{look}: the provider got a prompt");
        assert_eq!(scene.probes(), 2);
    }
}
