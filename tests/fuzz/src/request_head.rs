//! Requests on a connection to mcpd: the watcher and the HTTP library cut them where a third reader does, written here,
//! and a request that can be cut at two places is never taken. And the names in a path are what stands there.

use crate::cuts;
use mcpd::fuzzing::{Taken, is_ambiguous, named, requests};

pub(crate) fn check(bytes: &[u8]) {
    let (read, is_clear) = reread(bytes);
    for pieces in cuts(bytes) {
        assert_eq!(is_ambiguous(&pieces), !is_clear, "it depends on who reads, or on how it arrived");
    }
    let taken = requests(bytes).unwrap_or_default();
    for (at, taken) in taken.iter().enumerate() {
        // A part of a request, at the end of everything, is nobody's.
        let Taken { method, target, body: Some(body) } = taken else { continue };
        let Some(request) = read.get(at) else { panic!("{taken:?} is no request that was sent") };
        let first = String::from_utf8_lossy(request.line);
        assert!(first.starts_with(&format!("{method} ")), "{method} of {first:?}");
        assert!(request.body.is_none_or(|sent| sent == body), "another body than was sent: {taken:?}");
        path(target);
    }
    bytes.split(|byte| *byte == b'\n').take(32).for_each(|line| path(&String::from_utf8_lossy(line)));
}

/// A length in a longer line can be misunderstood; so can a line whose name is longer.
const LINE_MAX: usize = 256;

struct Request<'a> {
    line: &'a [u8],
    /// Nothing if it is in chunks.
    body: Option<&'a [u8]>,
}

/// The requests up to one that comes in chunks or can be cut at two places; says whether there is none of the latter.
fn reread(mut bytes: &[u8]) -> (Vec<Request<'_>>, bool) {
    let mut requests = Vec::new();
    while let Some((lines, rest)) = head(bytes) {
        let is_endless = |line: &&[u8]| {
            let seen = &line[..line.len().min(LINE_MAX)];
            let name = seen.split(|byte| *byte == b':').next().unwrap_or_default();
            let is_length = [&b"content-length"[..], b"transfer-encoding"]
                .iter()
                .any(|it| name.trim_ascii().eq_ignore_ascii_case(it));
            line.len() > LINE_MAX && (is_length || !seen.contains(&b':'))
        };
        let is_endless = lines[1..].iter().any(is_endless);
        let fields = lines[1..].iter().filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = String::from_utf8_lossy(&line[..colon]).trim_ascii().to_ascii_lowercase();
            Some((name, String::from_utf8_lossy(line[colon + 1..].trim_ascii()).into_owned()))
        });
        let (mut lengths, mut codings) = (Vec::new(), Vec::new());
        for (name, value) in fields {
            match name.as_str() {
                "content-length" => lengths.push(value),
                "transfer-encoding" => codings.push(value.to_ascii_lowercase()),
                _ => {}
            }
        }
        let has_odd_lines = lines.iter().any(|line| line.last() != Some(&b'\r'));
        let line = lines[0].strip_suffix(b"\r").unwrap_or(lines[0]);
        let lengths: Vec<&str> = lengths.iter().map(String::as_str).collect();
        let codings: Vec<&str> = codings.iter().map(String::as_str).collect();
        let length = match (&lengths[..], &codings[..]) {
            _ if has_odd_lines || is_endless => return (requests, false),
            ([], []) => 0,
            ([], ["chunked"]) => {
                requests.push(Request { line, body: None });
                return (requests, true);
            }
            ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => match length.parse() {
                Ok(length) => length,
                Err(_) => return (requests, false),
            },
            _ => return (requests, false),
        };
        let length: u64 = length;
        let here = usize::try_from(length).map_or(rest.len(), |length| length.min(rest.len()));
        requests.push(Request { line, body: Some(&rest[..here]) });
        bytes = &rest[here..];
    }
    (requests, true)
}

/// The lines of the next head, each with its CR but without its LF, and what comes after it; nothing if it is not all
/// there.
fn head(mut bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut lines: Vec<&[u8]> = Vec::new();
    // Empty lines before a head are skipped, and a part of it for the question how lines end.
    let mut odd = None;
    loop {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let line = &bytes[..end];
        bytes = &bytes[end + 1..];
        match (line, lines.is_empty()) {
            (b"\r", true) => {}
            (b"", true) => odd = Some(line),
            (b"" | b"\r", false) => {
                if line.is_empty() {
                    odd = Some(line);
                }
                break;
            }
            _ => lines.push(line),
        }
    }
    lines.extend(odd);
    Some((lines, bytes))
}

/// Names that are found in a path are its segments, with nothing left over, and mean nothing to anybody else.
fn path(target: &str) {
    let Some(names) = named(target) else { return };
    let absolute = target.split_once("://").filter(|_| !target.starts_with('/'));
    let target = absolute.map_or(target, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let segments: Vec<String> = path.split('/').skip(4).map(decoded).collect();
    assert_eq!(segments.join("/"), names, "{target:?}");
    assert!(names.split('/').all(|name| !name.is_empty() && !name.contains("..")), "{names:?}");
    let is_quiet = names.chars().all(|c| c.is_ascii_alphanumeric() || "._@+-/".contains(c));
    assert!(is_quiet && segments.iter().all(|segment| !segment.contains('/')), "{names:?}");
}

fn decoded(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => (bytes.push(byte), rest = &after[2..]).1,
            _ => (bytes.push(*first), rest = after).1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
