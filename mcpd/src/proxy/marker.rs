//! Looks beside a stream for what says that it is complete, without parsing a single event.

use super::endpoint::Ending;
use memchr::memchr2;

/// As much of a line as is needed to tell those that matter from everything else.
const ENOUGH: usize = 28;

/// How the events are called after which a response is over, one way or another.
const LAST: [&[u8]; 4] = [b"response.completed", b"response.incomplete", b"response.failed", b"error"];

/// Sees all bytes of a stream, in pieces of any size.
#[derive(Debug)]
pub(crate) struct Marker {
    ending: Ending,
    line: [u8; ENOUGH],
    len: usize,
    /// The event under way is called like a last one. It counts once it is whole: its data come after its name.
    is_last: bool,
    done: bool,
    data_lines: u64,
    tail: Tail,
}

/// How the bytes so far end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Between two events, or at the start.
    #[default]
    Between,
    /// After a line of an event.
    InEvent,
    /// Within a line.
    InLine,
    /// After a CR, which may be half of a line's end; says what was before it.
    Cr { line_was_empty: bool },
}

impl Marker {
    /// For a stream that ends like this.
    pub(crate) fn new(ending: Ending) -> Self {
        let (line, tail) = ([0; ENOUGH], Tail::default());
        Self { ending, line, len: 0, is_last: false, done: false, data_lines: 0, tail }
    }

    /// How the stream should end.
    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }

    /// How many lines of data have begun, which is how many events did: nobody writes more than one for each.
    pub(crate) fn events(&self) -> u64 {
        self.data_lines + u64::from(self.line_is_data())
    }

    pub(crate) fn see(&mut self, mut bytes: &[u8]) {
        while let Some(at) = memchr2(b'\n', b'\r', bytes) {
            self.text(&bytes[..at]);
            self.line_end(bytes[at]);
            bytes = &bytes[at + 1..];
        }
        self.text(bytes);
    }

    /// Says whether the end was there; `[DONE]` also as a last line without an end.
    pub(crate) fn is_done(&self) -> bool {
        self.done || self.line_is_marker()
    }

    /// What has to come first so that a new event stands alone.
    pub(crate) fn separator(&self) -> &'static str {
        match self.tail {
            Tail::Between | Tail::Cr { line_was_empty: true } => "",
            Tail::InEvent | Tail::InLine | Tail::Cr { line_was_empty: false } => "\n\n",
        }
    }

    fn text(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.tail = Tail::InLine;
        let kept = text.len().min(ENOUGH - self.len);
        self.line[self.len..self.len + kept].copy_from_slice(&text[..kept]);
        self.len += kept;
    }

    fn line_end(&mut self, byte: u8) {
        if let (Tail::Cr { line_was_empty }, b'\n') = (self.tail, byte) {
            self.tail = if line_was_empty { Tail::Between } else { Tail::InEvent };
            return;
        }
        let line_was_empty = self.len == 0;
        self.done |= self.line_is_marker() || (line_was_empty && self.is_last);
        self.is_last = !line_was_empty && (self.is_last || self.line_names_the_last());
        self.data_lines += u64::from(self.line_is_data());
        self.len = 0;
        self.tail = match (byte, line_was_empty) {
            (b'\r', _) => Tail::Cr { line_was_empty },
            (_, true) => Tail::Between,
            (_, false) => Tail::InEvent,
        };
    }

    fn line_is_marker(&self) -> bool {
        matches!(&self.line[..self.len], b"data: [DONE]" | b"data:[DONE]")
    }

    fn line_is_data(&self) -> bool {
        self.line[..self.len].starts_with(b"data:")
    }

    fn line_names_the_last(&self) -> bool {
        let name = self.line[..self.len].strip_prefix(b"event:").filter(|_| self.ending == Ending::Named);
        let name = name.map(|name| name.strip_prefix(b" ").unwrap_or(name));
        name.is_some_and(|name| LAST.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(stream: &[u8]) -> Marker {
        seen_with(Ending::Done, stream)
    }

    fn seen_with(ending: Ending, stream: &[u8]) -> Marker {
        let mut marker = Marker::new(ending);
        marker.see(stream);
        marker
    }

    #[test]
    fn the_marker_is_a_line_of_its_own() {
        for stream in ["data: [DONE]\n\n", "data:[DONE]\r\n", "data: {}\n\ndata: [DONE]\r\r", "data: [DONE]"]
        {
            assert!(seen(stream.as_bytes()).is_done(), "{stream:?}");
        }
        for stream in [
            "",
            "[DONE]\n",
            "data: [DONE] \n",
            "data: [DONE]x\n",
            ": data: [DONE]\n",
            r#"data: {"text":"\ndata: [DONE]"}"#,
            "data: [DON",
        ] {
            assert!(!seen(stream.as_bytes()).is_done(), "{stream:?}");
        }
    }

    #[test]
    fn a_response_ends_with_a_whole_event_of_one_of_four_names() {
        for name in ["response.completed", "response.incomplete", "response.failed", "error"] {
            for (stream, is_done) in [
                (format!("event: {name}\ndata: {{}}\n\n"), true),
                (format!("event:{name}\r\ndata: {{}}\r\n\r\n"), true),
                (format!("data: {{}}\rid: 1\revent: {name}\r\r"), true),
                (format!("event: {name}\ndata: {{}}\n"), false),
                (format!("event: {name}\ndata: {{\"response\": {{"), false),
                (format!("event: {name}"), false),
                (format!("event: {name}s\ndata: {{}}\n\n"), false),
                (format!("data: event: {name}\n\n"), false),
                (format!("event: {name}\ndata: {{}}"), false),
            ] {
                let named = seen_with(Ending::Named, stream.as_bytes());
                assert_eq!(named.is_done(), is_done, "{stream:?}");
                assert!(!seen(stream.as_bytes()).is_done(), "no other stream ends like this: {stream:?}");
            }
        }
        for stream in
            ["", "event: response.created\ndata: {}\n\n", "event: response.output_text.done\ndata: {}\n\n"]
        {
            assert!(!seen_with(Ending::Named, stream.as_bytes()).is_done(), "{stream:?}");
        }
        assert!(seen_with(Ending::Named, b"data: {}\n\ndata: [DONE]\n\n").is_done());
        assert_eq!(seen_with(Ending::Named, b"event: a\ndata: {}\n\n: x\n\ndata:{}\n\n").events(), 2);
    }

    #[test]
    fn an_event_is_set_apart_from_what_was_cut() {
        for (stream, separator) in [
            ("", ""),
            ("data: {}\n\n", ""),
            ("data: {}\r\n\r\n", ""),
            ("data: {}\r\r", ""),
            ("data: {\"a", "\n\n"),
            ("data: {}\n", "\n\n"),
            ("data: {}\r\n", "\n\n"),
            ("data: {}\r", "\n\n"),
        ] {
            assert_eq!(seen(stream.as_bytes()).separator(), separator, "{stream:?}");
        }
    }

    #[test]
    fn of_a_long_line_in_pieces_the_beginning_counts() {
        let mut marker = Marker::new(Ending::Done);
        for piece in [&b"da"[..], b"ta: [DONE", b"]", b" and much more than is kept of a line", b"!\n\n"] {
            marker.see(piece);
        }
        assert_eq!((marker.is_done(), marker.events(), marker.separator()), (false, 1, ""));
        for piece in [&b"d"[..], b"ata: [", b"DONE]"] {
            assert!(!marker.is_done());
            marker.see(piece);
        }
        assert_eq!((marker.is_done(), marker.events(), marker.separator()), (true, 2, "\n\n"));
        assert_eq!((marker.ending(), Marker::new(Ending::Named).ending()), (Ending::Done, Ending::Named));
    }

    #[test]
    fn what_was_done_stays_done() {
        for ending in [Ending::Done, Ending::Named] {
            let stream = b"data: [DONE]\n\n: late\n\ndata: {}\n\n";
            assert!(seen_with(ending, stream).is_done(), "{ending:?}");
        }
        assert!(seen_with(Ending::Named, b"event: error\ndata: {}\n\nevent: ping\n\n").is_done());
    }

    #[test]
    fn every_line_of_data_is_counted_once() {
        for (stream, events) in [
            ("", 0),
            ("data", 0),
            ("data:", 1),
            ("data: {}\n", 1),
            ("data: {}\n\ndata: {}\r\n\r\ndata: {}\r\rda", 3),
            ("data: {}\n\ndata: {", 2),
            ("event: x\nid: data:\n\n", 0),
        ] {
            assert_eq!(seen(stream.as_bytes()).events(), events, "{stream:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            stream in "(data: ?\\[DONE\\]|data: \\{\\}|event: ?response.completed|: x|[\r\n]){0,8}",
            cuts in prop::collection::vec(0..80_usize, 0..6),
            named in any::<bool>(),
        ) {
            let ending = if named { Ending::Named } else { Ending::Done };
            let (bytes, mut marker, mut from) = (stream.as_bytes(), Marker::new(ending), 0);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            for cut in cuts.into_iter().chain([bytes.len()]) {
                marker.see(&bytes[from..cut]);
                from = cut;
            }
            let whole = seen_with(ending, bytes);
            prop_assert_eq!(marker.is_done(), whole.is_done());
            prop_assert_eq!(marker.events(), whole.events());
            prop_assert_eq!(marker.separator(), whole.separator());
        }
    }
}
