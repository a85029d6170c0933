//! What an answer to a change is worth when the database goes away in the middle of it.

use super::Stage;
use crate::cases::{LIMIT, is_full_run};
use fakes::{Response, required, wait_until};
use mcp_api::paths;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// How often the wire is cut at every message, at most, until each kind of answer has been seen.
const ROUNDS: usize = 5;
/// Writers at once while the database is killed.
const WRITERS: usize = 4;
/// How many users they make before each kill.
const BEFORE_KILL: usize = 20;

/// What the server said about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Made,
    NotMade,
    Unknown,
}

impl Said {
    fn by(answer: &Response) -> Self {
        match (answer.status, answer.header("mcpd-error-code")) {
            (201, None) => Self::Made,
            (503, Some("database_unavailable")) => Self::NotMade,
            (503, Some("outcome_unknown")) => Self::Unknown,
            other => panic!("{other:?}: {}", answer.text()),
        }
    }

    /// Says whether it was the truth.
    fn is_true(self, is_there: bool) -> bool {
        match self {
            Self::Made => is_there,
            Self::NotMade => !is_there,
            Self::Unknown => true,
        }
    }
}

#[test]
fn d07_a_change_whose_wire_is_cut_at_any_message_is_never_said_to_be_what_it_is_not() {
    let Some(stage) = Stage::start() else { return required("PostgreSQL") };
    // Otherwise it was not cut where it hurts: at the commit itself, lost on its way there and on its way back.
    let expected = BTreeSet::from([
        (Said::Made, true),
        (Said::NotMade, false),
        (Said::Unknown, false),
        (Said::Unknown, true),
    ]);
    let (mut said, mut outcomes) = (BTreeMap::new(), BTreeSet::new());
    // The server says other things to its database as well, whenever it is time, so that a round can step over a message.
    for round in 0..ROUNDS {
        cut_everywhere(&stage, round, &mut said);
        // A change that the server can no longer be told to undo would be here by now: each has waited for the one before.
        stage.mcpd.create_user(&format!("after-{round}"));
        let found = users(&stage);
        let lies: Vec<_> = said.iter().filter(|(name, said)| !said.is_true(found.contains(*name))).collect();
        assert!(lies.is_empty(), "{lies:?}");
        outcomes = said.iter().map(|(name, said)| (*said, found.contains(name))).collect();
        println!("{} cuts: {outcomes:?}", said.len());
        if outcomes == expected {
            break;
        }
    }
    assert_eq!(outcomes, expected);
}

/// Makes changes whose wire is cut before each message in turn, and before each answer.
fn cut_everywhere(stage: &Stage, round: usize, said: &mut BTreeMap<String, Said>) {
    for loses_answer in [false, true] {
        for at in 1.. {
            stage.wait_for_recovery();
            let name = format!("cut-{round}-{at}-{}", if loses_answer { "after" } else { "before" });
            if loses_answer {
                stage.wire.cut_before_answer_to(at);
            } else {
                stage.wire.cut_before_message(at);
            }
            let answer = create(stage, &name);
            said.insert(name, Said::by(&answer));
            let was_answered_before_it = stage.wire.is_to_cut();
            stage.wire.pass();
            if was_answered_before_it {
                break;
            }
        }
    }
}

#[test]
fn d07_when_postgresql_is_killed_under_load_every_acknowledged_change_is_there() {
    let Some(mut stage) = Stage::start() else { return required("PostgreSQL") };
    let said = Mutex::new(BTreeMap::new());
    let made = || said.lock().unwrap().values().filter(|said| **said == Said::Made).count();
    for round in 0..if is_full_run() { 30 } else { 4 } {
        let is_over = AtomicBool::new(false);
        let Stage { mcpd, postgres, .. } = &mut stage;
        let before = made();
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (mcpd, is_over, said) = (&*mcpd, &is_over, &said);
                scope.spawn(move || {
                    for number in 0.. {
                        if is_over.load(Ordering::SeqCst) {
                            return;
                        }
                        let name = format!("user-{round}-{writer}-{number}");
                        let body = json!({"kind": "User", "name": name});
                        let answer = mcpd.api("POST", paths::SUBJECTS, mcpd.admin_token(), &body);
                        said.lock().unwrap().insert(name, Said::by(&answer));
                    }
                });
            }
            wait_until(LIMIT, "changes are made", || made() >= before + BEFORE_KILL);
            postgres.kill();
            is_over.store(true, Ordering::SeqCst);
        });
        postgres.start_again();
        stage.wait_for_recovery();
    }
    let (said, found) = (said.into_inner().unwrap(), users(&stage));
    let lies: Vec<_> = said.iter().filter(|(name, said)| !said.is_true(found.contains(*name))).collect();
    assert!(lies.is_empty(), "{lies:?}");
    let count = |what| said.values().filter(|said| **said == what).count();
    println!(
        "made {}, not made {}, unknown {}",
        count(Said::Made),
        count(Said::NotMade),
        count(Said::Unknown)
    );
    assert!(count(Said::NotMade) + count(Said::Unknown) > 0, "it was killed while nobody wrote");
}

fn create(stage: &Stage, name: &str) -> Response {
    let body = json!({"kind": "User", "name": name});
    stage.mcpd.api("POST", paths::SUBJECTS, stage.mcpd.admin_token(), &body)
}

fn users(stage: &Stage) -> BTreeSet<String> {
    stage.postgres.psql("SELECT name FROM subjects").lines().map(ToOwned::to_owned).collect()
}
