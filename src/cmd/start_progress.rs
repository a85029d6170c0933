//! The start of an engine, told while it happens: on a terminal in one line that changes, else in a line a stage.

use super::Run;
use crate::engine::{EngineError, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Tells how far a start has come. With `-q` it says nothing.
pub(super) struct StartProgress<'r, 'io> {
    run: &'r mut Run<'io>,
    provider: String,
    bar: Option<ProgressBar>,
    /// Everything that was told.
    said: Vec<String>,
}

impl<'r, 'io> StartProgress<'r, 'io> {
    /// Nothing has begun.
    pub(super) fn new(run: &'r mut Run<'io>, provider: &str) -> Self {
        Self { run, provider: provider.to_owned(), bar: None, said: Vec::new() }
    }

    /// Takes the next stage.
    pub(super) fn tell(&mut self, progress: Progress<'_>) {
        if self.run.global.quiet {
            return;
        }
        let words = match progress {
            Progress::Starting(title) => format!("starting {title}"),
            Progress::Stage(stage) => stage.to_owned(),
            Progress::Waiting(what) => format!("waiting: {what}"),
            Progress::Replacing(why) => format!("ending the engine that runs: {why}"),
            Progress::Ready(took) => format!("ready after {:.1} s", took.as_secs_f64()),
        };
        if !self.run.io.err_is_terminal || self.run.is_dumb() {
            self.run.note(format_args!("{}: {words}", self.provider));
            return;
        }
        // How it began and where it is: all stages together are wider than most terminals.
        let line = match self.said.first() {
            Some(first) => format!("{}: {first} ... {words}", self.provider),
            None => format!("{}: {words}", self.provider),
        };
        self.said.push(words);
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        bar.set_message(line);
    }

    /// The start is over, well or not: what was shown stays as an ordinary line.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
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
