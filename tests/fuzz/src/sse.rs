//! Server-sent events and the answer that they make: the same at every cut, and never complete without a reason to end
//! and `[DONE]`.

use crate::cuts;
use mcpctl::{
    chat::Answer,
    sse::{Event, Events},
};
use serde_json::Value;
use std::io::{self, BufRead, Read};

pub(crate) fn check(bytes: &[u8]) {
    let whole = read(&[bytes]);
    for pieces in cuts(bytes) {
        assert_eq!(read(&pieces), whole, "the events depend on how they arrived");
    }
    let again = reread(bytes);
    let (events, is_text) = &whole;
    if *is_text {
        assert_eq!(*events, again, "the events are others than the bytes say");
    } else {
        assert_eq!(*events, again[..events.len()], "the events before the odd one are others");
    }
    answers(events, bytes.len());
}

/// The events, and whether they went on to the end of the bytes.
fn read(pieces: &[&[u8]]) -> (Vec<Event>, bool) {
    let mut events = Events::new(Pieces(pieces.to_vec()));
    let mut found = Vec::new();
    loop {
        match events.next_event() {
            Ok(Some(event)) => found.push(event),
            Ok(None) => return (found, true),
            Err(_) => return (found, false),
        }
    }
}

/// The grammar once more, over text that is all there. What is not UTF-8 is taken all the same.
fn reread(bytes: &[u8]) -> Vec<Event> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    let mut before = 0;
    for byte in text {
        match (before, byte) {
            (b'\r', b'\n') => {}
            (_, b'\r' | b'\n') => lines.push(std::mem::take(&mut line)),
            (_, other) => line.push(*other),
        }
        before = *byte;
    }
    let (mut events, mut data, mut name) = (Vec::new(), Vec::<Vec<u8>>::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            let is_error = std::mem::take(&mut name) == b"error";
            if !data.is_empty() {
                let data = String::from_utf8_lossy(&std::mem::take(&mut data).join(&b'\n')).into_owned();
                events.push(Event { is_error, data });
            }
            continue;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (field, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        match field {
            b"data" => data.push(value),
            b"event" => name = value,
            _ => {}
        }
    }
    events
}

/// Feeds an answer as a call does, and looks at what it takes for its end.
fn answers(events: &[Event], size: usize) {
    let (mut answer, mut handed_over) = (Answer::default(), 0);
    for (at, event) in events.iter().enumerate() {
        let taken = answer.take_event(event);
        assert!(answer.delivered <= size as u64 && answer.tool_calls.len() <= 256, "{answer:?}");
        match taken {
            Ok(Some(piece)) => {
                let texts = [piece.content, piece.reasoning];
                handed_over += texts.into_iter().flatten().map(|text| text.len() as u64).sum::<u64>();
                assert!(handed_over <= answer.delivered, "more was handed over than was counted");
            }
            Ok(None) => {
                for offers_tools in [true, false] {
                    if answer.check_finished(offers_tools).is_ok() {
                        assert_eq!(event.data.trim(), "[DONE]");
                        assert!(events[..at].iter().any(gives_a_reason), "complete without a reason to end");
                        assert!(!events[..at].iter().any(is_fatal), "complete after an error");
                        assert!(offers_tools || answer.tool_calls.is_empty(), "a call that nobody asked for");
                    }
                }
                return;
            }
            Err(_) => return,
        }
    }
}

/// A chunk whose first choice has a reason to end that is a text.
fn gives_a_reason(event: &Event) -> bool {
    let chunk = value(&event.data);
    let choices = field(&chunk, "choices", 1).as_array().map(Vec::as_slice).unwrap_or_default();
    choices.iter().any(|choice| {
        let is_first = field(choice, "index", 0).as_u64().unwrap_or(0) == 0;
        let reason = field(choice, "finish_reason", 3).as_str().unwrap_or_default();
        is_first && !matches!(reason, "" | "abort" | "error")
    })
}

/// An event after which nothing is complete.
fn is_fatal(event: &Event) -> bool {
    let chunk = value(&event.data);
    event.is_error || !field(&chunk, "error", 3).is_null()
}

/// A document, also if a number in it is greater than any that a value can hold: it may stand where nobody looks.
fn value(text: &str) -> Value {
    let without_exponents = || {
        let mut before = ' ';
        let is_kept = |c: &char| {
            let is_part = (before.is_ascii_digit() && matches!(c, 'e' | 'E'))
                || (matches!(before, 'e' | 'E') && matches!(c, '+' | '-'));
            before = *c;
            !is_part
        };
        text.chars().filter(is_kept).collect::<String>()
    };
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&without_exponents())).unwrap_or_default()
}

/// A field by its name, or by its place: serde takes a list for an object whose fields it knows.
fn field<'a>(value: &'a Value, name: &str, place: usize) -> &'a Value {
    if value.is_array() { value.get(place).unwrap_or(&Value::Null) } else { &value[name] }
}

struct Pieces<'a>(Vec<&'a [u8]>);

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let from = self.0.iter().position(|piece| !piece.is_empty()).unwrap_or(self.0.len());
        self.0.drain(..from);
        Ok(self.0.first().copied().unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        if let Some(first) = self.0.first_mut() {
            *first = &first[count..];
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}
