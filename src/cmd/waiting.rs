//! What a run waits for, shown on a terminal: nothing for the first moment, then one line that moves, and nothing once
//! it is over. In a pipe there is none of it.

use super::Run;
use crate::render::plain;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{Builder, JoinHandle},
    time::Duration,
};

/// What is over sooner than this is not worth a line.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often the line moves.
const BEAT: Duration = Duration::from_millis(100);

/// A line on stderr that lasts as long as this value. Once that is dropped the line is gone, and nothing writes to the
/// terminal any more.
#[must_use = "the line is there for as long as this lives"]
pub(super) struct Waiting(Option<Line>);

struct Line {
    bar: ProgressBar,
    over: Sender<()>,
    thread: JoinHandle<()>,
}

impl Run<'_> {
    /// Says whether there is somebody before whose eyes a line may move. A terminal of no type is taken for one that
    /// cannot.
    pub(super) fn shows_waiting(&self) -> bool {
        let may_move = self.env.var("TERM").is_some() && !self.is_dumb();
        self.io.err_is_terminal && !self.global.quiet && may_move
    }

    /// Shows from now on what is waited for.
    pub(super) fn waiting_for(&self, what: &str) -> Waiting {
        let waiting = Waiting(if self.shows_waiting() { Line::new() } else { None });
        waiting.tell(what);
        waiting
    }
}

impl Waiting {
    /// For where nothing is to be shown.
    pub(super) fn unseen() -> Self {
        Self(None)
    }

    /// Shows something else.
    pub(super) fn tell(&self, what: &str) {
        if let Some(line) = &self.0 {
            line.bar.set_message(plain(what));
        }
    }

    /// Ends it before its time: something else is about to be written.
    pub(super) fn end(&mut self) {
        if let Some(Line { bar, over, thread }) = self.0.take() {
            drop(over);
            // A panic of it has ended the program already.
            let _ = thread.join();
            bar.finish_and_clear();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

impl Line {
    /// None where no thread can be had: a line that does not move is no reason to fail.
    fn new() -> Option<Self> {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}").ok()?);
        let (over, ended) = channel();
        let moved = bar.clone();
        let thread = Builder::new().spawn(move || move_until(&ended, &moved)).ok()?;
        Some(Self { bar, over, thread })
    }
}

/// Nothing but this thread draws while it waits, so that nothing draws once it was waited for.
fn move_until(ended: &Receiver<()>, bar: &ProgressBar) {
    let mut wait = PATIENCE;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        if wait == PATIENCE {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            wait = BEAT;
        }
        bar.tick();
    }
}
