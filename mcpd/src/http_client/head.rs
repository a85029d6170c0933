//! The head of an answer: whether it is all there, what it says, and how long the body after it is. Pure.
//!
//! Strict where two readers could take it differently. Only the headers that somebody here asks for are kept.

use super::{Malformed, body::Framing};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use memchr::memchr;

/// The largest head, in bytes, together with what is said before it.
pub(super) const HEAD_MAX: usize = 64 << 10;
/// As many headers may be in it.
const HEADERS_MAX: usize = 100;
/// How a head begins.
const VERSION: &[u8] = b"HTTP/1.";
/// What is looked at. Nothing else that an upstream says in a head can come any further than this file.
const KEPT: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::RETRY_AFTER, header::CACHE_CONTROL];

/// What was answered, before its body.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

/// A head, and what it means for what comes after it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) head: Head,
    pub(super) framing: Framing,
    /// Whether the other side will take another request on this connection.
    pub(super) is_kept: bool,
}

/// Finds the end of a head, in pieces of any size and in one pass.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// Where the line begins that is not over yet.
    line: usize,
    /// Up to where there is no further end of a line.
    seen: usize,
}

impl Finder {
    /// Where the body begins, if `bytes` hold the whole head; they begin with what they were before.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        while let Some(at) = memchr(b'\n', &bytes[self.seen..]).map(|at| at + self.seen) {
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(Malformed::LineEnd);
            }
            let is_empty = at - 1 == self.line;
            (self.line, self.seen) = (at + 1, at + 1);
            if is_empty {
                return Ok(Some(at + 1));
            }
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

/// Says at the first byte that is none of a head: whoever speaks something else may wait for us to say more.
pub(super) fn begins(bytes: &[u8]) -> Result<(), Malformed> {
    let known = bytes.len().min(VERSION.len());
    if bytes[..known] == VERSION[..known] { Ok(()) } else { Err(Malformed::Head(httparse::Error::Version)) }
}

/// Reads a head that is all there.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut read = httparse::Response::new(&mut headers);
    match read.parse(bytes).map_err(Malformed::Head)? {
        httparse::Status::Complete(end) if end == bytes.len() => {}
        httparse::Status::Complete(_) | httparse::Status::Partial => return Err(Malformed::LineEnd),
    }
    let status = read.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Malformed::Head(httparse::Error::Status))?;
    let is_1_1 = read.version == Some(1);
    let (mut kept, mut said) = (HeaderMap::with_capacity(2), Said { is_kept: is_1_1, ..Said::default() });
    for one in read.headers.iter() {
        said.sees(one.name, one.value)?;
        if let Some(name) = KEPT.iter().find(|name| one.name.eq_ignore_ascii_case(name.as_str()))
            && let Ok(value) = HeaderValue::from_bytes(one.value)
        {
            kept.append(name, value);
        }
    }
    let framing = said.framing(status, is_1_1)?;
    let is_kept =
        said.is_kept && !matches!(framing, Framing::UntilClosed) && status != StatusCode::SWITCHING_PROTOCOLS;
    Ok(Parsed { head: Head { status, headers: kept }, framing, is_kept })
}

/// What a head says about the end of its answer.
#[derive(Debug, Default)]
struct Said {
    length: Option<u64>,
    is_chunked: bool,
    is_kept: bool,
}

impl Said {
    fn sees(&mut self, name: &str, value: &[u8]) -> Result<(), Malformed> {
        if name.eq_ignore_ascii_case("content-length") {
            let length = number(value).ok_or(Malformed::Length)?;
            if self.length.replace(length).is_some() {
                return Err(Malformed::Length);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::Encoding);
            }
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            let mut words = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            self.is_kept &= !words.any(|word| word.eq_ignore_ascii_case(b"close"));
        }
        Ok(())
    }

    fn framing(&self, status: StatusCode, is_1_1: bool) -> Result<Framing, Malformed> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(Malformed::Length),
            // Nobody who speaks HTTP/1.0 knows chunks.
            (true, None) if !is_1_1 => Err(Malformed::Encoding),
            _ if has_no_body(status) => Ok(Framing::Length(0)),
            (true, None) => Ok(Framing::Chunked(super::chunks::Chunks::default())),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::UntilClosed),
        }
    }
}

fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Digits and nothing else: no sign, no list.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit).then_some(text)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Parsed, Malformed> {
        let end = Finder::default().end(text.as_bytes())?;
        assert_eq!(end, Some(text.len()), "{text:?}");
        parse(text.as_bytes())
    }

    fn framing(lines: &str) -> Result<(Framing, bool), Malformed> {
        read(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).map(|parsed| (parsed.framing, parsed.is_kept))
    }

    #[test]
    fn a_body_has_one_length() {
        assert_eq!(framing("Content-Length: 5\r\n"), Ok((Framing::Length(5), true)));
        assert!(matches!(framing("transfer-encoding: Chunked\r\n"), Ok((Framing::Chunked(_), true))));
        assert_eq!(framing(""), Ok((Framing::UntilClosed, false)));
        assert_eq!(framing("Content-Length: 5\r\nConnection: x, Close\r\n"), Ok((Framing::Length(5), false)));
        for (lines, wrong) in [
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Malformed::Length),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Malformed::Length),
            ("Content-Length: 5, 5\r\n", Malformed::Length),
            ("Content-Length: +5\r\n", Malformed::Length),
            ("Content-Length: -1\r\n", Malformed::Length),
            ("Content-Length: 0x5\r\n", Malformed::Length),
            ("Content-Length:\r\n", Malformed::Length),
            ("Content-Length: 99999999999999999999\r\n", Malformed::Length),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Malformed::Length),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Malformed::Length),
            ("Transfer-Encoding: gzip, chunked\r\n", Malformed::Encoding),
            ("Transfer-Encoding: gzip\r\n", Malformed::Encoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Malformed::Encoding),
            ("Transfer-Encoding: xchunked\r\n", Malformed::Encoding),
        ] {
            assert_eq!(framing(lines), Err(wrong), "{lines:?}");
        }
    }

    #[test]
    fn odd_heads_are_none() {
        for head in [
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "\r\n",
            "HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: 1\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\na\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: 1\rb: 2\r\n\r\n",
        ] {
            assert!(read(head).is_err(), "{head:?}");
        }
        assert_eq!(Finder::default().end(b"HTTP/1.1 200 OK\n\n"), Err(Malformed::LineEnd));
        assert_eq!(Finder::default().end(b"\n"), Err(Malformed::LineEnd));
        let many = "a: 1\r\n".repeat(HEADERS_MAX + 1);
        assert_eq!(framing(&many), Err(Malformed::Head(httparse::Error::TooManyHeaders)));
    }

    #[test]
    fn n08_another_protocol_is_known_by_its_first_bytes() {
        for known in ["", "H", "HTTP/1.", "HTTP/1.1 200 OK\r\n"] {
            assert_eq!(begins(known.as_bytes()), Ok(()), "{known:?}");
        }
        for other in ["\0\0\x12\x04", "SSH-2.0", "HTTP/2 200", "http/1.1 200", "\r\n"] {
            assert!(begins(other.as_bytes()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn an_answer_without_a_body_has_none_whatever_it_says() {
        for status in ["100 Continue", "204 No Content", "304 Not Modified"] {
            let parsed = read(&format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\n\r\n")).unwrap();
            assert_eq!(parsed.framing, Framing::Length(0), "{status}");
        }
    }

    #[test]
    fn after_a_change_of_protocol_nothing_more_is_asked() {
        for (status, is_kept) in [("101 Switching Protocols", false), ("103 Early Hints", true)] {
            let parsed = read(&format!("HTTP/1.1 {status}\r\n\r\n")).unwrap();
            assert_eq!((parsed.framing, parsed.is_kept), (Framing::Length(0), is_kept), "{status}");
        }
    }

    #[test]
    fn a_head_ends_where_its_bytes_do_and_is_bounded() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
        assert_eq!(parse(head).err(), Some(Malformed::LineEnd));
        assert_eq!(parse(&head[..head.len() - 3]).err(), Some(Malformed::LineEnd));
        assert!(parse(&head[..head.len() - 1]).is_ok());
        assert_eq!(Malformed::TooLarge.to_string(), "the head of the answer is larger than 64 KiB");
    }

    #[test]
    fn http_1_0_is_read_and_not_kept() {
        let parsed = read("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n").unwrap();
        assert_eq!((parsed.framing, parsed.is_kept), (Framing::Length(2), false));
        assert_eq!(
            read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").err(),
            Some(Malformed::Encoding)
        );
    }

    #[test]
    fn x07_only_what_is_asked_for_is_kept() {
        let parsed = read(
            "HTTP/1.1 429 Wait\r\nSet-Cookie: a\r\nRETRY-AFTER: 7\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n",
        );
        let head = parsed.unwrap().head;
        assert_eq!(head.headers.len(), 1);
        assert_eq!(head.headers[header::RETRY_AFTER], "7");
    }

    proptest! {
        #[test]
        fn the_end_is_found_in_pieces_as_in_one(
            text in "(a|b: 1|\r\n|\r|\n){0,12}",
            cuts in prop::collection::vec(0..40_usize, 0..6),
        ) {
            let whole = Finder::default().end(text.as_bytes());
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut finder = Finder::default();
            let mut found = Ok(None);
            for cut in cuts.into_iter().chain([text.len()]) {
                found = finder.end(&text.as_bytes()[..cut]);
                if found != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(found, whole);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Finder::default().end(&bytes);
            let _ = parse(&bytes);
        }
    }
}
