//! Load on one address: so many connections, each asking as soon as it has its answer or at a fixed pace.

use crate::{client::Connection, process::Used, stub::Model};
use anyhow::Context;
use serde::Serialize;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// A request that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is asked, by whom and how often.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// How long to ask; a request that has begun is finished.
    pub(crate) time: Duration,
    /// Requests a second over all connections; as many as there can be without it.
    pub(crate) rate: Option<u32>,
    /// Requests on each connection, if that is reached before the time is over.
    pub(crate) requests: Option<usize>,
}

/// Where requests go, and what they are.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) token: String,
    /// More lines of the head, each with its line end.
    pub(crate) headers: String,
}

impl Target {
    /// The path of OpenAI's API at an address.
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        Self {
            address,
            path: "/v1/chat/completions".to_owned(),
            token: token.to_owned(),
            headers: String::new(),
        }
    }

    /// A request as bytes.
    pub(crate) fn request(&self, model: &str, prompt: usize, stream: bool) -> Vec<u8> {
        let text = "lorem ipsum ".repeat(prompt.div_ceil(12));
        let text = &text[..prompt];
        let body = format!(
            "{{\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}],\"stream\":{stream},\"model\":\"{model}\"}}"
        );
        format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\naccept: */*\r\n\
             {}content-length: {}\r\n\r\n{body}",
            self.path,
            self.address,
            self.token,
            self.headers,
            body.len()
        )
        .into_bytes()
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Outcome {
    pub(crate) requests: usize,
    pub(crate) failed: usize,
    /// The first failure, in words.
    pub(crate) error: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) first_p50_us: f64,
    pub(crate) first_p99_us: f64,
    pub(crate) tokens: u64,
    /// Of the measured program, in microseconds for each request.
    pub(crate) cpu_us: f64,
    /// The same for each token.
    pub(crate) cpu_us_token: f64,
    /// The most memory that was seen while it ran, in KiB.
    pub(crate) rss_kib: u64,
}

impl Load {
    /// Asks, and looks meanwhile at what the process `pid` uses.
    pub(crate) async fn run(
        &self,
        target: &Target,
        request: Vec<u8>,
        pid: Option<u32>,
    ) -> anyhow::Result<Outcome> {
        let request: Arc<[u8]> = request.into();
        let mut connections = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            connections.push(Connection::to(target.address).await?);
        }
        let before = pid.map(Used::of).transpose()?.unwrap_or_default();
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for (number, connection) in connections.into_iter().enumerate() {
            tasks.spawn(self.clone().ask(number, connection, target.address, Arc::clone(&request), began));
        }
        let mut rss = before.rss;
        let mut all = Asked::default();
        let mut look = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                asked = tasks.join_next() => match asked {
                    Some(asked) => all.add(asked.context("a task of the load")?),
                    None => break,
                },
                _ = look.tick() => if let Some(pid) = pid { rss = rss.max(Used::of(pid)?.rss) },
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let after = pid.map(Used::of).transpose()?.unwrap_or_default();
        Ok(all.outcome(seconds, after.cpu.saturating_sub(before.cpu), rss.max(after.rss)))
    }

    async fn ask(
        self,
        number: usize,
        mut connection: Connection,
        address: SocketAddr,
        request: Arc<[u8]>,
        began: Instant,
    ) -> Asked {
        let mut asked = Asked::default();
        let mut due = self.rate.map(|rate| {
            let pace = Duration::from_secs(1) * u32::try_from(self.connections).unwrap_or(1) / rate;
            let shift =
                pace * u32::try_from(number).unwrap_or(0) / u32::try_from(self.connections).unwrap_or(1);
            (began + shift, pace)
        });
        let enough = self.requests.unwrap_or(usize::MAX);
        while began.elapsed() < self.time && asked.took.len() + asked.failed < enough {
            let mut late = Duration::ZERO;
            if let Some((next, pace)) = &mut due {
                // What waits behind a slow answer waits for the server: its time counts from when it was due. That the
                // clock of this program has steps of a millisecond is not the server's.
                late = next.elapsed();
                if late.is_zero() {
                    sleep_until(*next).await;
                }
                *next += *pace;
            }
            match timeout(PATIENCE, connection.ask(&request)).await {
                Ok(Ok(seen)) => {
                    asked.took.push(seen.took + late);
                    asked.first.push(seen.first + late);
                    asked.tokens += u64::from(seen.tokens);
                }
                failed => {
                    asked.failed += 1;
                    let error = failed.map_or_else(
                        |late| late.to_string(),
                        |seen| seen.map_or_else(|error| format!("{error:#}"), |_| String::new()),
                    );
                    asked.error.get_or_insert(error);
                    match Connection::to(address).await {
                        Ok(new) => connection = new,
                        Err(_) => break,
                    }
                }
            }
        }
        asked
    }
}

#[derive(Debug, Default)]
struct Asked {
    took: Vec<Duration>,
    first: Vec<Duration>,
    tokens: u64,
    failed: usize,
    error: Option<String>,
}

impl Asked {
    fn add(&mut self, other: Self) {
        self.took.extend(other.took);
        self.first.extend(other.first);
        self.tokens += other.tokens;
        self.failed += other.failed;
        self.error = self.error.take().or(other.error);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far from 2^52")]
    fn outcome(mut self, seconds: f64, cpu: Duration, rss_kib: u64) -> Outcome {
        self.took.sort_unstable();
        self.first.sort_unstable();
        let cpu = cpu.as_secs_f64() * 1e6;
        Outcome {
            requests: self.took.len(),
            failed: self.failed,
            error: self.error,
            seconds,
            per_second: self.took.len() as f64 / seconds,
            p50_us: at(&self.took, 50),
            p99_us: at(&self.took, 99),
            first_p50_us: at(&self.first, 50),
            first_p99_us: at(&self.first, 99),
            tokens: self.tokens,
            cpu_us: cpu / self.took.len().max(1) as f64,
            cpu_us_token: cpu / self.tokens.max(1) as f64,
            rss_kib,
        }
    }
}

/// A percentile of what is sorted, in microseconds.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

/// The loads of `mcp-bench load`, by name.
pub(crate) fn by_flags(connections: usize, seconds: f64, rate: Option<u32>) -> Load {
    Load { connections, time: Duration::from_secs_f64(seconds), rate, requests: None }
}

/// What a stub answers if nobody says otherwise.
pub(crate) fn plain() -> String {
    Model::PLAIN.to_string()
}
