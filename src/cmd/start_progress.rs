//! The start of an engine, told while it happens: on a terminal in one line that changes, else in a line a stage.

use super::{Run, waiting::Waiting};
use crate::engine::{EngineError, Progress};

/// Tells how far a start has come. With `-q` it says nothing.
pub(super) struct StartProgress<'r, 'io> {
    run: &'r mut Run<'io>,
    provider: String,
    waiting: Option<Waiting>,
    /// Everything that was told.
    said: Vec<String>,
}

impl<'r, 'io> StartProgress<'r, 'io> {
    /// Nothing has begun.
    pub(super) fn new(run: &'r mut Run<'io>, provider: &str) -> Self {
        Self { run, provider: provider.to_owned(), waiting: None, said: Vec::new() }
    }

    /// Takes the next stage.
    pub(super) fn tell(&mut self, progress: Progress<'_>) {
        let words = match progress {
            Progress::Starting(title) => format!("starting {title}"),
            Progress::Stage(stage) => stage.to_owned(),
            Progress::Waiting(what) => format!("waiting: {what}"),
            Progress::Replacing(why) => format!("ending the engine that runs: {why}"),
            Progress::Ready(took) => format!("ready after {:.1} s", took.as_secs_f64()),
        };
        if !self.run.shows_waiting() {
            self.run.note(format_args!("{}: {words}", self.provider));
            return;
        }
        // How it began and where it is: all stages together are wider than most terminals.
        let line = match self.said.first() {
            Some(first) => format!("{}: {first} ... {words}", self.provider),
            None => format!("{}: {words}", self.provider),
        };
        self.said.push(words);
        match &self.waiting {
            Some(waiting) => waiting.tell(&line),
            None => self.waiting = Some(self.run.waiting_for(&line)),
        }
    }

    /// The start is over, well or not: what was shown stays as an ordinary line.
    pub(super) fn end(self) {
        if let Some(waiting) = self.waiting {
            drop(waiting);
            self.run.note(format_args!("{}: {}", self.provider, self.said.join(" ... ")));
        }
    }
}

/// The end of an engine's log, for a message about its failure.
pub(super) fn end_of_log(error: &EngineError, provider: &str) -> Vec<String> {
    let Some((lines, path)) = error.log_lines() else { return Vec::new() };
    let mut told = Vec::new();
    if !lines.is_empty() {
        told.push(format!("the end of its log, {}:", path.display()));
        told.extend(lines.iter().map(|line| format!("  | {line}")));
    }
    told.push(format!("all of it: mcpctl providers logs {provider}"));
    told
}
