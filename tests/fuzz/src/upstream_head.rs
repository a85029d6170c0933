//! Answers of upstreams: the same at every cut, and the body that their heads announce, as a reader finds it that is
//! written here.

use crate::cuts;
use mcpd::fuzzing::{Answer, End, answer};

pub(crate) fn check(bytes: &[u8]) {
    let whole = read(&[bytes]);
    for pieces in cuts(bytes) {
        assert_eq!(read(&pieces), whole, "the answer depends on how it arrived");
    }
    let Ok(Some(answer)) = answer(&[bytes]) else { return };
    let (head, rest) = last_head(bytes);
    assert!(head.starts_with(&format!("http/1.{} {}", &head[7..8], answer.status)), "{head}");
    let said = |name: &str| -> Vec<&str> {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(field, _)| *field == name).map(|(_, value)| value.trim()).collect()
    };
    let (lengths, codings) = (said("content-length"), said("transfer-encoding"));
    let has_none = matches!(answer.status, 100..200 | 204 | 304);
    match (&lengths[..], &codings[..]) {
        _ if has_none => is(&answer, b"", Some(rest.len())),
        ([], ["chunked"]) => match chunks(rest) {
            // It may be stricter, such as about the digits of a size.
            Some((body, _)) if answer.end == End::Wrong => assert!(body.starts_with(&answer.body)),
            Some((body, left)) => is(&answer, &body, Some(left)),
            None => assert!(!matches!(answer.end, End::Over { .. }), "over before its last chunk"),
        },
        ([length], []) => match length.parse::<usize>() {
            Ok(length) if length <= rest.len() && length > 0 => {
                is(&answer, &rest[..length], Some(rest.len() - length));
            }
            Ok(0) => is(&answer, b"", Some(rest.len())),
            _ => is(&answer, rest, None),
        },
        ([], []) => {
            is(&answer, rest, None);
            assert!(!answer.is_kept, "it ends with its connection, which is kept");
        }
        _ => panic!("two lengths were taken: {head}"),
    }
}

/// What must not depend on pieces: how it ended exactly does, since nobody reads on when a body is over.
fn read(pieces: &[&[u8]]) -> Result<Option<Answer>, ()> {
    let mut answer = answer(pieces).map_err(drop)?;
    if let Some(Answer { end: End::Over { is_exact }, .. }) = &mut answer {
        *is_exact = true;
    }
    Ok(answer)
}

/// A body that is all there, or all that came of it; with how much came after its end.
fn is(answer: &Answer, body: &[u8], after: Option<usize>) {
    assert_eq!(answer.body, body, "another body");
    let end = after.map_or(End::Open, |after| End::Over { is_exact: after == 0 });
    assert_eq!(answer.end, end, "another end");
}

/// The head that is no mere announcement, in lower case, and what comes after it.
fn last_head(mut bytes: &[u8]) -> (String, &[u8]) {
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let (head, rest) = bytes.split_at(end);
        let text = String::from_utf8_lossy(head).to_lowercase();
        let status = text.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('1') || status.starts_with("101") {
            return (text, rest);
        }
        bytes = rest;
    }
}

/// A body in chunks that is all there, and how much comes after it.
fn chunks(mut bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    loop {
        let (line, rest) = line(bytes)?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).ok().filter(|_| !size.starts_with('+'))?;
        if size == 0 {
            bytes = rest;
            break;
        }
        body.extend_from_slice(rest.get(..size)?);
        bytes = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let (text, rest) = line(bytes)?;
        bytes = rest;
        if text.is_empty() {
            return Some((body, bytes.len()));
        }
    }
}

fn line(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 2..]))
}
