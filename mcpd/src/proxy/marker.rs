//! Looks beside a stream for its end marker, `data: [DONE]`, without parsing a single event.

use memchr::memchr2;

/// As much of a line as is needed to tell the marker from everything else.
const ENOUGH: usize = 14;

/// Sees all bytes of a stream, in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Marker {
    line: [u8; ENOUGH],
    len: usize,
    done: bool,
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
    pub(crate) fn see(&mut self, mut bytes: &[u8]) {
        while let Some(at) = memchr2(b'\n', b'\r', bytes) {
            self.text(&bytes[..at]);
            self.line_end(bytes[at]);
            bytes = &bytes[at + 1..];
        }
        self.text(bytes);
    }

    /// Says whether the marker was there, also as a last line without an end.
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
        self.done |= self.line_is_marker();
        let line_was_empty = self.len == 0;
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(stream: &[u8]) -> Marker {
        let mut marker = Marker::default();
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

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            stream in "(data: ?\\[DONE\\]|data: \\{\\}|: x|[\r\n]){0,6}",
            cuts in prop::collection::vec(0..40_usize, 0..6),
        ) {
            let (bytes, mut marker, mut from) = (stream.as_bytes(), Marker::default(), 0);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            for cut in cuts.into_iter().chain([bytes.len()]) {
                marker.see(&bytes[from..cut]);
                from = cut;
            }
            let whole = seen(bytes);
            prop_assert_eq!(marker.is_done(), whole.is_done());
            prop_assert_eq!(marker.separator(), whole.separator());
        }
    }
}
