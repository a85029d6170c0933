//! What takes an answer while it arrives: text for people and pipes, events for programs, or memory.

use super::events::{Answering, InferenceEvent};
use crate::{
    chat::{Answer, Sink},
    cmd::waiting::Waiting,
    render::{escape_lines, unobeyed},
};
use serde_json::json;
use std::{
    io::{self, Write},
    mem,
};

/// How text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// For a terminal, which would obey escape sequences.
    Terminal,
    /// Untouched, but for a newline at its end.
    Piped,
    /// Untouched.
    Raw,
}

/// What people see of an answer until its first piece: a line that moves, and then what has to be said before it.
pub(super) struct Prelude<'a> {
    pub(super) err: &'a mut dyn Write,
    pub(super) waiting: Waiting,
    /// Whole lines; told once.
    pub(super) notes: String,
}

impl Prelude<'_> {
    /// A piece of the answer is here, whether or not it will be seen.
    fn arrived(&mut self) {
        if !self.notes.is_empty() {
            self.waiting.end();
            // Nobody reads stderr: no reason to stop.
            let _ = self.err.write_all(mem::take(&mut self.notes).as_bytes());
        }
    }

    /// Something is about to be written.
    fn end(&mut self) {
        self.arrived();
        self.waiting.end();
    }
}

/// Writes the text as it comes, and the reasoning to stderr if that is wanted.
pub(super) struct TextSink<'a> {
    out: &'a mut dyn Write,
    prelude: Prelude<'a>,
    look: Look,
    reasoning: bool,
    last: Option<char>,
    in_reasoning: bool,
}

impl<'a> TextSink<'a> {
    /// `reasoning` if it is to be seen.
    pub(super) fn new(out: &'a mut dyn Write, prelude: Prelude<'a>, look: Look, reasoning: bool) -> Self {
        Self { out, prelude, look, reasoning, last: None, in_reasoning: false }
    }

    /// Called when the answer was cut: on a terminal the error gets a line of its own, in a pipe nothing is added.
    pub(super) fn interrupted(&mut self) {
        self.end_reasoning();
        if self.look == Look::Terminal && self.is_within_a_line() {
            let _ = self.prelude.err.write_all(b"\n");
        }
    }

    fn is_within_a_line(&self) -> bool {
        self.last.is_some_and(|last| last != '\n')
    }

    fn end_reasoning(&mut self) {
        if mem::take(&mut self.in_reasoning) {
            let _ = self.prelude.err.write_all(b"\n");
        }
    }
}

impl Sink for TextSink<'_> {
    fn content(&mut self, text: &str) -> io::Result<()> {
        self.prelude.end();
        self.end_reasoning();
        self.last = text.chars().next_back().or(self.last);
        match self.look {
            Look::Terminal => self.out.write_all(escape_lines(text).as_bytes())?,
            Look::Piped | Look::Raw => self.out.write_all(text.as_bytes())?,
        }
        self.out.flush()
    }

    fn reasoning(&mut self, text: &str) -> io::Result<()> {
        self.prelude.arrived();
        if self.reasoning {
            self.prelude.end();
            self.in_reasoning = true;
            let _ = self.prelude.err.write_all(escape_lines(text).as_bytes());
        }
        Ok(())
    }

    /// A text without a last newline gets one, unless it is to be left as it is; calls of tools are one line of JSON
    /// each.
    fn end(&mut self, answer: &Answer) -> io::Result<()> {
        self.prelude.end();
        self.end_reasoning();
        if self.is_within_a_line() && (self.look != Look::Raw || !answer.tool_calls.is_empty()) {
            self.out.write_all(b"\n")?;
        }
        for call in &answer.tool_calls {
            writeln!(self.out, "{}", unobeyed(&json!(call).to_string()))?;
        }
        self.out.flush()
    }
}

/// Keeps the answer.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The text so far.
    pub(super) content: String,
    /// The reasoning so far.
    pub(super) reasoning: String,
}

/// Keeps the answer, while people are told about it.
pub(super) struct KeepingSink<'a> {
    pub(super) kept: &'a mut Kept,
    pub(super) prelude: Prelude<'a>,
}

impl Sink for KeepingSink<'_> {
    fn content(&mut self, text: &str) -> io::Result<()> {
        self.prelude.arrived();
        self.kept.content(text)
    }

    fn reasoning(&mut self, text: &str) -> io::Result<()> {
        self.prelude.arrived();
        self.kept.reasoning(text)
    }

    fn end(&mut self, answer: &Answer) -> io::Result<()> {
        self.prelude.end();
        self.kept.end(answer)
    }
}

/// What is kept of an answer at most, in bytes.
const KEPT_MAX: usize = 8 << 20;

impl Sink for Kept {
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
    if kept.len() + text.len() > KEPT_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the answer is larger than the 8 MiB that -o json and --schema take",
        ));
    }
    kept.push_str(text);
    Ok(())
}

/// Writes an event a line.
pub(super) struct EventSink<'a> {
    pub(super) out: &'a mut dyn Write,
    /// Who answers; said before the first piece of the answer.
    pub(super) answering: Option<Answering<'a>>,
    pub(super) reasoning: bool,
    /// Where the text is kept for a schema.
    pub(super) kept: Option<&'a mut Kept>,
    pub(super) prelude: Prelude<'a>,
}

impl EventSink<'_> {
    fn tell(&mut self, event: &InferenceEvent<'_>) -> io::Result<()> {
        self.prelude.end();
        if let Some(answering) = self.answering.take() {
            InferenceEvent::Answering(answering).write(self.out)?;
        }
        event.write(self.out)
    }
}

impl Sink for EventSink<'_> {
    fn content(&mut self, text: &str) -> io::Result<()> {
        if let Some(kept) = &mut self.kept {
            kept.content(text)?;
        }
        self.tell(&InferenceEvent::Content { text })
    }

    fn reasoning(&mut self, text: &str) -> io::Result<()> {
        self.prelude.arrived();
        if self.reasoning { self.tell(&InferenceEvent::Reasoning { text }) } else { Ok(()) }
    }

    fn end(&mut self, answer: &Answer) -> io::Result<()> {
        self.prelude.end();
        answer.tool_calls.iter().try_for_each(|call| self.tell(&InferenceEvent::ToolCall(call)))
    }
}
