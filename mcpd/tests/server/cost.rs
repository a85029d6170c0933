//! What it costs to know what is true now: probes a second, on a file and on PostgreSQL. Measures, and asserts little.
//!
//!     cargo test --release --package mcpd --test server -- --ignored --nocapture cost::

use crate::cases::{CHAT, NONCE, USES_CHAT};
use fakes::{Mcpd, Postgres, required};
use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

const CONNECTIONS: [usize; 3] = [1, 16, 64];
const MEASURED: Duration = Duration::from_secs(5);
const CHANGES: u32 = 50;

#[test]
#[ignore = "measures for a minute, and means something only in a release build on a quiet machine"]
fn what_the_reading_of_the_epoch_costs() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    let file = figures(&Mcpd::builder().sqlite().start());
    let server = figures(&Mcpd::builder().on(&postgres).start());
    println!(
        "connections  SQLite probes/s, p50, p99           PostgreSQL probes/s, p50, p99       ratio of p/s"
    );
    for ((connections, file), server) in CONNECTIONS.iter().zip(&file.probes).zip(&server.probes) {
        let ratio = server.per_second / file.per_second;
        println!("{connections:>11}  {file:<34}  {server:<34}  {ratio:.2}");
    }
    println!("a change     {:?}  {:?}", file.change, server.change);
}

struct Figures {
    probes: Vec<Rate>,
    change: Duration,
}

struct Rate {
    per_second: f64,
    half: Duration,
    most: Duration,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.0}, {:.2?}, {:.2?}", self.per_second, self.half, self.most))
    }
}

fn figures(mcpd: &Mcpd) -> Figures {
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let token = mcpd.user_with("dana", USES_CHAT);
    let begun = Instant::now();
    for number in 0..CHANGES {
        mcpd.create_user(&format!("user-{number}"));
    }
    let change = begun.elapsed() / CHANGES;
    Figures { probes: CONNECTIONS.map(|connections| rate(mcpd, &token, connections)).into(), change }
}

fn rate(mcpd: &Mcpd, token: &str, connections: usize) -> Rate {
    let request = format!(
        "HEAD {CHAT} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\nmcpd-probe: run; nonce={NONCE}\r\n\r\n",
        mcpd.addr()
    );
    let begun = Instant::now();
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let clients = (0..connections).map(|_| scope.spawn(|| probes(mcpd, request.as_bytes())));
        let clients: Vec<_> = clients.collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let took = begun.elapsed();
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let per_second = times.len() as f64 / took.as_secs_f64();
    Rate { per_second, half: times[times.len() / 2], most: times[times.len() * 99 / 100] }
}

/// One client on one connection: how long each probe took.
fn probes(mcpd: &Mcpd, request: &[u8]) -> Vec<Duration> {
    let mut stream = TcpStream::connect(mcpd.addr()).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut times, end) = (Vec::new(), Instant::now() + MEASURED);
    let mut answer = [0; 4096];
    while Instant::now() < end {
        let begun = Instant::now();
        stream.write_all(request).unwrap();
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\n") {
            length += stream.read(&mut answer[length..]).unwrap();
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
        times.push(begun.elapsed());
    }
    times
}
