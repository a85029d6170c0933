//! Finds the request that two readers in a row may cut at different places: then one of them takes a part of a body for
//! the next request.
//!
//! Its length is given twice, or in a way that readers take differently, or its lines end in something else than CR LF.
//! The HTTP library is generous with some of these, so the bytes are looked at on their way in. Nothing here changes
//! them, and nothing but this one question is answered here.

use memchr::memchr;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// As much of a line is looked at. The two headers in question are shorter, unless somebody wants to be misunderstood.
const LINE_MAX: usize = 256;

/// Follows the requests on one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    place: Place,
    line: Vec<u8>,
    /// The last byte of the line so far, also of one that is too long to be kept.
    last: u8,
    /// Whether there is more of the line than what is kept.
    is_cut: bool,
    head: Head,
    ambiguous: Ambiguous,
}

/// Whether such a request has come on a connection. Clones are the same answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ambiguous(Arc<AtomicBool>);

impl Ambiguous {
    pub(crate) fn is_found(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Head,
    /// So many bytes of a body are still to come.
    Body(u64),
    /// After a chunked request: [`crate::frame`] closes the connection, so that nothing counts any more.
    Over,
}

#[derive(Debug, Default)]
struct Head {
    has_request_line: bool,
    is_encoded: bool,
    /// Nothing if there is none.
    length: Option<u64>,
    is_ambiguous: bool,
}

impl Framing {
    pub(crate) fn new(ambiguous: Ambiguous) -> Self {
        Self {
            place: Place::Head,
            line: Vec::new(),
            last: 0,
            is_cut: false,
            head: Head::default(),
            ambiguous,
        }
    }

    /// Sees the next bytes.
    pub(crate) fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Over => return,
                Place::Head => self.see_line(bytes),
                Place::Body(left) => {
                    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let left = left - here as u64;
                    self.place = if left == 0 { Place::Head } else { Place::Body(left) };
                    &bytes[here..]
                }
            };
        }
    }

    /// Sees a line or a part of one, and gives what comes after it.
    fn see_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr(b'\n', bytes);
        let (part, rest) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 1..]));
        let room = LINE_MAX - self.line.len();
        self.is_cut |= part.len() > room;
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.last = part.last().copied().unwrap_or(self.last);
        if end.is_some() {
            let (line, is_cut) = (std::mem::take(&mut self.line), std::mem::take(&mut self.is_cut));
            self.head.is_ambiguous |= std::mem::take(&mut self.last) != b'\r';
            self.line_is(line.strip_suffix(b"\r").unwrap_or(&line), is_cut);
        }
        rest
    }

    fn line_is(&mut self, line: &[u8], is_cut: bool) {
        match (self.head.has_request_line, line.is_empty()) {
            // Empty lines before a request are skipped by everybody.
            (false, true) => {}
            (false, false) => self.head.has_request_line = true,
            (true, false) => self.head.header(line, is_cut),
            (true, true) => self.head_is_complete(),
        }
    }

    fn head_is_complete(&mut self) {
        let head = std::mem::take(&mut self.head);
        if head.is_ambiguous || (head.is_encoded && head.length.is_some()) {
            self.ambiguous.0.store(true, Ordering::Release);
            self.place = Place::Over;
            return;
        }
        self.place = match (head.is_encoded, head.length) {
            (true, _) => Place::Over,
            (false, Some(0) | None) => Place::Head,
            (false, Some(length)) => Place::Body(length),
        };
    }
}

impl Head {
    fn header(&mut self, line: &[u8], is_cut: bool) {
        let Some(colon) = memchr(b':', line) else {
            // Which header that is stands where nobody looks.
            self.is_ambiguous |= is_cut;
            return;
        };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_ambiguous |= is_cut || self.is_encoded || !value.eq_ignore_ascii_case(b"chunked");
            self.is_encoded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value);
            self.is_ambiguous |= is_cut || self.length.is_some() || length.is_none();
            self.length = length.or(Some(0));
        }
    }
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

    fn is_ambiguous<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let found = Ambiguous::default();
        let mut framing = Framing::new(found.clone());
        pieces.into_iter().for_each(|piece| framing.see(piece));
        found.is_found()
    }

    const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";

    #[test]
    fn x04_two_lengths_are_found_in_either_order_and_any_spelling() {
        for bytes in [
            BOTH,
            "POST / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\ncontent-length:4\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n",
            "\r\n\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: x, chunked\r\nA: b\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert!(is_ambiguous([bytes.as_bytes()]), "{bytes:?}");
        }
    }

    #[test]
    fn x04_a_length_that_readers_may_take_differently_is_none() {
        for lines in [
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            "Content-Length: 4, 4\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: 0x4\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length : 4\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "A: b\n",
            "A: b\r\r\n\n",
        ] {
            let bytes = format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
            assert!(is_ambiguous([bytes.as_bytes()]), "{lines:?}");
        }
        // Also where the line is longer than what is kept of it.
        let long = format!("GET / HTTP/1.1\r\nA: {}\n\r\n", "x".repeat(2 * LINE_MAX));
        assert!(is_ambiguous(long.as_bytes().chunks(7)));
        assert!(!is_ambiguous(long.replace("x\n", "x\r\n").as_bytes().chunks(7)));
    }

    #[test]
    fn x04_a_length_that_goes_on_where_nobody_looks_is_none() {
        let (zeros, spaces) = ("0".repeat(LINE_MAX), " ".repeat(LINE_MAX));
        let almost = " ".repeat(LINE_MAX - "Content-Length:4".len());
        for line in [
            format!("Content-Length: {zeros}40"),
            format!("Content-Length:{almost}40"),
            format!("Content-Length: 4{spaces}0"),
            format!("Content-Length: 4{spaces}"),
            format!("Transfer-Encoding: chunked{spaces}, x"),
            format!("Content-Length{spaces}: 4"),
            format!("{spaces}Content-Length: 4"),
        ] {
            let bytes = format!("POST / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n");
            assert!(is_ambiguous([bytes.as_bytes()]) && is_ambiguous(bytes.as_bytes().chunks(7)), "{line:?}");
        }
    }

    #[test]
    fn x04_one_length_is_enough() {
        for bytes in [
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        ] {
            assert!(!is_ambiguous([bytes.as_bytes()]), "{bytes:?}");
        }
    }

    #[test]
    fn x04_a_body_is_no_head_and_the_request_after_it_is_one() {
        let inside = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{BOTH}", BOTH.len());
        assert!(!is_ambiguous([inside.as_bytes()]));
        let after = format!("{inside}GET / HTTP/1.1\r\n\r\n{BOTH}");
        assert!(is_ambiguous([after.as_bytes()]));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(size in 1..40_usize) {
            let stream = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n{BOTH}", "x".repeat(500));
            prop_assert!(is_ambiguous(stream.as_bytes().chunks(size)));
        }
    }
}
