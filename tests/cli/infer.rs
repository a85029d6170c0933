//! The three scenes, and the truth about who answered.

use crate::support::{PROMPT, Stage, TEN_WORDS, says};
use predicates::prelude::*;

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
