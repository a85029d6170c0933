//! What somebody in the middle can do to the head of a real answer.

use fakes::{Request, wire};

pub(super) fn until_end_of_head(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(answer.len());
    &answer[..end]
}

pub(super) fn lines(answer: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(until_end_of_head(answer)).split("\r\n").map(str::to_owned).collect()
}

pub(super) fn joined(lines: &[String]) -> Vec<u8> {
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

pub(super) fn is_named(line: &str, name: &str) -> bool {
    line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name))
}

pub(super) fn with_status(answer: &[u8], status: u16) -> Vec<u8> {
    let mut lines = lines(answer);
    if let Some(first) = lines.first_mut() {
        *first = format!("HTTP/1.1 {status} Scripted");
    }
    joined(&lines)
}

pub(super) fn with_header(answer: &[u8], header: &str) -> Vec<u8> {
    let name = header.split(':').next().unwrap_or_default();
    let mut lines = lines(&without_line(answer, name));
    lines.push(header.to_owned());
    joined(&lines)
}

pub(super) fn without_line(answer: &[u8], name: &str) -> Vec<u8> {
    let mut lines = lines(answer);
    lines.retain(|line| !is_named(line, name));
    joined(&lines)
}

pub(super) fn twice(answer: &[u8], name: &str) -> Vec<u8> {
    let mut lines = lines(answer);
    lines.extend(lines.clone().into_iter().filter(|line| is_named(line, name)));
    joined(&lines)
}

/// A decision about an LLM of another name and id.
pub(super) fn renamed(answer: &[u8]) -> Vec<u8> {
    let mut lines = lines(answer);
    for line in lines.iter_mut().filter(|line| is_named(line, "mcpd-decision")) {
        let fields = line.split(';').map(|field| match field.split_once('=') {
            Some((name, _)) if name.trim() == "llm" => " llm=another".to_owned(),
            Some((name, _)) if name.trim() == "id" => " id=c000000000000000000000000".to_owned(),
            _ => field.to_owned(),
        });
        *line = fields.collect::<Vec<_>>().join(";");
    }
    joined(&lines)
}

pub(super) fn denied(request: &Request) -> Vec<u8> {
    let nonce =
        request.headers.first("mcpd-probe").and_then(|it| it.split("nonce=").nth(1)).unwrap_or_default();
    wire::head(200, &[("mcpd-decision", &format!("deny; nonce={nonce}")), ("connection", "close")])
}
