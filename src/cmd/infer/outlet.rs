//! Where an answer goes: to stdout while it arrives, or only once it is known to be what was asked for.

use super::{
    args::Reasoning,
    events::{Answering, InferenceEvent},
    sinks::{EventSink, KeepingSink, Kept, Look, Prelude, TextSink},
};
use crate::{
    chat::{Answer, Sink},
    cmd::{Run, waiting::Waiting},
    render::Format,
};
use std::io;

/// Where an answer goes.
#[derive(Debug)]
pub(super) struct Outlet {
    form: Form,
    reasoning: Reasoning,
    kept: Kept,
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Text, while it arrives.
    Text(Look),
    /// Text that a schema has to let pass first: a program that reads it never sees what it did not ask for.
    Withheld(Look),
    /// One document, at the end.
    Document,
    /// A document for each thing that happens; the text is also kept if a schema wants to see it.
    Events { keeps: bool },
}

impl Outlet {
    /// For the format that was asked for.
    pub(super) fn new(run: &Run<'_>, format: Format, reasoning: Reasoning, has_schema: bool) -> Self {
        let look = match (format, run.io.out_is_terminal) {
            (Format::Raw, _) => Look::Raw,
            (_, true) => Look::Terminal,
            (_, false) => Look::Piped,
        };
        let form = match format {
            Format::Json => Form::Document,
            Format::Jsonl => Form::Events { keeps: has_schema },
            _ if has_schema => Form::Withheld(look),
            _ => Form::Text(look),
        };
        Self { form, reasoning, kept: Kept::default() }
    }

    /// Says something to a program that follows what happens.
    pub(super) fn tell(&self, run: &mut Run<'_>, event: &InferenceEvent<'_>) -> io::Result<()> {
        if let Form::Events { .. } = self.form { event.write(run.io.out) } else { Ok(()) }
    }

    /// Takes what one call brings. `waiting` is over at the first word that is seen; `notes`, whole lines, are told when
    /// the first piece of the answer arrives, and not at all if none does.
    pub(super) fn receive<T, E>(
        &mut self,
        run: &mut Run<'_>,
        answering: Answering<'_>,
        (waiting, notes): (Waiting, String),
        call: impl FnOnce(&mut dyn Sink) -> Result<T, E>,
    ) -> Result<T, E> {
        let reasoning = self.shows_reasoning(run);
        let prelude = Prelude { err: run.io.err, waiting, notes };
        match self.form {
            Form::Document | Form::Withheld(_) => call(&mut KeepingSink { kept: &mut self.kept, prelude }),
            Form::Text(look) => {
                let mut sink = TextSink::new(run.io.out, prelude, look, reasoning);
                let received = call(&mut sink);
                if received.is_err() {
                    sink.interrupted();
                }
                received
            }
            Form::Events { keeps } => {
                let reasoning = self.reasoning != Reasoning::Hide;
                let kept = keeps.then_some(&mut self.kept);
                let (out, answering) = (&mut *run.io.out, Some(answering));
                call(&mut EventSink { out, answering, reasoning, kept, prelude })
            }
        }
    }

    /// Hands over text that was held back.
    pub(super) fn release(&self, run: &mut Run<'_>, answer: &Answer) -> io::Result<()> {
        let Form::Withheld(look) = self.form else { return Ok(()) };
        let reasoning = self.shows_reasoning(run);
        let prelude = Prelude { err: run.io.err, waiting: Waiting::unseen(), notes: String::new() };
        let mut sink = TextSink::new(run.io.out, prelude, look, reasoning);
        if !self.kept.reasoning.is_empty() {
            sink.reasoning(&self.kept.reasoning)?;
        }
        if !self.kept.content.is_empty() {
            sink.content(&self.kept.content)?;
        }
        sink.end(answer)
    }

    /// The text, where it was kept.
    pub(super) fn content(&self) -> &str {
        &self.kept.content
    }

    /// The reasoning, where it is kept and wanted.
    pub(super) fn reasoning(&self) -> Option<&str> {
        let wanted = self.reasoning != Reasoning::Hide && !self.kept.reasoning.is_empty();
        wanted.then_some(self.kept.reasoning.as_str())
    }

    /// The answer is to be one document.
    pub(super) fn is_document(&self) -> bool {
        self.form == Form::Document
    }

    /// Nothing of an answer that fails has been written.
    pub(super) fn withholds(&self) -> bool {
        matches!(self.form, Form::Withheld(_) | Form::Document)
    }

    fn shows_reasoning(&self, run: &Run<'_>) -> bool {
        match self.reasoning {
            Reasoning::Auto => run.io.err_is_terminal && !run.global.quiet,
            Reasoning::Show => true,
            Reasoning::Hide => false,
        }
    }
}
