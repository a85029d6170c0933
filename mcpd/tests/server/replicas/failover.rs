//! Two servers under load: one dies, and the clients of the other do not notice; the database goes, and comes back.

use super::{Pair, uses};
use crate::cases::{LIMIT, USES_CHAT, is_full_run};
use fakes::{Mcpd, required, wait_until};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Clients of each server.
const CLIENTS: usize = 4;
/// Plain runs do not wait for as long as an operator would.
const OUTAGE: Duration = Duration::from_secs(2);
const FULL_OUTAGE: Duration = Duration::from_secs(10);
/// How long one answer may take while there is no database: its patience, and time for a busy machine.
const BOUND: Duration = Duration::from_secs(5);

/// What the clients of one server see, until it is looked at.
#[derive(Default)]
struct Seen {
    statuses: Mutex<BTreeMap<u16, usize>>,
    slowest: Mutex<Duration>,
    is_over: AtomicBool,
}

impl Seen {
    fn ask(&self, mcpd: &Mcpd, token: &str) {
        for number in 0_usize.. {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let begun = Instant::now();
            let status = uses(mcpd, "chat", token, number.is_multiple_of(2));
            let mut slowest = self.slowest.lock().unwrap();
            *slowest = slowest.max(begun.elapsed());
            *self.statuses.lock().unwrap().entry(status).or_default() += 1;
        }
    }

    /// What was seen since the last look: how often which status, and the longest wait.
    fn look(&self) -> (BTreeMap<u16, usize>, Duration) {
        (
            std::mem::take(&mut *self.statuses.lock().unwrap()),
            std::mem::take(&mut *self.slowest.lock().unwrap()),
        )
    }

    /// Waits until so many more answers with this status came.
    fn wait_for(&self, status: u16, more: usize) {
        let count = || self.statuses.lock().unwrap().get(&status).copied().unwrap_or_default();
        let enough = count() + more;
        wait_until(LIMIT, &format!("{more} more answers {status}"), || count() >= enough);
    }
}

/// Lets go of the clients also where the test fails.
struct Over<'a>(&'a Seen);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

#[test]
fn d10_one_of_two_servers_dies_under_load_and_nobody_at_the_other_sees_it() {
    let Some(mut pair) = Pair::start() else { return required("PostgreSQL") };
    pair.mcpds[0].create_llm("chat", &pair.engine.url());
    let token = pair.mcpds[1].user_with("dana", USES_CHAT);
    let Pair { mcpds: [dying, living], .. } = &mut pair;
    let seen = Seen::default();
    thread::scope(|scope| {
        let _over = Over(&seen);
        for _ in 0..CLIENTS {
            scope.spawn(|| seen.ask(living, &token));
        }
        // Its own clients, who lose their connections with it.
        let (addr, token) = (dying.addr(), &token);
        for _ in 0..CLIENTS {
            scope.spawn(move || {
                let bearer = format!("Bearer {token}");
                let head = [("authorization", &*bearer)];
                let request = fakes::http::request_bytes("HEAD", "/api/v1/llms/chat", addr, &head, b"");
                while fakes::Exchange::open(addr, &request).is_ok_and(|answer| answer.status == 200) {}
            });
        }
        seen.wait_for(200, 100);
        let (before, _) = seen.look();
        assert_eq!(before.len(), 1, "{before:?}");
        dying.kill();
        // Also in the middle of a change: the other one is not left waiting for a dead one's lock.
        living.create_user("after");
        seen.wait_for(200, 200);
        let (after, slowest) = seen.look();
        println!("after the death of the other: {after:?}, the slowest in {slowest:.1?}");
        assert_eq!(after.keys().copied().collect::<Vec<_>>(), [200]);
    });
}

#[test]
fn p23_while_the_database_is_away_there_is_only_503_and_then_all_is_normal_without_a_restart() {
    let Some(mut pair) = Pair::start() else { return required("PostgreSQL") };
    pair.mcpds[0].create_llm("chat", &pair.engine.url());
    let token = pair.mcpds[0].user_with("dana", USES_CHAT);
    let Pair { mcpds, postgres, .. } = &mut pair;
    let seen = [Seen::default(), Seen::default()];
    thread::scope(|scope| {
        let _over = [Over(&seen[0]), Over(&seen[1])];
        for (seen, mcpd) in seen.iter().zip(mcpds.iter()) {
            for _ in 0..CLIENTS {
                scope.spawn(|| seen.ask(mcpd, &token));
            }
        }
        for seen in &seen {
            seen.wait_for(200, 50);
        }
        postgres.stop();
        // An answer that was decided before may still be on its way.
        for seen in &seen {
            seen.wait_for(503, CLIENTS);
        }
        let before = seen.each_ref().map(|seen| seen.look().0);
        assert!(
            before.iter().all(|statuses| statuses.keys().all(|status| matches!(status, 200 | 503))),
            "{before:?}"
        );
        let away = Instant::now();
        while away.elapsed() < if is_full_run() { FULL_OUTAGE } else { OUTAGE } {
            for seen in &seen {
                seen.wait_for(503, 1);
            }
        }
        let during = seen.each_ref().map(Seen::look);
        for (statuses, slowest) in &during {
            assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [503]);
            assert!(*slowest < BOUND, "{slowest:?}");
        }
        let back = Instant::now();
        postgres.start_again();
        let started = back.elapsed();
        for seen in &seen {
            seen.wait_for(200, 2 * CLIENTS);
        }
        let normal = back.elapsed();
        for seen in &seen {
            drop(seen.look());
        }
        for seen in &seen {
            seen.wait_for(200, 100);
        }
        let after = seen.each_ref().map(|seen| seen.look().0);
        println!(
            "away: {during:.1?}; PostgreSQL was up after {started:.1?}, all normal after {normal:.1?}: {after:?}"
        );
        assert!(after.iter().all(|statuses| statuses.keys().eq([&200])), "{after:?}");
    });
}
