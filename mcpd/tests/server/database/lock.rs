//! A database that somebody else has locked.

use super::Stage;
use crate::cases::{CHAT, INFER, error_of, prompt};
use fakes::required;
use mcp_api::paths;
use serde_json::json;
use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
    time::{Duration, Instant},
};

/// How long the server waits for a lock.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn d01_a_lock_of_somebody_else_stops_writes_and_nothing_else() {
    let Some(stage) = Stage::start() else { return required("PostgreSQL") };
    let user = json!({"kind": "User", "name": "late"});
    while_holding(&stage, "LOCK TABLE authz IN EXCLUSIVE MODE", || {
        let begun = Instant::now();
        let write = stage.mcpd.api("POST", paths::SUBJECTS, stage.mcpd.admin_token(), &user);
        let took = begun.elapsed();
        assert_eq!(error_of(&write), (503, "database_unavailable".into(), "gateway".into()));
        assert!(write.header("retry-after").is_some());
        assert!((PATIENCE / 2..2 * PATIENCE).contains(&took), "{took:?}");
        assert_eq!(stage.probe(), 200);
        assert_eq!(stage.mcpd.request("GET", CHAT, Some(&stage.token), &[], b"").status, 200);
        assert_eq!(stage.mcpd.api("POST", INFER, &stage.token, &prompt(json!({}))).status, 200);
        assert_eq!(stage.mcpd.request("GET", "/readyz", None, &[], b"").status, 200);
    });
    let write = stage.mcpd.api("POST", paths::SUBJECTS, stage.mcpd.admin_token(), &user);
    assert_eq!(write.status, 201, "what was given up was not done later: {}", write.text());
}

#[test]
fn d01_who_cannot_even_read_is_told_so_soon() {
    let Some(stage) = Stage::start() else { return required("PostgreSQL") };
    while_holding(&stage, "LOCK TABLE authz IN ACCESS EXCLUSIVE MODE", || {
        let begun = Instant::now();
        assert_eq!(stage.probe(), 503);
        assert!(begun.elapsed() < super::BOUND, "{:?}", begun.elapsed());
    });
    stage.wait_for_recovery();
}

/// Does `meanwhile` while another session is in a transaction that has done `statement`.
fn while_holding(stage: &Stage, statement: &str, meanwhile: impl FnOnce()) {
    let mut session = stage.postgres.session(stage.postgres.addr());
    let mut session = session.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut ask, answer) = (session.stdin.take().unwrap(), session.stdout.take().unwrap());
    writeln!(ask, "BEGIN; {statement}; SELECT 'held';").unwrap();
    let mut line = String::new();
    BufReader::new(answer).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    meanwhile();
    drop(ask);
    session.wait().unwrap();
}
