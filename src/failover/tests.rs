//! The whole decision table, walked: every status, every kind of failure, before and after content, with and
//! without a stand-in, under every verdict. The expectation is written down independently of the code.

mod words;

use super::*;
use mcp_api::{Decision, LlmKey, Nonce, Origin, Verb};
use std::time::Duration;

const ID: &str = "c123456789012345678901234";
const OTHER_ID: &str = "c999999999999999999999999";

fn asked(decision_required: bool) -> Asked {
    Asked {
        llm: "chat-prod".parse().unwrap(),
        nonce: Nonce::from_bytes([1; 16]),
        id: Some(ID.parse().unwrap()),
        decision_required,
    }
}

fn allow() -> Decision {
    Decision::Allow {
        llm: "chat-prod".parse().unwrap(),
        id: ID.parse().unwrap(),
        verbs: vec![Verb::View, Verb::Run],
        nonce: Some(Nonce::from_bytes([1; 16])),
    }
}

fn reply(status: u16, decision: &[String], failover: &[&str], content_type: &[&str]) -> ProbeReply {
    ProbeReply {
        status,
        decision: decision.to_vec(),
        failover: failover.iter().map(ToString::to_string).collect(),
        content_type: content_type.iter().map(ToString::to_string).collect(),
    }
}

fn failure(fault: Fault, delivered: Delivered) -> CallFailure {
    CallFailure { fault, delivered, llm_id: None, needs: None }
}

/// Every way to fail, and whether the table has "yes" in its column "probe?".
fn faults() -> Vec<(Fault, bool)> {
    let target = || "mcpd.example:443".to_owned();
    let unreachable = |how| Fault::Unreachable { target: target(), how };
    let second = Duration::from_secs(1);
    let mut all = vec![
        (Fault::NotAsked, true),
        (unreachable(Unreachable::Dns("nx".into())), true),
        (unreachable(Unreachable::Refused), true),
        (unreachable(Unreachable::ConnectTimeout(second)), true),
        (unreachable(Unreachable::Reset), true),
        (unreachable(Unreachable::Network("no route".into())), true),
        (Fault::NoContent(second), true),
        (Fault::Cut("connection closed".into()), true),
        (Fault::Idle(second), true),
        (Fault::Tls("name".into()), false),
        (Fault::Unparsable("html".into()), false),
        (Fault::Deadline(second), false),
        (Fault::OutputClosed, false),
        (Fault::Output("no space".into()), false),
        (Fault::ErrorEvent { code: None, message: "x".into() }, true),
    ];
    let origins =
        [None, Some(Origin::Gateway), Some(Origin::Upstream), Some(Origin::Policy), Some(Origin::Quota)];
    for status in (100..=999).filter(|status| *status != 200) {
        for origin in origins {
            let probe = (500..600).contains(&status) || (status == 429 && origin == Some(Origin::Upstream));
            let error = RemoteError { origin, ..RemoteError::default() };
            all.push((Fault::Status { status, error }, probe));
        }
        let wrong_request = (400..500).contains(&status) && ![401, 402, 403, 408, 429].contains(&status);
        all.push((Fault::ErrorEvent { code: Some(status), message: "x".into() }, !wrong_request));
    }
    all
}

/// Every verdict that matters, and whether it is a clear yes.
fn verdicts() -> Vec<(Verdict, bool)> {
    let mut all = vec![(Verdict::no_answer("timeout"), false)];
    let decisions: Vec<Vec<String>> = vec![
        vec![],
        vec![allow().to_string()],
        vec![allow().to_string(), allow().to_string()],
        vec![Decision::Deny { nonce: Some(Nonce::from_bytes([1; 16])) }.to_string()],
        vec![allow().to_string().replace("0101", "0202")],
        vec![allow().to_string().replace("view,run", "view")],
        vec![allow().to_string().replace("chat-prod", "chat-dev")],
        vec![allow().to_string().replace(ID, OTHER_ID)],
        vec!["allow".into()],
        vec![String::new()],
    ];
    for status in 100..=999 {
        for (i, decision) in decisions.iter().enumerate() {
            for failover in [&[][..], &["allowed"], &["forbidden"], &["maybe"], &["allowed", "allowed"]] {
                for content_type in [
                    &[][..],
                    &["application/json"],
                    &["text/html; charset=utf-8"],
                    &["TEXT/HTML"],
                    &["text/html charset=utf-8"],
                ] {
                    for required in [false, true] {
                        let clear = status == 200
                            && (i == 1 || (i == 0 && !required))
                            && (failover.is_empty() || failover == ["allowed"])
                            && !content_type.iter().any(|t| t.to_lowercase().contains("html"));
                        let verdict = Verdict::judge(
                            &asked(required),
                            &reply(status, decision, failover, content_type),
                        );
                        all.push((verdict, clear));
                    }
                }
            }
        }
    }
    all
}

#[test]
fn only_what_the_table_lists_is_probed_and_nothing_after_content() {
    for (fault, expected) in faults() {
        for delivered in
            [Delivered::Nothing, Delivered::Reasoning(1), Delivered::Content(1), Delivered::Content(1031)]
        {
            let probed = Attempt::new(Ok("stand-in")).failed(failure(fault.clone(), delivered)).is_ok();
            assert_eq!(probed, expected && delivered == Delivered::Nothing, "{fault:?} {delivered:?}");
        }
    }
}

#[test]
fn without_a_stand_in_nothing_is_probed() {
    let reasons = [
        NoStandIn::NotDeclared,
        NoStandIn::AskedById,
        NoStandIn::RouteCentral,
        NoStandIn::FileUnusable,
        NoStandIn::IsCentral("x".into()),
    ];
    for (fault, probed) in faults() {
        for reason in &reasons {
            let cause = failure(fault.clone(), Delivered::Nothing);
            let Err(gave_up) = Attempt::<()>::new(Err(reason.clone())).failed(cause.clone()) else {
                panic!("{fault:?} was probed without a stand-in");
            };
            let why = if probed { Why::NoStandIn(reason.clone()) } else { Why::Final };
            assert_eq!(gave_up, GaveUp { cause, why });
        }
    }
}

#[test]
fn p12_no_status_but_200_permits_a_stand_in() {
    let mut permits = 0;
    for (verdict, clear) in verdicts() {
        let cause = failure(Fault::NoContent(Duration::from_secs(1)), Delivered::Nothing);
        let Ok(probe) = Attempt::new(Ok("stand-in")).failed(cause.clone()) else { panic!("not probed") };
        match probe.answered(verdict.clone()) {
            Ok(permit) => {
                assert!(clear, "{verdict:?} made a permit");
                assert_eq!(permit.cause(), &cause);
                permits += 1;
            }
            Err(gave_up) => {
                assert!(!clear, "{verdict:?} made no permit");
                assert_eq!(gave_up.cause, cause);
                assert!(matches!(gave_up.why, Why::Denied(_) | Why::Unverified(_)));
            }
        }
    }
    // 200 x (allow, or no decision where none is required) x two failover values x two content types.
    assert_eq!(permits, (2 + 1) * 2 * 2, "the number of clear answers changed");
}

#[test]
fn p07_401_403_and_404_are_denials_whatever_else_the_answer_says() {
    for status in [401, 403, 404] {
        let verdict = Verdict::judge(&asked(true), &reply(status, &[allow().to_string()], &["allowed"], &[]));
        assert_eq!(verdict.outcome(), Err(&Why::Denied(Denial::Status(status))));
    }
}

#[test]
fn p15_a_replayed_decision_is_not_a_yes() {
    let replayed = allow().to_string().replace("0101", "0202");
    let verdict = Verdict::judge(&asked(false), &reply(200, &[replayed], &["allowed"], &[]));
    assert_eq!(verdict.outcome(), Err(&Why::Unverified(Doubt::WrongNonce)));
    let without = allow().to_string().split("; nonce").next().unwrap().to_owned();
    let verdict = Verdict::judge(&asked(false), &reply(200, &[without], &["allowed"], &[]));
    assert_eq!(verdict.outcome(), Err(&Why::Unverified(Doubt::WrongNonce)));
}

#[test]
fn p16_a_name_that_means_another_llm_by_now_is_not_a_yes() {
    let other = allow().to_string().replace(ID, OTHER_ID);
    let verdict = Verdict::judge(&asked(false), &reply(200, &[other], &[], &[]));
    assert_eq!(verdict.outcome(), Err(&Why::Unverified(Doubt::OtherLlm)));
    let by_id = Asked { llm: LlmKey::Id(OTHER_ID.parse().unwrap()), id: None, ..asked(false) };
    let verdict = Verdict::judge(&by_id, &reply(200, &[allow().to_string()], &[], &[]));
    assert_eq!(verdict.outcome(), Err(&Why::Unverified(Doubt::OtherLlm)));
}

#[test]
fn p19_a_lost_reply_leaves_the_state_of_the_primary_unknown() {
    let lost = Fault::Unreachable { target: "x:1".into(), how: Unreachable::Reset };
    assert_eq!(failure(lost, Delivered::Nothing).primary_state(), PrimaryState::Unknown);
    let refused = Fault::Unreachable { target: "x:1".into(), how: Unreachable::Refused };
    assert_eq!(failure(refused, Delivered::Nothing).primary_state(), PrimaryState::NotExecuted);
    assert_eq!(failure(Fault::Cut("x".into()), Delivered::Content(3)).primary_state(), PrimaryState::Partial);
}

#[test]
fn p18_a_permit_that_has_aged_is_a_question_again() {
    let permit = || {
        let cause = failure(Fault::NotAsked, Delivered::Nothing);
        let Ok(probe) = Attempt::new(Ok("laptop")).failed(cause) else { panic!("not worth asking") };
        let allowed = Verdict::judge(&asked(true), &reply(200, &[allow().to_string()], &["allowed"], &[]));
        probe.answered(allowed).ok().unwrap()
    };
    for millis in [0, 1, 9_999, 10_000] {
        assert!(permit().fresh(Duration::from_millis(millis)).is_ok(), "{millis} ms");
    }
    for millis in [10_001, 60_000, u64::MAX] {
        let Err(probe) = permit().fresh(Duration::from_millis(millis)) else { panic!("{millis} ms") };
        // And the newer answer is the one that counts.
        let denied = Verdict::judge(&asked(true), &reply(403, &[], &[], &[]));
        let gave_up = probe.answered(denied).err().unwrap();
        assert!(matches!(gave_up.why, Why::Denied(_)));
    }
    let Ok(fresh) = permit().fresh(Duration::ZERO) else { panic!("young") };
    // For another try it is a permit like any other.
    assert!(fresh.into_permit().fresh(Duration::from_secs(11)).is_err());
}
