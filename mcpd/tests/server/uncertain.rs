//! Changes of which nobody can say at first whether they were made: never told as made or as not made, and what was
//! made holds.

use crate::cases::{CHAT, LIMIT, USES_CHAT, error_of, probe};
use fakes::{Mcpd, Postgres, Response, SlowDisk, required, wait_until};
use mcp_api::paths;
use serde_json::json;
use std::thread;

fn create(mcpd: &Mcpd, user: &str) -> Response {
    mcpd.api("POST", paths::SUBJECTS, mcpd.admin_token(), &json!({"kind": "User", "name": user}))
}

fn revoke(mcpd: &Mcpd, binding: &str) -> Response {
    mcpd.request("DELETE", &format!("{}/{binding}", paths::RBACS), Some(mcpd.admin_token()), &[], b"")
}

#[test]
fn d03_a_revocation_that_a_slow_disk_holds_up_is_in_force_once_it_is_written() {
    let disk = SlowDisk::new();
    let mut builder = Mcpd::builder().sqlite();
    for (name, value) in disk.env() {
        builder = builder.env(name, value);
    }
    let mcpd = builder.start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let dana = mcpd.user_with("dana", USES_CHAT);

    disk.stall();
    let answer = revoke(&mcpd, "dana");
    assert_eq!(error_of(&answer), (503, "outcome_unknown".into(), "gateway".into()));
    assert_eq!(answer.header("retry-after"), None, "who tries again blindly could make it twice");
    disk.flow();
    // Whoever asks again is told the truth, and what he is told holds.
    wait_until(LIMIT, "the second revocation is answered", || revoke(&mcpd, "dana").status == 404);
    assert_eq!(probe(&mcpd, CHAT, &dana).status, 403, "it was acknowledged and is not in force");
    assert_eq!(create(&mcpd, "eve").status, 201);
}

/// A server that is told to stop while it commits says so after it has committed.
#[test]
fn d07_a_backend_that_is_ended_in_the_middle_of_a_commit_leaves_the_outcome_open() {
    let Some(mut postgres) = Postgres::start() else { return required("PostgreSQL") };
    postgres.stop();
    // Each commit waits a tenth of a second before it is written.
    postgres.start_again_with(&["fsync=on", "commit_delay=100000", "commit_siblings=0"]);
    let mcpd = Mcpd::builder().on(&postgres).start();

    // Waits for whoever is committing, and ends him.
    let end = "DO $$ BEGIN LOOP PERFORM pg_stat_clear_snapshot(); \
               EXIT WHEN (SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE usename = 'mcpd' AND state = 'active' AND query = 'COMMIT') > 0; END LOOP; END $$";
    let mut said = Vec::new();
    for round in 0..3 {
        thread::scope(|scope| {
            let ending = scope.spawn(|| postgres.psql(end));
            for number in 0.. {
                let name = format!("user-{round}-{number}");
                let answer = create(&mcpd, &name);
                said.push((name, answer.status, answer.header("mcpd-error-code").map(str::to_owned)));
                if ending.is_finished() {
                    break;
                }
            }
        });
    }
    let found = postgres.psql("SELECT name FROM subjects");
    let is_there = |name: &str| found.lines().any(|line| line == name);
    for (name, status, code) in &said {
        match (status, code.as_deref()) {
            (201, None) => assert!(is_there(name), "{name}: acknowledged and not there"),
            (503, Some("database_unavailable")) => assert!(!is_there(name), "{name}: refused and there"),
            (503, Some("outcome_unknown")) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    let is_hit = |(name, _, code): &(String, u16, Option<String>)| code.is_some() && is_there(name);
    assert!(said.iter().any(is_hit), "no commit was met in its middle: {said:?}");
}
