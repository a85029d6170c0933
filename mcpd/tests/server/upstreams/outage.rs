//! Three real nodes, of which one is killed every few seconds while callers go on asking.

use super::serve_by;
use crate::cases::{INFER, LIMIT, is_full_run, prompt};
use fakes::{LlamaServer, Mcpd};
use serde_json::{Value, json};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const CALLERS: usize = 6;

/// How one request ended, as its caller saw it.
#[derive(Debug, Default)]
struct Seen {
    whole: usize,
    /// Cut after content had come. Nobody can help that.
    cut: usize,
    /// Without any content. There must be none.
    failed: Vec<String>,
    slowest: Duration,
}

impl Seen {
    fn note(&mut self, mcpd: &Mcpd, stream: bool) {
        let began = Instant::now();
        let body = prompt(json!({"stream": stream, "max_tokens": 40})).to_string();
        let answer = mcpd
            .open("POST", INFER, Some(mcpd.admin_token()), &[], body.as_bytes())
            .map(fakes::Exchange::finish);
        self.slowest = self.slowest.max(began.elapsed());
        match answer {
            Ok(answer) if answer.status == 200 && stream => {
                let events = answer.events();
                let is_content = |event: &String| {
                    let event: Value = serde_json::from_str(event).unwrap_or_default();
                    event["choices"][0]["delta"].is_object()
                };
                match events.last().map(String::as_str) {
                    Some("[DONE]") => self.whole += 1,
                    _ if events.iter().any(is_content) => self.cut += 1,
                    _ => self.failed.push(answer.text()),
                }
            }
            Ok(answer) if answer.status == 200 && answer.complete => self.whole += 1,
            Ok(answer) if answer.status == 200 => self.cut += 1,
            Ok(answer) => self.failed.push(format!("{} {}", answer.status, answer.text())),
            Err(error) => self.failed.push(error.to_string()),
        }
    }

    fn with(mut self, other: Self) -> Self {
        self.whole += other.whole;
        self.cut += other.cut;
        self.failed.extend(other.failed);
        self.slowest = self.slowest.max(other.slowest);
        self
    }
}

#[test]
fn of_three_nodes_one_is_killed_again_and_again_and_no_caller_sees_an_error() {
    let (period, rounds) =
        if is_full_run() { (Duration::from_secs(5), 24) } else { (Duration::from_secs(2), 7) };
    let started = (0..3).map(|_| LlamaServer::start_with(&["--parallel", "4"])).collect::<Option<Vec<_>>>();
    let Some(mut nodes) = started else { return fakes::required("llama-server") };
    let mcpd = Mcpd::start();
    let urls: Vec<String> = nodes.iter().map(LlamaServer::url).collect();
    serve_by(&mcpd, &urls.iter().map(String::as_str).collect::<Vec<_>>());
    let (over, ended, began) = (AtomicBool::new(false), AtomicUsize::new(0), Instant::now());
    let all = Mutex::new(Seen::default());
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (over, ended, all, mcpd) = (&over, &ended, &all, &mcpd);
            scope.spawn(move || {
                let mut seen = Seen::default();
                while !over.load(Ordering::Relaxed) {
                    seen.note(mcpd, caller % 3 != 0);
                    ended.fetch_add(1, Ordering::Relaxed);
                }
                let mut all = all.lock().unwrap();
                *all = std::mem::take(&mut *all).with(seen);
            });
        }
        for round in 0..rounds {
            // The beat of the kills: the next one is due at its time, but not before answers have come through. On a
            // machine on which an answer takes longer than a beat, all nodes would be killed within one answer.
            let due = began + period * (round + 1);
            let victim = &mut nodes[round as usize % 3];
            victim.kill();
            thread::sleep(period / 5);
            victim.restart();
            let before = ended.load(Ordering::Relaxed);
            fakes::wait_until(LIMIT, "each caller has had answers since", || {
                ended.load(Ordering::Relaxed) >= before + 2 * CALLERS
            });
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        over.store(true, Ordering::Relaxed);
    });
    let seen = all.into_inner().unwrap();
    let retried = mcpd.logs().matches("no answer from the upstream").count();
    eprintln!(
        "{rounds} kills, one each {period:?}, {CALLERS} callers: {} whole answers, {} cut after content, {} without \
         content, {retried} tries that failed and were repeated, the slowest answer took {:?}",
        seen.whole,
        seen.cut,
        seen.failed.len(),
        seen.slowest,
    );
    assert_eq!(seen.failed, Vec::<String>::new());
    assert!(seen.whole > 20 && retried > 0, "there was load, and the kills were felt");
}
