//! Managed engines: a vLLM or a llama-server that starts when it is needed, is shared by all commands of a user, and
//! stops when nobody needs it.
//!
//! A command [acquires](acquire) an engine, uses it, and lets go of it. Between the two it shares a lock, so that the
//! engine's [supervisor] knows that it is used; the kernel frees the lock however the command ends. What to do next is
//! decided by two pure machines: [`next`] for commands, [`life`] for the supervisor. Processes, clocks and files are
//! around them.

mod acquire;
pub mod endpoint;
mod health;
pub mod kind;
pub mod launch;
pub mod life;
pub mod log;
pub mod next;
pub mod place;
pub mod processes;
pub mod record;
mod scratch;
pub mod status;
pub mod story;
pub mod supervisor;

pub use acquire::{acquire, start};
pub use endpoint::{AskError, Endpoint, Reply};
pub use kind::EngineKind;
pub use launch::{Launch, Unfit};
pub use place::{Place, PlaceError};
pub use record::{End, Record, State};
pub use status::{Condition, Status, Stopped, stop};

use crate::environment::Environment;
use health::HEALTH_LIMIT;
use mcp_api::Secret;
use place::Lock;
use processes::Process;
use rustix::process::Signal;
use std::{
    fs::{self, File},
    path::PathBuf,
    thread,
    time::{Duration, Instant, SystemTime},
};

/// How long a supervisor may take to hear that its engine is to end. It may be asking its engine something just then.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(15);

/// Why an engine cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It cannot be started as it is declared.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Its files cannot be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// It was started and ended before it could be used.
    #[error("{title} did not start: {end}")]
    Failed {
        /// Which engine.
        title: &'static str,
        /// How it ended.
        end: Box<End>,
        /// Its log.
        log: PathBuf,
    },
    /// No supervisor could be started.
    #[error("{title} cannot be started: {why}")]
    NotStarted {
        /// Which engine.
        title: &'static str,
        /// Why.
        why: String,
    },
    /// It dies again and again.
    #[error("{title} runs but does not answer, again after a restart")]
    Dead {
        /// Which engine.
        title: &'static str,
    },
    /// Its supervisor was killed, again after a restart.
    #[error("the supervisor of {title} was killed, again after a restart")]
    Orphaned {
        /// Which engine.
        title: &'static str,
    },
    /// Others use it, so it is not ended because it does not answer this command.
    #[error("{title} is in use by other commands, but does not answer this one: {why}")]
    Unreachable {
        /// Which engine.
        title: &'static str,
        /// What it does instead.
        why: String,
    },
    /// Nobody can be asked to end it.
    #[error("the supervisor of {title}, process {pid}, cannot be asked to end it; end that process first")]
    Unheard {
        /// Which engine.
        title: &'static str,
        /// The supervisor.
        pid: i32,
    },
    /// Its processes are not to be seen from here.
    #[error(
        "{title} runs on another machine or in another container that shares this home; \
         give each an XDG_STATE_HOME of its own, on a local disk"
    )]
    Elsewhere {
        /// Which engine.
        title: &'static str,
    },
    /// The caller's own time is over.
    #[error("{title} was not ready in the time that was given")]
    NoTime {
        /// Which engine.
        title: &'static str,
    },
    /// What runs cannot be ended.
    #[error("process {0} of an earlier engine cannot be ended")]
    Leftover(i32),
    /// What is to be stopped goes on.
    #[error(
        "an engine that is to end has not within {} s{}", .limit.as_secs(),
        if processes.is_empty() { String::new() } else { format!("; what is left: process {processes}") }
    )]
    StillRuns {
        /// How long it was waited for.
        limit: Duration,
        /// The numbers of what is left.
        processes: String,
    },
}

impl EngineError {
    /// The end of the engine's log, and where all of it is.
    #[must_use]
    pub fn log_lines(&self) -> Option<(&[String], &PathBuf)> {
        match self {
            Self::Failed { end, log, .. } => Some((&end.last, log)),
            _ => None,
        }
    }
}

/// How far a start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The engine is being started.
    Starting(&'static str),
    /// A stage of the start has begun.
    Stage(&'a str),
    /// It is ready; told only if it was not ready at once.
    Ready(Duration),
    /// An engine that does not do is being ended first.
    Replacing(&'a str),
    /// Something else comes first.
    Waiting(&'a str),
}

/// An engine in use: it is not stopped before this value goes, except by force.
#[derive(Debug)]
pub struct InUse {
    lock: File,
    /// What is known of it.
    pub record: Record,
    /// The key of its API, if it listens on a port.
    pub key: Option<Secret>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        touch(&self.lock);
    }
}

/// Shows the supervisor that the engine was used, however shortly.
fn touch(lock: &File) {
    let _ = lock.set_modified(SystemTime::now());
}

/// What somebody has against an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint {
    /// It could not be reached.
    Unreached,
    /// It said nothing.
    Silent,
    /// It said that it cannot, or broke off.
    Failed,
}

/// Lets go of an engine that has failed its caller, and has it ended if it is dead or hangs; says whether another try
/// may go better.
///
/// One that others use at this moment is busy and does not hang, unless it does not even say how it is. One that has
/// said something and is well has just refused. One that could not be reached and is well had too many at its door.
pub fn give_up(engine: InUse, env: &Environment, complaint: Complaint) -> bool {
    let (record, key) = (engine.record.clone(), engine.key.clone());
    drop(engine);
    let Ok(Some(place)) = Place::find(env, &record.provider) else { return false };
    match fate(&place, &record) {
        Fate::Runs => {}
        Fate::Gone => return true,
        Fate::Stopped => return false,
    }
    if complaint != Complaint::Silent && health::ask(&record, key.as_ref(), HEALTH_LIMIT).is_ok() {
        return complaint == Complaint::Unreached;
    }
    // One that says nothing at all, to anybody and for so long, hangs with all who wait for it.
    let is_mute = || complaint == Complaint::Silent && health::is_mute(&record, key.as_ref());
    if place.is_used().unwrap_or(true) && !is_mute() {
        return false;
    }
    signal_supervisor(&record, Signal::USR1) && is_given_up(&place, &record)
}

/// What has become of an engine.
enum Fate {
    /// It is still there.
    Runs,
    /// Somebody wanted its end; that is not to be undone.
    Stopped,
    /// It is gone for another reason, or there is another one already.
    Gone,
}

/// Says what has become of an engine. Why one ends is known when it has, so that is waited for.
fn fate(place: &Place, record: &Record) -> Fate {
    let deadline = Instant::now() + GIVE_UP_LIMIT;
    loop {
        let alive = place.is_locked(Lock::Alive).unwrap_or(true);
        let now = place.record().ok().flatten().filter(|now| now.instance == record.instance);
        match now.map(|now| now.state) {
            Some(State::Ended(End { why: record::Ending::Asked, .. })) => return Fate::Stopped,
            Some(State::Stopping) if alive && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Some(State::Loading { .. } | State::Ready) if alive => return Fate::Runs,
            Some(_) | None => return Fate::Gone,
        }
    }
}

/// Waits until a supervisor has heard that its engine is to end: until then the next look would take it for ready.
fn is_given_up(place: &Place, record: &Record) -> bool {
    let deadline = Instant::now() + GIVE_UP_LIMIT;
    loop {
        let Ok(now) = place.record() else { return false };
        let is_ready = now.is_some_and(|now| now.instance == record.instance && now.state == State::Ready);
        if !is_ready || !place.is_locked(Lock::Alive).unwrap_or(true) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to the supervisor of a record, and to nobody else: number, start, boot and command must all be its
/// own. Call only while somebody holds the lock `alive`.
fn signal_supervisor(record: &Record, signal: Signal) -> bool {
    let Process { pid, .. } = record.supervisor;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = command.split(|byte| *byte == 0).collect();
    let is_ours = words.get(1) == Some(&supervisor::COMMAND.as_bytes())
        && words.get(2) == Some(&record.provider.as_bytes())
        && is_here(record);
    is_ours && record.supervisor.signal(signal)
}

/// The numbers of its processes mean something here: it was started in this boot, and not in another container.
#[must_use]
pub fn is_here(record: &Record) -> bool {
    processes::here().is_ok_and(|here| here == record.boot)
}

/// Ends what a start left behind whose supervisor is gone. Call only while holding the lock `alive`. The error is the
/// number of a process that does not go.
fn end_leftovers(record: &Record, limit: Duration) -> Result<usize, i32> {
    let deadline = Instant::now() + limit;
    let mut ended = Vec::new();
    loop {
        let left = leftovers(record);
        let Some(first) = left.first() else { return Ok(ended.len()) };
        if Instant::now() > deadline {
            return Err(first.pid);
        }
        for process in left {
            process.signal(Signal::KILL);
            if !ended.contains(&process) {
                ended.push(process);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The processes that came of a start and are still there. In another boot all numbers mean other processes.
fn leftovers(record: &Record) -> Vec<Process> {
    match record.state {
        // Written once nothing was left.
        State::Ended(_) => Vec::new(),
        State::Loading { .. } | State::Ready | State::Stopping if is_here(record) => {
            processes::marked(&record.instance, record.pipe, record.supervisor.started)
        }
        State::Loading { .. } | State::Ready | State::Stopping => Vec::new(),
    }
}
