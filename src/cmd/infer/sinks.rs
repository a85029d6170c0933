//! What takes an answer while it arrives: text for people and pipes, events for programs, or memory.

use super::events::{Answering, InferenceEvent};
use crate::{
    chat::{Answer, Sink},
    cmd::waiting::Waiting,
    render::{escape_lines, unobeyed},
};
use serde_json::json;
use std::io::{self, Write};

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

/// Writes the text as it comes, and the reasoning to stderr if that is wanted.
pub(super) struct TextSink<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
    pub(super) look: Look,
    pub(super) reasoning: bool,
    pub(super) waiting: Waiting,
    last: Option<char>,
    in_reasoning: bool,
}

impl<'a> TextSink<'a> {
    /// `reasoning` if it is to be seen; `waiting` ends with the first word.
    pub(super) fn new(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        look: Look,
        reasoning: bool,
        waiting: Waiting,
    ) -> Self {
        Self { out, err, look, reasoning, waiting, last: None, in_reasoning: false }
    }

    /// Called when the answer was cut: on a terminal the error gets a line of its own, in a pipe nothing is added.
    pub(super) fn interrupted(&mut self) {
        self.end_reasoning();
        if self.look == Look::Terminal && self.is_within_a_line() {
            let _ = self.err.write_all(b"\n");
        }
    }

    fn is_within_a_line(&self) -> bool {
        self.last.is_some_and(|last| last != '\n')
    }

    fn end_reasoning(&mut self) {
        if std::mem::take(&mut self.in_reasoning) {
            let _ = self.err.write_all(b"\n");
        }
    }
}

impl Sink for TextSink<'_> {
    fn content(&mut self, text: &str) -> io::Result<()> {
        self.waiting.end();
        self.end_reasoning();
        self.last = text.chars().next_back().or(self.last);
        match self.look {
            Look::Terminal => self.out.write_all(escape_lines(text).as_bytes())?,
            Look::Piped | Look::Raw => self.out.write_all(text.as_bytes())?,
        }
        self.out.flush()
    }

    fn reasoning(&mut self, text: &str) -> io::Result<()> {
        if self.reasoning {
            self.waiting.end();
            self.in_reasoning = true;
            // Nobody reads stderr: no reason to stop.
            let _ = self.err.write_all(escape_lines(text).as_bytes());
        }
        Ok(())
    }

    /// A text without a last newline gets one, unless it is to be left as it is; calls of tools are one line of JSON
    /// each.
    fn end(&mut self, answer: &Answer) -> io::Result<()> {
        self.waiting.end();
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
    pub(super) waiting: Waiting,
}

impl EventSink<'_> {
    fn tell(&mut self, event: &InferenceEvent<'_>) -> io::Result<()> {
        self.waiting.end();
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
        if self.reasoning { self.tell(&InferenceEvent::Reasoning { text }) } else { Ok(()) }
    }

    fn end(&mut self, answer: &Answer) -> io::Result<()> {
        answer.tool_calls.iter().try_for_each(|call| self.tell(&InferenceEvent::ToolCall(call)))
    }
}
