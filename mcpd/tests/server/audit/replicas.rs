//! Two servers that write to one trail at the same time.

use super::{PROBE, entries, sound_trail, wait_for};
use crate::cases::{CHAT, LIMIT, user};
use fakes::{Mcpd, Postgres, WireProxy, required, wait_until};
use mcp_api::SubjectKind;
use std::{thread, time::Instant};

const WORKERS: usize = 8;
const PROBES: usize = 150;
const CHANGES: usize = 40;

#[test]
fn d12_two_servers_under_load_write_one_sound_trail() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    let one = Mcpd::builder().on(&postgres).start();
    let two = Mcpd::builder().joining(&one).arg("--audit").arg("required").start();
    one.create_llm("chat", "http://127.0.0.1:9/v1");
    let token = one.token_of(user("admin"), None);
    let began = Instant::now();
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (mcpd, token) = (if worker % 2 == 0 { &one } else { &two }, &token);
            scope.spawn(move || {
                for _ in 0..PROBES {
                    assert_eq!(mcpd.request("HEAD", CHAT, Some(token), &PROBE, b"").status, 200);
                }
            });
        }
        for (mcpd, name) in [(&one, "a"), (&two, "b")] {
            scope.spawn(move || {
                for number in 0..CHANGES {
                    mcpd.create_subject(SubjectKind::User, &format!("{name}-{number}"), &[]);
                }
            });
        }
    });
    let took = began.elapsed();
    wait_for(&one, "event=probe", WORKERS * PROBES);
    let trail = sound_trail(&two);
    let made =
        trail.iter().filter(|it| it.object.as_deref().is_some_and(|it| it.starts_with("User/"))).count();
    assert_eq!(made, 2 * CHANGES + 1);
    eprintln!("{} entries by two servers in {took:?}", trail.len());
}

/// The connection breaks at every message of an append in turn, also between `COMMIT` and its answer.
#[test]
fn d07_an_entry_whose_commit_nobody_heard_of_is_written_once() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    let wire = WireProxy::before(postgres.addr());
    let direct = Mcpd::builder().on(&postgres).start();
    let behind = Mcpd::builder()
        .on_url(postgres.url_at(wire.addr(), "mcpd"))
        .administered_by(direct.admin_token())
        .start();
    direct.create_llm("chat", "http://127.0.0.1:9/v1");
    let token = direct.token_of(user("admin"), None);
    let mut allowed = Vec::new();
    // On new connections each time, so that each round says the same.
    let mut round = |cut: Option<u64>| {
        wire.cut();
        let before = wire.messages();
        if let Some(n) = cut {
            wire.cut_before_answer_to(n);
        }
        let id = format!("round-{before}");
        let headers = [PROBE[0], ("x-request-id", id.as_str())];
        let status = behind.request("HEAD", CHAT, Some(&token), &headers, b"").status;
        if status == 200 {
            let is_it = |it: &mcp_api::AuditEntry| it.request_id.as_deref() == Some(&*id);
            wait_until(LIMIT, "the entry", || entries(&direct, "event=probe").iter().any(is_it));
            allowed.push(id);
        }
        wire.pass();
        wire.messages() - before
    };
    let _warm = round(None);
    let messages = round(None);
    // `COMMIT` is the last thing that is said; its entry is there before anybody hears of it.
    for n in messages - 15..=messages {
        round(Some(n));
    }
    assert!(allowed.len() > 10, "{allowed:?}");
    wait_until(LIMIT, "the last tries", || behind.logs().matches("cannot be written").count() > 0);
    let written: Vec<_> =
        entries(&direct, "event=probe").into_iter().filter_map(|it| it.request_id).collect();
    for id in allowed {
        assert_eq!(written.iter().filter(|it| **it == id).count(), 1, "{id}");
    }
    sound_trail(&direct);
}
