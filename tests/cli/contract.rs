//! The golden exchanges of `api/contract`, from the client's side: a double says what the real server is known to
//! say (the server's tests hold it to that), and the client must ask as it is known to ask and make the right of it.

use crate::support::{Client, LIMIT, says};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::mpsc::channel,
    thread,
};

const BEARER: &str = "mcpd_0123456789abcdef_canarycanary";

#[derive(Deserialize)]
struct Golden {
    request: Asked,
    response: Answer,
    client: Option<Expected>,
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    path: String,
    #[serde(rename = "as")]
    who: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

#[derive(Clone, Deserialize)]
struct Expected {
    command: Vec<String>,
    exit: i32,
    stdout: Option<String>,
}

/// What the client sent.
struct Seen {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn read_request(stream: &TcpStream) -> Seen {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let headers: BTreeMap<_, _> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Seen { line: lines[0].clone(), headers, body }
}

/// The nonce of a probe is the client's own; every other placeholder stands for some text.
fn fill(text: &str, nonce: &str) -> String {
    let named = [("{nonce}", nonce), ("{id}", "c3ixunma9sj1v3eii1525jhx9"), ("{request-id}", "r-1")];
    let filled = named.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    filled.replace("{time}", "2026-11-22T10:00:00Z").replace("{any}", "some text")
}

/// Answers one request as the golden exchange says, and gives what was asked.
fn answer_once(listener: &TcpListener, answer: &Answer) -> Seen {
    let (mut stream, _) = listener.accept().unwrap();
    let seen = read_request(&stream);
    let nonce =
        seen.headers.get("mcpd-probe").and_then(|value| value.split_once("nonce=")).map_or("", |(_, n)| n);
    let body = match &answer.body {
        Value::Null => String::new(),
        body => fill(&body.to_string(), nonce),
    };
    let mut head = format!("HTTP/1.1 {} Golden\r\ncontent-length: {}\r\n", answer.status, body.len());
    for (name, value) in &answer.headers {
        write!(head, "{name}: {}\r\n", fill(value, nonce)).unwrap();
    }
    if !answer.headers.contains_key("content-type") && !body.is_empty() {
        head += "content-type: application/json\r\n";
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    seen
}

/// Every field that is promised to the server is there; the client may add more.
fn holds(sent: &Value, promised: &Value) -> bool {
    match (sent, promised) {
        (Value::Object(sent), Value::Object(promised)) => {
            promised.iter().all(|(key, value)| sent.get(key).is_some_and(|sent| holds(sent, value)))
        }
        (sent, promised) => sent == promised,
    }
}

fn replay(name: &str, golden: Golden, expected: &Expected) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dana = Client::of(&format!("http://{}", listener.local_addr().unwrap()), BEARER);
    let (seen, was_seen) = channel();
    // Not joined: a client that never connects fails below, and must not keep the test waiting.
    thread::spawn(move || seen.send(answer_once(&listener, &golden.response)));
    let command: Vec<String> = expected.command.iter().map(|word| fill(word, "")).collect();
    let run = dana.cmd(&command).assert();
    let run = run.try_code(expected.exit).unwrap_or_else(|error| panic!("{name}: {error}"));
    if let Some(stdout) = &expected.stdout {
        run.stdout(says(stdout));
    }
    let seen =
        was_seen.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{name}: nothing was asked: {error}"));
    assert_eq!(
        seen.line,
        format!("{} {} HTTP/1.1", golden.request.method, fill(&golden.request.path, "")),
        "{name}"
    );
    if golden.request.who != "nobody" {
        assert_eq!(seen.headers.get("authorization"), Some(&format!("Bearer {BEARER}")), "{name}");
    }
    for (header, value) in &golden.request.headers {
        let sent = seen.headers.get(header).unwrap_or_else(|| panic!("{name}: no {header}"));
        let prefix = value.split('{').next().unwrap();
        assert!(sent.starts_with(prefix) && sent.len() > prefix.len(), "{name}: {header}: {sent}");
    }
    if !golden.request.body.is_null() {
        let sent: Value = serde_json::from_slice(&seen.body).unwrap();
        assert!(holds(&sent, &golden.request.body), "{name}: sent {sent}");
    }
}

#[test]
fn the_client_asks_and_understands_as_the_golden_exchanges_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("api/contract");
    let mut replayed = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let golden: Golden = serde_json::from_slice(&fs::read(&path).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Some(expected) = golden.client.clone() {
            replay(&name, golden, &expected);
            replayed += 1;
        }
    }
    assert!(replayed >= 15, "only {replayed} exchanges have a client's side");
}
