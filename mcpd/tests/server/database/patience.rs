//! A database that is slow, silent or full: nobody waits for long, nothing piles up, and one question serves many.

use super::{BOUND, Stage};
use crate::cases::{CHAT, LIMIT, probe, user};
use fakes::{Exchange, http::request_bytes, required, wait_until};
use mcp_api::paths;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

/// What the question is known by on the wire.
const QUESTION: &str = "FROM authz WHERE one = 1";
/// More memory than this for a thousand requests that wait would be a pile.
const PILE: usize = 64 << 20;

#[test]
fn d10_a_thousand_requests_to_a_silent_database_are_all_told_so_and_do_not_pile_up() {
    let Some(stage) = Stage::start() else { return required("PostgreSQL") };
    assert_eq!(at_once(&stage, 100).0, BTreeMap::from([(200, 100)]));
    let memory = resident(stage.mcpd.pid());
    stage.wire.black_hole();
    let (statuses, slowest) = at_once(&stage, 1000);
    let grown = resident(stage.mcpd.pid()).saturating_sub(memory);
    println!("{statuses:?}, the slowest in {slowest:.1?}, {} KiB more memory", grown >> 10);
    assert_eq!(statuses, BTreeMap::from([(503, 1000)]));
    assert!(slowest < 2 * BOUND, "{slowest:?}");
    assert!(grown < PILE, "{grown} bytes");
    stage.wire.pass();
    stage.wait_for_recovery();
    assert_eq!(at_once(&stage, 100).0, BTreeMap::from([(200, 100)]));
}

#[test]
fn d10_one_question_serves_all_who_wait_and_an_answer_is_never_kept() {
    let Some(stage) = Stage::start() else { return required("PostgreSQL") };
    assert_eq!(stage.probe(), 200);
    stage.wire.delay(Duration::from_millis(200));
    let before = stage.wire.executed(QUESTION);
    let (statuses, _) = at_once(&stage, 200);
    let asked = stage.wire.executed(QUESTION) - before;
    println!("200 requests at once: {asked} questions");
    assert_eq!(statuses, BTreeMap::from([(200, 200)]));
    assert!((1..=20).contains(&asked), "{asked} questions for 200 requests");

    stage.wire.pass();
    let before = stage.wire.executed(QUESTION);
    for _ in 0..20 {
        assert_eq!(stage.probe(), 200);
    }
    assert_eq!(stage.wire.executed(QUESTION) - before, 20, "one after the other each has its own");
}

#[test]
fn d10_a_database_slower_than_the_servers_patience_is_a_fast_503() {
    let Some(stage) = Stage::start() else { return required("PostgreSQL") };
    stage.wire.delay(Duration::from_secs(2));
    for _ in 0..2 {
        let begun = Instant::now();
        assert_eq!(stage.probe(), 503);
        assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    }
    stage.wire.pass();
    stage.wait_for_recovery();
}

#[test]
fn d10_a_database_without_room_for_a_connection_is_a_fast_503_until_there_is_room() {
    let Some(stage) = Stage::start() else { return required("PostgreSQL") };
    let body = json!({"kind": "User", "name": "late"});
    let create = || stage.mcpd.api("POST", paths::SUBJECTS, stage.mcpd.admin_token(), &body).status;
    stage.postgres.psql("ALTER ROLE mcpd CONNECTION LIMIT 0");
    stage.wire.cut();
    let begun = Instant::now();
    assert_eq!((stage.probe(), create()), (503, 503));
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    stage.postgres.psql("ALTER ROLE mcpd CONNECTION LIMIT -1");
    stage.wait_for_recovery();
    assert_eq!(create(), 201);
}

/// The clock of the database is moved for the server alone: among the functions that it finds there is another one
/// of that name, before PostgreSQL's.
#[test]
fn d10_a_token_expires_by_the_clock_of_the_database_and_not_by_the_servers() {
    let Some(stage) = Stage::start() else { return required("PostgreSQL") };
    stage.postgres.psql(
        "CREATE SCHEMA moved;
         CREATE TABLE moved.clock (by INTERVAL NOT NULL);
         INSERT INTO moved.clock VALUES ('0');
         CREATE FUNCTION moved.clock_timestamp() RETURNS TIMESTAMPTZ VOLATILE LANGUAGE SQL
             AS 'SELECT pg_catalog.clock_timestamp() + by FROM moved.clock';
         GRANT USAGE ON SCHEMA moved TO mcpd;
         GRANT SELECT ON moved.clock TO mcpd;
         ALTER ROLE mcpd SET search_path = moved, pg_catalog, public;",
    );
    stage.wire.cut();
    stage.wait_for_recovery();
    let ask = |token: &str| probe(&stage.mcpd, CHAT, token).status;
    let set = |by: &str| stage.postgres.psql(&format!("UPDATE moved.clock SET by = '{by}'"));

    let hour = stage.mcpd.token_of(user("dana"), Some(3600));
    assert_eq!(ask(&hour), 200);
    set("2 hours");
    assert_eq!(ask(&hour), 401, "over by the database's clock");
    assert_eq!(ask(&stage.token), 200, "one without an end goes on");
    set("0");
    assert_eq!(ask(&hour), 200);

    // Made an hour ago, as the database sees it, for half an hour.
    set("-1 hour");
    let early = stage.mcpd.token_of(user("dana"), Some(1800));
    assert_eq!(ask(&early), 200, "valid by the database's clock, over by the server's");
    set("0");
    assert_eq!(ask(&early), 401);
}

/// Probes so often at the same time; what came how often, and how long the last one took.
fn at_once(stage: &Stage, requests: usize) -> (BTreeMap<u16, usize>, Duration) {
    let addr = stage.mcpd.addr();
    let bearer = format!("Bearer {}", stage.token);
    let request = request_bytes("HEAD", CHAT, addr, &[("authorization", &bearer)], b"");
    let begun = Instant::now();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..requests)
            .map(|_| {
                let small = thread::Builder::new().stack_size(256 << 10);
                small.spawn_scoped(scope, || Exchange::open(addr, &request).unwrap().status).unwrap()
            })
            .collect();
        let mut statuses = BTreeMap::new();
        for request in asked {
            *statuses.entry(request.join().unwrap()).or_default() += 1;
        }
        (statuses, begun.elapsed())
    })
}

/// The memory that a process has, in bytes.
fn resident(pid: u32) -> usize {
    let mut found = None;
    wait_until(LIMIT, "the memory of the server is known", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        found = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
        found.is_some()
    });
    found.unwrap() << 10
}
