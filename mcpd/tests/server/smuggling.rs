//! X04: requests that two readers in a row may cut at different places. Straight they are refused and their connection is
//! closed; behind a proxy of other people no request comes out of the body of another one.

use crate::cases::LIMIT;
use fakes::{Mcpd, Proxy, required};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// What is hidden in a body. No other request of these tests has this path.
const HIDDEN: &str = "GET /version HTTP/1.1\r\nHost: mcpd\r\n\r\n";

/// Heads of a POST whose length readers may take differently.
const LENGTHS: &[&str] = &[
    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    "TRANSFER-ENCODING: CHUNKED\r\ncontent-length: 4\r\n",
    "Content-Length: 0\r\nContent-Length: 44\r\n",
    "Content-Length: 44\r\nContent-Length: 0\r\n",
    "Content-Length: 0\r\nContent-Length: 0\r\n",
    "Content-Length: 0, 44\r\n",
    "Content-Length: +0\r\n",
    "Content-Length: -0\r\n",
    "Content-Length: 0x0\r\n",
    "Content-Length: 0 44\r\n",
    "Content-Length:\r\n",
    "Content-Length: 00000000000000000000000000000000000044x\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length : 0\r\n",
    "Content-Length: 0\r\n Content-Length: 44\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: \u{b}chunked\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "X: y\r\n Transfer-Encoding: chunked\r\n",
    "X: y\nTransfer-Encoding: chunked\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n",
    "X\0: y\r\n",
    "X y: z\r\n",
    ": y\r\n",
];

/// Bodies in chunks that readers may take differently.
const CHUNKS: &[&str] = &[
    "0;\n\r\n",
    "2;a=\"b\nc\"\r\n{}\r\n0\r\n\r\n",
    "2\n{}\r\n0\r\n\r\n",
    "0x2\r\n{}\r\n0\r\n\r\n",
    "+2\r\n{}\r\n0\r\n\r\n",
    "-1\r\n{}\r\n0\r\n\r\n",
    " 2\r\n{}\r\n0\r\n\r\n",
    "2 2\r\n{}\r\n0\r\n\r\n",
    "\r\n2\r\n{}\r\n0\r\n\r\n",
    "2\r\n{}0\r\n\r\n",
    "1\r\n{}\r\n0\r\n\r\n",
    "3\r\n{}\r\n0\r\n\r\n",
    "10000000000000000\r\n{}\r\n0\r\n\r\n",
    "fffffffffffffffff2\r\n{}\r\n0\r\n\r\n",
    "2\r\n{}\n0\n\n",
];

/// Whole heads that are odd otherwise.
const HEADS: &[&str] = &[
    "POST /healthz HTTP/1.1\nHost: mcpd\n\n",
    "POST /healthz HTTP/1.1\r\nHost: mcpd\n\r\n",
    "POST /healthz HTTP/1.1\r\nHost: mcpd\r\n\n",
    "\nPOST /healthz HTTP/1.1\r\nHost: mcpd\r\n\r\n",
    "POST /healthz HTTP/1.0\r\nHost: mcpd\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /healthz HTTP/1.1 \r\nHost: mcpd\r\nTransfer-Encoding: x\r\n\r\n",
    "POST /healthz HTTP/2.0\r\nHost: mcpd\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "POST  /healthz  HTTP/1.1\r\nContent-Length: 0, 4\r\n\r\n",
];

/// All of them with something hidden after it, and their names.
fn corpus() -> impl Iterator<Item = (String, Vec<u8>)> {
    let post = "POST /api/v1/can-i HTTP/1.1\r\nHost: mcpd\r\nContent-Type: application/json\r\n";
    let lengths = LENGTHS.iter().map(move |lines| format!("{post}{lines}\r\n0\r\n\r\n{HIDDEN}"));
    let chunks =
        CHUNKS.iter().map(move |body| format!("{post}Transfer-Encoding: chunked\r\n\r\n{body}{HIDDEN}"));
    let heads = HEADS.iter().map(|head| format!("{head}{HIDDEN}"));
    lengths.chain(chunks).chain(heads).map(|text| (format!("{text:?}"), text.into_bytes()))
}

/// How often something was answered.
fn answers(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).matches("HTTP/1.1 ").count()
}

/// Sends this and reads to the end of the connection.
fn ask(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let _refused_early = stream.write_all(bytes);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{}", String::from_utf8_lossy(bytes));
    }
    answer
}

#[test]
fn x04_what_can_be_read_in_two_ways_is_refused_once_and_the_connection_is_closed() {
    let mut mcpd = Mcpd::start();
    let token = mcpd.admin_token().to_owned();
    thread::scope(|scope| {
        for (name, bytes) in corpus() {
            let (mcpd, token) = (&mcpd, &token);
            scope.spawn(move || {
                // With a token, so that whatever is wrong with it, it is not the caller.
                let bearer = format!("Host: mcpd\r\nAuthorization: Bearer {token}\r\n");
                let text = String::from_utf8(bytes).unwrap().replacen("Host: mcpd\r\n", &bearer, 1);
                let begun = Instant::now();
                let answer = ask(mcpd.addr(), text.as_bytes());
                let said = String::from_utf8_lossy(&answer).into_owned();
                assert!(said.starts_with("HTTP/1.1 400") || said.is_empty(), "{name}: {said}");
                assert!(answers(&answer) < 2, "{name}: {said}");
                // Closed because of it, and not after a while without a word.
                assert!(begun.elapsed() < Duration::from_secs(8), "{name}");
            });
        }
    });
    mcpd.stop();
    assert!(!mcpd.logs().contains("\"/version\""), "{}", mcpd.logs());
}

#[test]
fn x04_one_request_after_the_other_is_nothing_odd() {
    let mut mcpd = Mcpd::start();
    let first = "POST /api/v1/can-i HTTP/1.1\r\nHost: mcpd\r\nContent-Length: 2\r\n\r\n{}";
    let last = HIDDEN.replace("Host", "Connection: close\r\nHost");
    assert_eq!(answers(&ask(mcpd.addr(), format!("{first}{HIDDEN}{last}").as_bytes())), 3);
    mcpd.stop();
    // What the other tests look for.
    assert_eq!(mcpd.logs().matches("\"/version\"").count(), 2);
}

/// Sends the corpus through a proxy that answers the hidden path itself: what comes through of it was hidden from the
/// proxy too.
fn through(proxy: Proxy) {
    let mut mcpd = Mcpd::start();
    let Some(running) = proxy.start(mcpd.addr(), "/version") else { return required(proxy.name()) };
    let healthz = b"GET /healthz HTTP/1.1\r\nHost: mcpd\r\nConnection: close\r\n\r\n";
    thread::scope(|scope| {
        for (_, bytes) in corpus() {
            let addr = running.addr();
            scope.spawn(move || ask(addr, &bytes));
        }
    });
    // The connections that it holds to mcpd carry nothing that was meant for somebody else.
    for _ in 0..16 {
        let answer = String::from_utf8(ask(running.addr(), healthz)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    }
    let refused = ask(running.addr(), HIDDEN.replace("Host", "Connection: close\r\nHost").as_bytes());
    assert!(refused.starts_with(b"HTTP/1.1 403"), "{}", String::from_utf8_lossy(&refused));
    mcpd.stop();
    assert!(mcpd.logs().contains("\"/healthz\""));
    assert!(!mcpd.logs().contains("\"/version\""), "{}", mcpd.logs());
}

#[test]
fn x04_nothing_is_smuggled_through_nginx() {
    through(Proxy::Nginx);
}

#[test]
fn x04_nothing_is_smuggled_through_haproxy() {
    through(Proxy::Haproxy);
}
