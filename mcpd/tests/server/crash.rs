//! D04: mcpd is killed while several people write, again and again on the same file. What was acknowledged is there,
//! what was not is there as a whole or not at all, and the next server starts on it at once.
//!
//! A killed process loses nothing that it gave to the kernel, so this tests what mcpd and `SQLite` do in what order, and
//! not whether the disk keeps what it was told to.

use crate::{
    audit::sound_trail,
    cases::times,
    documents::{Documents, Write, Writer},
};
use fakes::Mcpd;
use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Enough to have a change at work, one that waits for the lock and one on the wire, whenever the server dies.
const WRITERS: usize = 4;
/// The most writes that a round waits for before it lets the server die.
const WRITES: u64 = 12;
/// The longest time after the last of them at which it dies, in microseconds: about one write.
const MOMENT: u64 = 4000;

#[test]
fn d04_whatever_was_acknowledged_survives_a_kill_at_any_moment_of_a_write() {
    let rounds = u64::from(times(300, 1000));
    let seed = seed();
    // Shown if the test fails. It repeats what is written and when the kill is meant to come; which thread is quicker
    // it cannot repeat.
    println!("MCPCTL_TEST_SEED={seed}");
    let mut random = Random(seed);
    let mut mcpd = Mcpd::builder().sqlite().start();
    let mut writers: Vec<_> = (0..WRITERS).map(Writer::new).collect();
    let mut tally = Tally::default();
    for round in 0..rounds {
        let seen = write_until_killed(&mut mcpd, &mut writers, &mut random);
        let check = mcpd.run(&["check"]);
        let found = String::from_utf8_lossy(&check.stdout);
        assert!(check.status.success() && found.contains("ok  integrity"), "round {round}: {found}");
        let start = Instant::now();
        mcpd.restart();
        tally.slowest_start = tally.slowest_start.max(start.elapsed());
        let there = Documents::seen_by_admin(&mcpd);
        for writer in &mut writers {
            let settled = writer.settle(&there).unwrap_or_else(|what| panic!("round {round}: {what}"));
            tally.count(settled);
        }
        let expected: Documents = writers.iter().map(Writer::documents).collect();
        there.must_be(&expected, &format!("round {round}"));
        for writer in &writers {
            writer.try_tokens(&mcpd, &format!("round {round}"));
        }
        tally.acknowledged += seen;
    }
    every_change_is_in_the_trail(&mcpd, &writers);
    println!("{rounds} rounds: {tally:?}");
    // Else the kills came when nothing was going on.
    fakes::tally("kills of mcpd during writes", rounds);
    fakes::tally("acknowledged writes found again after a kill", tally.acknowledged);
    assert!(tally.acknowledged > rounds && tally.done + tally.undone > rounds / 4, "{tally:?}");
}

/// Every change that is there has an entry, or several, and there are entries of no other.
fn every_change_is_in_the_trail(mcpd: &Mcpd, writers: &[Writer]) {
    let trail = sound_trail(mcpd);
    let ids = trail.iter().filter_map(|entry| entry.request_id.as_deref());
    let found: BTreeSet<_> = ids.filter(|id| id.starts_with("writer-")).collect();
    let expected: BTreeSet<_> = writers.iter().flat_map(Writer::changed).map(String::as_str).collect();
    assert_eq!(found.symmetric_difference(&expected).collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[derive(Debug, Default)]
struct Tally {
    acknowledged: u64,
    /// Not acknowledged, and there.
    done: u64,
    /// Not acknowledged, and not there.
    undone: u64,
    slowest_start: Duration,
}

impl Tally {
    fn count(&mut self, settled: Option<bool>) {
        match settled {
            Some(true) => self.done += 1,
            Some(false) => self.undone += 1,
            None => {}
        }
    }
}

/// Has everybody write until the server is gone, and gives the number of writes that it acknowledged.
fn write_until_killed(mcpd: &mut Mcpd, writers: &mut [Writer], random: &mut Random) -> u64 {
    let (awaited, delay) = (random.below(WRITES), Duration::from_micros(random.below(MOMENT)));
    let (tell, told) = channel();
    let seeds: Vec<u64> = writers.iter().map(|_| random.next()).collect();
    let shared = Mutex::new(mcpd);
    let (addr, token) = {
        let mcpd = shared.lock().unwrap();
        (mcpd.addr(), mcpd.admin_token().to_owned())
    };
    thread::scope(|scope| {
        for (writer, seed) in writers.iter_mut().zip(seeds) {
            let (tell, token): (Sender<()>, _) = (tell.clone(), token.clone());
            scope.spawn(move || {
                let mut random = Random(seed);
                while let Some(()) = write(writer, &mut random, addr, &token) {
                    let _killed_already = tell.send(());
                }
            });
        }
        drop(tell);
        kill_after(&told, awaited, delay, &shared)
    })
}

fn kill_after(told: &Receiver<()>, awaited: u64, delay: Duration, mcpd: &Mutex<&mut Mcpd>) -> u64 {
    let seen = (0..awaited).map_while(|_| told.recv().ok()).count();
    // Not a wait for something: this is the moment.
    thread::sleep(delay);
    mcpd.lock().unwrap().kill();
    u64::try_from(seen + told.iter().count()).unwrap()
}

/// Makes one write; none when the server is gone.
fn write(writer: &mut Writer, random: &mut Random, addr: std::net::SocketAddr, token: &str) -> Option<()> {
    let Write { method, path, body, id } =
        writer.next(&mut |end| usize::try_from(random.below(end as u64)).unwrap());
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let headers = [
        ("authorization", &*format!("Bearer {token}")),
        ("content-type", "application/json"),
        ("x-request-id", &*id),
    ];
    let bytes = fakes::http::request_bytes(method, &path, addr, &headers, body.as_bytes());
    let answer = fakes::Exchange::open(addr, &bytes).ok()?.finish();
    if !answer.complete {
        return None;
    }
    writer.acknowledged(&answer.expect_success(&format!("{method} {path}")));
    Some(())
}

fn seed() -> u64 {
    let given = std::env::var("MCPCTL_TEST_SEED").ok().map(|text| text.parse().unwrap());
    given.unwrap_or_else(|| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        now.as_secs() ^ u64::from(now.subsec_nanos()) << 32
    })
}

/// Random choices that a seed repeats (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
