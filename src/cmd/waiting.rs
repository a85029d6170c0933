//! What a run waits for, shown on a terminal: nothing for the first moment, then one line that moves, and nothing once
//! it is over. In a pipe there is none of it.

use super::Run;
use crate::render::plain;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::Builder,
    time::Duration,
};
use terminal_size::{Width, terminal_size_of};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What is over sooner than this is not worth a line.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often the line moves.
const BEAT: Duration = Duration::from_millis(100);
/// Columns that are for others: the clock, its space, `^C`.
const BESIDE: usize = 12;
/// How long the line may take to go; a terminal that is not held needs no time for it.
const HELD: Duration = Duration::from_millis(200);

/// A line on stderr that lasts as long as this value. Once that is dropped the line is gone, and nothing writes to the
/// terminal any more.
#[must_use = "the line is there for as long as this lives"]
pub(super) struct Waiting(Option<Line>);

struct Line {
    bar: ProgressBar,
    /// Dropped to end it.
    over: Sender<()>,
    /// Dropped by its thread once the line is gone.
    gone: Receiver<()>,
    /// The line is to stay as it is: what comes after it is being written.
    given_up: Arc<AtomicBool>,
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
            line.bar.set_message(fitting(&plain(what)));
        }
    }

    /// Ends it before its time: something else is about to be written.
    pub(super) fn end(&mut self) {
        if let Some(Line { bar: _, over, gone, given_up }) = self.0.take() {
            drop(over);
            // On a terminal that is held its thread hangs in a write, and the caller's time goes on.
            if gone.recv_timeout(HELD) == Err(RecvTimeoutError::Timeout) {
                given_up.store(true, Ordering::Relaxed);
            }
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
        bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}").ok()?);
        let (over, ended) = channel();
        let (last, gone) = channel();
        let given_up = Arc::new(AtomicBool::new(false));
        let (moved, is_given_up) = (bar.clone(), Arc::clone(&given_up));
        let drawn = move || {
            move_until(&ended, &moved);
            if is_given_up.load(Ordering::Relaxed) {
                // It would clear its line when it goes.
                mem::forget(moved);
            } else {
                moved.finish_and_clear();
            }
            drop(last);
        };
        Builder::new().spawn(drawn).ok()?;
        Some(Self { bar, over, gone, given_up })
    }
}

/// As much of a text as fits the terminal beside the clock, with room at the end for what Ctrl-C shows.
fn fitting(text: &str) -> String {
    let width = terminal_size_of(io::stderr()).map_or(80, |(Width(width), _)| usize::from(width));
    let room = width.saturating_sub(BESIDE).max(8);
    if text.width() <= room {
        return text.to_owned();
    }
    let mut taken = 1;
    let fits = |c: &char| {
        taken += c.width().unwrap_or_default();
        taken <= room
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Nothing but its thread draws a line, so that nothing draws once that was waited for.
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
