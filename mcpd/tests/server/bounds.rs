//! X05: requests that are too much or never end are answered early and cost little.

use crate::cases::{INFER, LIMIT, is_full_run};
use fakes::{Engine, Mcpd};
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// Where a body is read: a document, and prompts by both ways.
const PATHS: [&str; 3] = ["/api/v1/users", INFER, "/v1/chat/completions"];

fn head(mcpd: &Mcpd, path: &str, more: &str) -> String {
    let token = mcpd.admin_token();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n{more}\r\n"
    )
}

fn connect(mcpd: &Mcpd) -> TcpStream {
    let stream = TcpStream::connect(mcpd.addr()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Reads until the head and the short body of an answer are there, or the connection is over.
fn status(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("no answer: {error}"),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// The most memory that it ever had, in kB.
fn peak(mcpd: &Mcpd) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", mcpd.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn mcpd() -> (Engine, Mcpd) {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    (engine, mcpd)
}

#[test]
fn x05_a_body_that_announces_too_much_is_refused_before_it_is_sent() {
    let (engine, mcpd) = mcpd();
    for path in PATHS {
        for expect in ["", "expect: 100-continue\r\n"] {
            let mut stream = connect(&mcpd);
            let lines = format!("content-length: {}\r\n{expect}", 1_u64 << 40);
            stream.write_all(head(&mcpd, path, &lines).as_bytes()).unwrap();
            // Not a byte of the body is sent, and nobody asks for one.
            assert_eq!(status(&mut stream), "413", "{path} {expect:?}");
        }
    }
    assert_eq!(engine.requests(), 0);
}

#[test]
fn x05_a_body_without_end_is_refused_at_the_limit_and_costs_no_more_memory() {
    let (engine, mcpd) = mcpd();
    for path in PATHS {
        let mut stream = connect(&mcpd);
        stream.write_all(head(&mcpd, path, "transfer-encoding: chunked\r\n").as_bytes()).unwrap();
        let chunk = [&b"10000\r\n"[..], &vec![b' '; 1 << 16], b"\r\n"].concat();
        let mut reader = stream.try_clone().unwrap();
        let answered = thread::spawn(move || status(&mut reader));
        // Whoever goes on after the answer is read for a while, for nothing, and then cut off.
        while !answered.is_finished() && stream.write_all(&chunk).is_ok() {}
        assert_eq!(answered.join().unwrap(), "413", "{path}");
    }
    assert_eq!(engine.requests(), 0);
    assert!(peak(&mcpd) < 96 << 10, "{} kB at the peak", peak(&mcpd));
}

#[test]
fn x05_who_waits_to_be_told_to_go_on_is_told_so_or_refused() {
    let (_engine, mcpd) = mcpd();
    let body = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
    let expect = format!("expect: 100-continue\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    let mut stream = connect(&mcpd);
    stream.write_all(head(&mcpd, INFER, &expect).as_bytes()).unwrap();
    assert_eq!(status(&mut stream), "100");
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(status(&mut stream), "200");
    // Whoever may not is told that, and not to send it first.
    let stranger = head(&mcpd, INFER, &expect).replace(mcpd.admin_token(), "mcpd_0123456789abcdef_nobody");
    let mut stream = connect(&mcpd);
    stream.write_all(stranger.as_bytes()).unwrap();
    assert_eq!(status(&mut stream), "401");
}

#[test]
fn x05_very_many_or_very_long_headers_are_refused_early() {
    let (_engine, mcpd) = mcpd();
    let many: String = (0..100_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(8 << 20));
    let name = format!("{}: y\r\n", "x".repeat(8 << 20));
    let few: String = (0..101).map(|number| format!("x-{number}: y\r\n")).collect();
    let before = peak(&mcpd);
    for lines in [&many, &long, &name, &few] {
        let mut stream = connect(&mcpd);
        let begun = Instant::now();
        // It is not read to its end.
        let _refused_early = stream.write_all(head(&mcpd, "/api/v1/users", lines).as_bytes());
        let said = status(&mut stream);
        assert!(said == "431" || said.is_empty(), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(8));
    }
    let mut stream = connect(&mcpd);
    stream.write_all(head(&mcpd, "/api/v1/users", &few).as_bytes()).unwrap();
    assert_eq!(status(&mut stream), "431");
    let path = format!("/{}", "x".repeat(1 << 20));
    let mut stream = connect(&mcpd);
    let _refused_early = stream.write_all(head(&mcpd, &path, "").as_bytes());
    assert!(["414", "431", ""].contains(&&*status(&mut stream)));
    assert!(peak(&mcpd) < before + (16 << 10), "{before} kB before, {} kB at the peak", peak(&mcpd));
}

#[test]
fn x05_many_slow_heads_hold_up_nobody_and_are_told_off() {
    let (_engine, mcpd) = mcpd();
    let begun = Instant::now();
    let before = peak(&mcpd);
    // As slow as can be: a part of a head, and then nothing.
    let mut slow: Vec<TcpStream> = (0..300).map(|_| connect(&mcpd)).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: ").unwrap();
    }
    let mut silent = connect(&mcpd);
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(mcpd.request("GET", "/readyz", None, &[], b"").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    for stream in &mut slow {
        assert_eq!(status(stream), "408");
    }
    // Who asked for nothing is told nothing.
    assert_eq!(status(&mut silent), "");
    assert!(begun.elapsed() > Duration::from_secs(9) && begun.elapsed() < Duration::from_secs(30));
    assert!(peak(&mcpd) < before + (16 << 10), "{before} kB before, {} kB at the peak", peak(&mcpd));
    assert!(mcpd.request("GET", "/readyz", None, &[], b"").complete);
}

#[test]
fn x05_a_body_that_drips_is_told_off_after_two_minutes() {
    // It takes those two minutes.
    if !is_full_run() {
        return;
    }
    let (engine, mcpd) = mcpd();
    thread::scope(|scope| {
        for path in PATHS {
            let mcpd = &mcpd;
            scope.spawn(move || {
                let begun = Instant::now();
                let mut stream = connect(mcpd);
                stream.set_read_timeout(Some(Duration::from_mins(3))).unwrap();
                stream.write_all(head(mcpd, path, "content-length: 1000\r\n").as_bytes()).unwrap();
                let mut reader = stream.try_clone().unwrap();
                let answered = thread::spawn(move || status(&mut reader));
                while !answered.is_finished() && stream.write_all(b" ").is_ok() {
                    thread::park_timeout(Duration::from_millis(200));
                }
                assert_eq!(answered.join().unwrap(), "408", "{path}");
                assert!(begun.elapsed() < Duration::from_secs(130), "{path}");
            });
        }
    });
    assert_eq!(engine.requests(), 0);
}
