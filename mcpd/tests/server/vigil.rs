//! What becomes of answers that are under way, and of prompts that are still on their way, while nobody can say whether
//! the right to run still stands.

use crate::cases::{INFER, LIMIT, USES_CHAT, endless, prompt};
use fakes::{Engine, Exchange, Mcpd, Postgres, http::request_bytes};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// As long may a stream go on without being confirmed.
const PERIOD: Duration = Duration::from_secs(4);

fn streaming(mcpd: &Mcpd) -> Exchange {
    let body = endless().to_string();
    let mut exchange = mcpd.open("POST", INFER, Some(mcpd.admin_token()), &[], body.as_bytes()).unwrap();
    exchange.read_until("tock");
    exchange
}

fn on(postgres: &Postgres, engine: &Engine) -> Mcpd {
    let period = format!("{}s", PERIOD.as_secs());
    let mcpd = Mcpd::builder().on(postgres).arg("--stream-recheck").arg(period).start();
    mcpd.create_llm("chat", &engine.url());
    mcpd
}

#[test]
fn a11_a_stream_ends_if_nobody_can_confirm_the_right_to_it() {
    let Some(mut postgres) = Postgres::start() else { return };
    let engine = Engine::start();
    let mcpd = on(&postgres, &engine);
    let exchange = streaming(&mcpd);
    postgres.stop();
    let gone = Instant::now();
    let answer = exchange.finish();
    assert!(gone.elapsed() < PERIOD + Duration::from_secs(1), "{:?}", gone.elapsed());
    let last = answer.events().pop().unwrap();
    assert!(last.contains("database_unavailable"), "{last}");
    engine.wait_for_cancel(LIMIT);
}

#[test]
fn a11_a_stream_outlives_a_database_that_is_soon_back() {
    let Some(mut postgres) = Postgres::start() else { return };
    let engine = Engine::start();
    let mcpd = on(&postgres, &engine);
    let mut exchange = streaming(&mcpd);
    let begun = Instant::now();
    postgres.stop();
    postgres.start_again();
    assert!(begun.elapsed() < PERIOD / 2, "this machine is too slow for this test: {:?}", begun.elapsed());
    // Long enough that it would have ended, had it not been confirmed anew.
    while begun.elapsed() < 2 * PERIOD {
        exchange.read_until("tock");
    }
}

/// The prompt drips in after the right was looked at; meanwhile the right goes.
#[test]
fn a11_a_prompt_that_drips_in_meets_the_revocation() {
    let engine = Engine::start();
    let mcpd = Mcpd::builder().arg("--stream-recheck").arg("50ms").start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    let body = prompt(json!({})).to_string();
    let bearer = format!("Bearer {dana}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let request = request_bytes("POST", INFER, mcpd.addr(), &headers, body.as_bytes());
    let mut client = TcpStream::connect(mcpd.addr()).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let (most, last) = request.split_at(request.len() - 1);
    client.write_all(most).unwrap();
    mcpd.delete_binding("dana");
    // The answer comes before the prompt is complete.
    let mut status = [0; 12];
    client.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 403");
    let _it_may_be_closed = client.write_all(last);
    assert_eq!(engine.requests(), 0);
}
