//! What the question itself meets, and what the contract makes of it: the first column of the decision table.

mod early;
mod heads;
mod streams;

use super::{
    axes::{Form, Kind, Phase},
    front::Wires,
};
use fakes::{Script, Step, wire};
use std::{sync::Arc, time::Duration};

/// What the central server answers when all is well.
pub(crate) const CENTRAL: &str = "Hello from the central server, in full.";
/// How many words of it come before an answer is disturbed in its middle.
const SOME: usize = 3;
/// Between two bytes of a drip: a head takes longer than anybody waits for it in such a run.
const SLOW: Duration = Duration::from_millis(60);
/// What the contract makes of it (its decision table).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// An answer.
    Answered,
    /// Worth the question for permission.
    Outage,
    /// Final, with this exit code.
    Final(i32),
    /// Final: so much of an answer was written, exit code 8.
    Cut(String),
}

/// Where it happens.
#[derive(Clone)]
pub(crate) enum Way {
    /// Behind the real server, whose upstream does this.
    Behind(Upstream),
    /// Before the real server, by the script of one connection.
    Before(Arc<dyn Fn(&Wires<'_>) -> Script + Send + Sync>),
    /// Nobody listens at the server's address, from the beginning.
    Refused,
    /// Nobody answers there.
    Swallowed,
}

/// What the upstream does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// It answers.
    Well,
    /// It refuses connections.
    Down,
    /// It answers with this status.
    Status(u16),
    /// It cuts after so many pieces of content.
    CutAfter(usize),
    /// It sends an error after so many pieces of content.
    ErrorAfter(usize),
    /// It ends without `[DONE]`.
    NoDone,
    /// It ends without a reason.
    NoFinishReason,
    /// It sends a web page.
    Html,
}

/// One thing that a question can meet.
#[derive(Clone)]
pub(crate) struct Primary {
    /// Where in the exchange.
    pub(crate) phase: Phase,
    /// What.
    pub(crate) kind: Kind,
    /// Which of its kind.
    pub(crate) which: String,
    /// What has to come of it.
    pub(crate) effect: Effect,
    /// Where it happens.
    pub(crate) way: Way,
    /// Only a secured connection has it.
    pub(crate) secured: bool,
    /// The client waits for nothing, so that its limits must be short.
    pub(crate) silent: bool,
    /// Only in this form; a document is written at the end, so that nothing can be told from what was written before.
    pub(crate) only: Option<Form>,
}

impl Primary {
    /// Its name.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}.{}", self.phase, self.kind, self.which)
    }
}

/// Everything that a question can meet. Statuses are swept from 100 to 999.
pub(crate) fn all() -> Vec<Primary> {
    let mut all = early::behind();
    all.extend(early::connections());
    all.extend(early::handshakes());
    all.extend(heads::heads());
    all.extend(heads::statuses());
    all.extend(streams::before_content());
    all.extend(streams::mid_content());
    all.extend(streams::ends());
    all
}

fn primary(phase: Phase, kind: Kind, which: &str, effect: Effect, way: Way) -> Primary {
    Primary { phase, kind, which: which.to_owned(), effect, way, secured: false, silent: false, only: None }
}

fn script(make: impl Fn(&Wires<'_>) -> Script + Send + Sync + 'static) -> Way {
    Way::Before(Arc::new(make))
}

/// A request is read, then these steps.
fn after_request(steps: Vec<Step>) -> Way {
    script(move |wires| wires.after_request(steps.clone()))
}

/// One event in a chunk of its own.
fn piece(data: &str) -> Vec<u8> {
    wire::chunk(&wire::event(data))
}

/// The role and so many words, an event each.
fn pieces(words: usize) -> Vec<u8> {
    let words = wire::words(CENTRAL).take(words).map(|word| piece(&wire::content(word)));
    [piece(&wire::role())].into_iter().chain(words).collect::<Vec<_>>().concat()
}

fn first_words(words: usize) -> String {
    wire::words(CENTRAL).take(words).collect()
}

fn whole() -> Vec<u8> {
    wire::sse_chunked(&wire::answer(CENTRAL))
}
