//! Reads server-sent events from any `BufRead`, with a bound on every line and event.
//!
//! The grammar is that of the HTML standard, section 9.2 "Server-sent events": CR, LF and CRLF end a line, a byte
//! order mark at the start is ignored, so are comments, several `data` lines join with LF, and an event that the
//! end of the stream cuts is dropped. It does not reconnect and keeps no last event id.

use memchr::{memchr, memchr2};
use std::io::{self, BufRead};

/// The longest line, in bytes. An event may hold as much in all its lines together.
pub const LINE_MAX: usize = 1 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event calls itself an error: `event: error`.
    pub is_error: bool,
    /// The data lines, joined by LF.
    pub data: String,
}

/// Why no further event can be read.
#[derive(Debug, thiserror::Error)]
pub enum SseError {
    /// The reader failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line or an event is over [`LINE_MAX`].
    #[error("a line is longer than 1 MiB")]
    TooLong,
    /// A data line is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
}

/// The events of a stream, one after another.
pub struct Events<R> {
    reader: R,
    line: Vec<u8>,
    /// The data lines of the event so far; none before the first.
    data: Option<Vec<u8>>,
    is_error: bool,
    at_start: bool,
    /// The last line ended with CR, so a LF that follows belongs to it.
    after_cr: bool,
}

impl<R: BufRead> Events<R> {
    /// Reads from `reader`, which is at the start of the body.
    pub fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), data: None, is_error: false, at_start: true, after_cr: false }
    }

    /// What is read from, to change its deadline between two events.
    pub fn reader_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The next event; `None` at the end of the stream. Comments and events without data are skipped.
    pub fn next_event(&mut self) -> Result<Option<Event>, SseError> {
        while self.read_line()? {
            if self.line.is_empty() {
                let is_error = std::mem::take(&mut self.is_error);
                let Some(data) = self.data.take() else { continue };
                let data = String::from_utf8(data).map_err(|_| SseError::NotUtf8)?;
                return Ok(Some(Event { is_error, data }));
            }
            self.take_field()?;
        }
        Ok(None)
    }

    /// Reads one line into `self.line`, without its end. False at the end of the stream: a line that it cuts is
    /// part of an event that it cuts, and both are dropped.
    fn read_line(&mut self) -> Result<bool, SseError> {
        self.line.clear();
        loop {
            let available = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if available.is_empty() {
                return Ok(false);
            }
            if self.after_cr {
                self.after_cr = false;
                if available[0] == b'\n' {
                    self.reader.consume(1);
                    continue;
                }
            }
            let end = memchr2(b'\n', b'\r', available);
            let taken = end.unwrap_or(available.len());
            if self.line.len() + taken > LINE_MAX {
                return Err(SseError::TooLong);
            }
            self.line.extend_from_slice(&available[..taken]);
            if let Some(end) = end {
                self.after_cr = available[end] == b'\r';
                self.reader.consume(end + 1);
                if std::mem::take(&mut self.at_start) && self.line.starts_with(b"\xef\xbb\xbf") {
                    self.line.drain(..3);
                }
                return Ok(true);
            }
            self.reader.consume(taken);
        }
    }

    fn take_field(&mut self) -> Result<(), SseError> {
        let (name, value) = match memchr(b':', &self.line) {
            Some(colon) => (&self.line[..colon], &self.line[colon + 1..]),
            None => (&self.line[..], &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if name == b"event" {
            self.is_error = value == b"error";
        }
        if name != b"data" {
            return Ok(());
        }
        let joined = match self.data.take() {
            None => value.to_vec(),
            Some(data) if data.len() + value.len() >= LINE_MAX => return Err(SseError::TooLong),
            Some(mut data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
                data
            }
        };
        self.data = Some(joined);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    /// Gives its bytes in pieces that end at the given offsets, as a network does.
    struct Pieces<'a> {
        bytes: &'a [u8],
        at: usize,
        cuts: Vec<usize>,
    }

    impl BufRead for Pieces<'_> {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            let end = self.cuts.iter().copied().find(|cut| *cut > self.at).unwrap_or(self.bytes.len());
            Ok(&self.bytes[self.at..end.min(self.bytes.len())])
        }
        fn consume(&mut self, n: usize) {
            self.at += n;
        }
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = self.fill_buf()?.read(out)?;
            self.consume(n);
            Ok(n)
        }
    }

    fn all(reader: impl BufRead) -> Result<Vec<String>, SseError> {
        let mut events = Events::new(reader);
        let mut out = Vec::new();
        while let Some(event) = events.next_event()? {
            out.push(event.data);
        }
        Ok(out)
    }

    #[test]
    fn s08_line_ends_comments_byte_order_mark_and_joined_data() {
        let text = "\u{feff}data: one\r\n\r\n: a comment\n\ndata:two\ndata: three\n\nevent: x\rid: 9\rdata\r\rdata: cut";
        assert_eq!(all(text.as_bytes()).unwrap(), ["one", "two\nthree", ""]);
    }

    #[test]
    fn s07_a_line_and_an_event_are_bounded() {
        let long = format!("data: {}\n\n", "x".repeat(LINE_MAX));
        assert!(matches!(all(long.as_bytes()), Err(SseError::TooLong)));
        let many = format!("data: {}\n", "x".repeat(1000)).repeat(1100) + "\n";
        assert!(matches!(all(many.as_bytes()), Err(SseError::TooLong)));
        let endless = io::repeat(b'x').take(u64::MAX);
        assert!(matches!(all(io::BufReader::new(endless)), Err(SseError::TooLong)));
    }

    #[test]
    fn s07_what_is_just_not_too_long_is_read() {
        let line = |bytes: usize| format!("data:{}\n\n", "x".repeat(bytes - "data:".len()));
        assert_eq!(all(line(LINE_MAX).as_bytes()).unwrap().concat().len(), LINE_MAX - 5);
        assert!(matches!(all(line(LINE_MAX + 1).as_bytes()), Err(SseError::TooLong)));
        // Two lines of data, with the LF between them.
        let event = |second: usize| {
            let first = LINE_MAX / 2;
            format!("data:{}\ndata:{}\n\n", "x".repeat(first), "y".repeat(second - first - 1))
        };
        assert_eq!(all(event(LINE_MAX).as_bytes()).unwrap().concat().len(), LINE_MAX);
        assert!(matches!(all(event(LINE_MAX + 1).as_bytes()), Err(SseError::TooLong)));
    }

    /// Fails once with this kind of error, then gives its bytes.
    struct Fails<'a>(Option<io::ErrorKind>, &'a [u8]);

    impl BufRead for Fails<'_> {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            self.0.take().map_or(Ok(self.1), |kind| Err(kind.into()))
        }
        fn consume(&mut self, n: usize) {
            self.1 = &self.1[n..];
        }
    }

    impl Read for Fails<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1.read(out)
        }
    }

    #[test]
    fn s01_an_interrupted_read_goes_on_and_any_other_error_ends_the_stream() {
        let fails = |kind| all(Fails(Some(kind), b"data: x\n\n"));
        assert_eq!(fails(io::ErrorKind::Interrupted).unwrap(), ["x"]);
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::TimedOut, io::ErrorKind::UnexpectedEof] {
            assert!(matches!(fails(kind), Err(SseError::Io(error)) if error.kind() == kind), "{kind}");
        }
    }

    #[test]
    fn s05_an_event_that_calls_itself_an_error_is_one() {
        let mut events =
            Events::new(&b"event: error\ndata: {}\n\ndata: {}\n\nevent: error\n\ndata: x\n\n"[..]);
        let flags: Vec<bool> =
            std::iter::from_fn(|| events.next_event().unwrap()).map(|event| event.is_error).collect();
        assert_eq!(flags, [true, false, false]);
    }

    #[test]
    fn s08_text_that_is_not_utf8_is_an_error() {
        assert!(matches!(all(&b"data: \xff\xfe\n\n"[..]), Err(SseError::NotUtf8)));
    }

    /// Every two-piece split of a text gives what the whole gives.
    fn same_at_every_split(text: &[u8]) {
        let whole = all(text).unwrap();
        for cut in 0..=text.len() {
            assert_eq!(all(Pieces { bytes: text, at: 0, cuts: vec![cut] }).unwrap(), whole, "cut at {cut}");
        }
        let bytewise = Pieces { bytes: text, at: 0, cuts: (1..text.len()).collect() };
        assert_eq!(all(bytewise).unwrap(), whole);
    }

    #[test]
    fn s08_real_captures_read_the_same_at_every_split() {
        for (engine, capture, events) in [
            ("vllm", "02-chat-stream", 12),
            ("vllm", "03-chat-stream-usage", 13),
            ("vllm", "61-tools-auto-stream", 11),
            ("vllm", "71-stream-when-engine-dies", 12),
            ("llama-server", "02-chat-stream", 14),
            ("llama-server", "61-tools-auto-stream", 9),
        ] {
            let body = crate::captures::body(engine, capture);
            let found = all(&body[..]).unwrap();
            assert_eq!(found.last().map(String::as_str), Some("[DONE]"), "{engine}/{capture}");
            assert!(
                found.len() > 5,
                "{engine}/{capture} has {} events, about {events} expected",
                found.len()
            );
            same_at_every_split(&body);
        }
    }

    proptest! {
        #[test]
        fn s08_any_split_gives_the_same_events(
            lines in prop::collection::vec("(data: ?|: ?|event: |x)?[ab:€\u{1f600} ]{0,6}", 0..12),
            ends in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n", "\r\n\r\n"]), 12),
            cuts in prop::collection::vec(0_usize..120, 0..8),
        ) {
            let text: String = lines.iter().zip(&ends).map(|(line, end)| format!("{line}{end}")).collect();
            let mut cuts = cuts;
            cuts.sort_unstable();
            let whole = all(text.as_bytes()).unwrap();
            prop_assert_eq!(all(Pieces { bytes: text.as_bytes(), at: 0, cuts }).unwrap(), whole);
        }

        #[test]
        fn s08_no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = all(&bytes[..]);
        }
    }
}
