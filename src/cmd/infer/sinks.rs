//! Where an answer goes while it arrives.

use crate::{
    chat::{Answer, Sink},
    render::escape_lines,
};
use std::io::{self, Write};

/// Writes the text as it comes, and the reasoning to stderr if that is wanted.
pub(crate) struct TextSink<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// The text goes to a terminal, which would obey escape sequences in it.
    escape: bool,
    reasoning: bool,
    last: Option<char>,
    in_reasoning: bool,
}

impl<'a> TextSink<'a> {
    /// `escape` for terminals; `reasoning` if it is to be seen.
    pub(crate) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, escape: bool, reasoning: bool) -> Self {
        Self { out, err, escape, reasoning, last: None, in_reasoning: false }
    }

    /// Called when the answer was cut: on a terminal the error gets a line of its own, in a pipe nothing is added.
    pub(crate) fn interrupted(&mut self) {
        self.end_reasoning();
        if self.escape && self.last.is_some_and(|last| last != '\n') {
            let _ = self.err.write_all(b"\n");
        }
    }

    fn end_reasoning(&mut self) {
        if std::mem::take(&mut self.in_reasoning) {
            let _ = self.err.write_all(b"\n");
        }
    }
}

impl Sink for TextSink<'_> {
    fn content(&mut self, text: &str) -> io::Result<()> {
        self.end_reasoning();
        self.last = text.chars().next_back().or(self.last);
        if self.escape {
            self.out.write_all(escape_lines(text).as_bytes())?;
        } else {
            self.out.write_all(text.as_bytes())?;
        }
        self.out.flush()
    }

    fn reasoning(&mut self, text: &str) -> io::Result<()> {
        if self.reasoning {
            self.in_reasoning = true;
            // Nobody reads stderr: no reason to stop.
            let _ = self.err.write_all(escape_lines(text).as_bytes());
        }
        Ok(())
    }

    /// A text without a last newline gets one; calls of tools are shown as one line of JSON each.
    fn end(&mut self, answer: &Answer) -> io::Result<()> {
        self.end_reasoning();
        if self.last.is_some_and(|last| last != '\n') {
            self.out.write_all(b"\n")?;
        }
        for call in &answer.tool_calls {
            writeln!(self.out, "{}", serde_json::json!(call))?;
        }
        self.out.flush()
    }
}

/// Keeps the text for a document.
#[derive(Default)]
pub(crate) struct DocumentSink {
    /// The text so far.
    pub(crate) content: String,
    /// The reasoning so far.
    pub(crate) reasoning: String,
}

/// What a document may hold, in bytes.
const DOCUMENT_MAX: usize = 8 << 20;

impl Sink for DocumentSink {
    fn content(&mut self, text: &str) -> io::Result<()> {
        keep(&mut self.content, text)
    }

    fn reasoning(&mut self, text: &str) -> io::Result<()> {
        keep(&mut self.reasoning, text)
    }

    fn end(&mut self, _: &Answer) -> io::Result<()> {
        Ok(())
    }
}

fn keep(kept: &mut String, text: &str) -> io::Result<()> {
    if kept.len() + text.len() > DOCUMENT_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the answer does not fit a document; use -o text",
        ));
    }
    kept.push_str(text);
    Ok(())
}
