//! The three scenes, and the truth about who answered.

use crate::support::Scripted;
use crate::support::{PROMPT, Stage, TEN_WORDS, says};
use fakes::{Evild, Fault, Step, wire};
use predicates::prelude::*;
use std::time::Duration;

#[test]
fn the_server_answers_and_the_local_provider_is_not_touched() {
    let stage = Stage::new();
    stage.dana.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr("");
    let (code, answer) = stage.dana.infer_json(&[]);
    assert_eq!((code, &answer["failover"], &answer["route"]), (0, &false.into(), &"central".into()));
    assert_eq!(answer["content"], TEN_WORDS);
    stage.assert_local_untouched();
}

#[test]
fn p01_a_dead_upstream_is_no_outage_and_the_answer_says_who_gave_it() {
    let stage = Stage::new();
    stage.upstream.stop();
    let failover = predicate::str::contains(
        "note: failover: answering from local provider \"laptop\", model laptop-model",
    );
    stage.dana.infer(&[]).code(0).stdout("Hello from the laptop.\n").stderr(failover.count(1));
    assert_eq!(stage.local.requests(), 1);
    let (code, answer) = stage.dana.infer_json(&[]);
    assert_eq!((code, &answer["failover"], &answer["provider"]), (0, &true.into(), &"laptop".into()));
    let outcomes: Vec<_> =
        answer["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].clone()).collect();
    assert_eq!(outcomes, ["http", "allowed", "ok"]);
    assert_eq!(answer["attempts"][0]["status"], 502);
    let body = &stage.local.bodies()[0];
    assert_eq!((&body["model"], &body["messages"][0]["content"]), (&"laptop-model".into(), &PROMPT.into()));
}

#[test]
fn a_deleted_binding_stops_both_ways_while_the_upstream_is_down() {
    let stage = Stage::new();
    stage.upstream.stop();
    stage.mcpd.delete_binding("dana-chat");
    stage
        .dana
        .infer(&[])
        .code(5)
        .stdout("")
        .stderr(says("you are not allowed to run LLM \"chat-prod\" (403)"));
    stage.assert_local_untouched();
}

#[test]
fn a_revoked_token_exits_4_and_touches_nothing() {
    let stage = Stage::new();
    stage.mcpd.revoke_token(&stage.dana_token);
    stage.dana.infer(&[]).code(4).stdout("").stderr(says("401"));
    stage.assert_local_untouched();
}

#[test]
fn a_stopped_server_exits_6_because_nobody_can_confirm() {
    let mut stage = Stage::new();
    stage.mcpd.stop();
    let refused =
        says("cannot reach").and(says("failover refused: cannot confirm that you may use \"chat-prod\""));
    stage.dana.infer(&[]).code(6).stdout("").stderr(refused);
    stage.assert_local_untouched();
}

#[test]
fn without_a_declared_provider_it_exits_7() {
    let stage = Stage::new();
    stage.upstream.stop();
    stage.dana.providers("providers: []\n");
    stage.dana.infer(&[]).code(7).stdout("").stderr(says("no failover: no provider declared"));
}

#[test]
fn p09_a_decision_seen_in_this_run_is_required_even_if_nothing_can_be_remembered() {
    let decision = "allow; llm=chat-prod; id=c3ixunma9sj1v3eii1525jhx9; verbs=view,run";
    let failed = wire::http(502, &[("mcpd-decision", decision)], "");
    let bare_yes = wire::http(200, &[], "");
    let central = Evild::start([
        vec![Step::ReadRequest, Step::Send(failed), Step::Close],
        vec![Step::ReadRequest, Step::Send(bare_yes), Step::Close],
    ]);
    let scene = Scripted::new(central);
    let mut infer = scene.dana.cmd(["infer", "chat-prod", PROMPT]);
    let refused = says("answered without the decision that this server is known to send");
    infer.env("XDG_STATE_HOME", "/proc/nope").assert().code(6).stdout("").stderr(refused);
    scene.assert_local_untouched();
}

#[test]
fn the_limit_for_everything_also_ends_the_way_to_a_failover() {
    let slow = |answer: Vec<u8>| {
        vec![Step::ReadRequest, Step::Pause(Duration::from_millis(800)), Step::Send(answer), Step::Close]
    };
    let central = Evild::start([slow(wire::http(503, &[], "")), slow(wire::http(200, &[], ""))]);
    let scene = Scripted::new(central);
    scene.dana.infer(&["--timeout", "1s"]).code(7).stdout("");
    scene.assert_local_untouched();
}

#[test]
fn an_engine_that_repeats_empty_events_is_silent() {
    let empty = wire::event("{\"choices\":[]}");
    let ticks = Step::Repeat(vec![Step::Send(empty), Step::Pause(Duration::from_millis(50))]);
    let begun = [wire::sse_head(), wire::event(&wire::content("Once"))].concat();
    let central = Evild::start([vec![Step::ReadRequest, Step::Send(begun), ticks]]);
    let scene = Scripted::new(central);
    scene
        .dana
        .infer(&["--idle-timeout", "500ms"])
        .code(8)
        .stdout("Once")
        .stderr(says("sent nothing for 0.5 s"));
}

#[test]
fn a_reader_of_stderr_that_leaves_does_not_cost_the_answer() {
    let stage = Stage::new();
    stage.upstream.set_fault(Fault::FinishReason("length".into()));
    let mut command = stage.dana.raw(["infer", "chat-prod", PROMPT, "--usage", "--reasoning", "show"]);
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(0), format!("{TEN_WORDS}\n").into_bytes()));
}
