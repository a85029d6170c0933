//! What became of failovers on this machine: those that were refused, and those that a local provider was asked in,
//! which are written down before the prompt goes out and kept until the server has taken the report. Holds no prompt,
//! no answer and no token, and sends nothing.
//!
//! A command that is killed in between leaves a note whose lock the kernel lets go of; the next one finds it and makes
//! a report of it, of a failover that nobody knows the end of.

mod event;
pub(crate) mod history;
mod spool;

pub use event::{Ended, Event, Permission};
pub use history::Past;
pub use spool::Spool;

use crate::{credential, environment::Environment, files::FileError};
use history::History;
use jiff::Timestamp;
use mcp_api::failover_report::Outcome;
use rustix::fs::{FlockOperation, OFlags, flock};
use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

/// A failover that is wanted: what happened so far.
#[derive(Debug, Clone)]
pub struct Failover {
    /// The origin of the server whose place is to be taken.
    pub server: String,
    /// Who asks, as the server calls them, where that is known.
    pub user: Option<String>,
    /// The LLM that was asked for.
    pub llm: String,
    /// Its id, if the server told it.
    pub llm_id: Option<String>,
    /// What the server did instead of answering, in one word.
    pub reason: String,
    /// The `x-request-id` of this run.
    pub request_id: String,
    /// The public part of the token that permission was asked with.
    pub token_id: Option<String>,
}

/// Who is to answer.
#[derive(Debug, Clone)]
pub struct StandIn {
    /// The provider's name.
    pub provider: String,
    /// Its type.
    pub provider_type: String,
    /// The model that it is asked for.
    pub model: String,
}

/// A failover that is under way. Dropped without [`Underway::end`], it is one that nobody knows the end of.
#[derive(Debug)]
pub struct Underway {
    spool: Spool,
    note: String,
    /// Locked for as long as this process lives.
    _held: File,
    event: Event,
    began: Instant,
}

/// Why it is not written down.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Neither `HOME` nor `XDG_STATE_HOME` is set.
    #[error("there is no folder for it: set HOME or XDG_STATE_HOME")]
    NoFolder,
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no randomness to be had.
    #[error("the operating system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl Failover {
    /// Writes down that a permitted provider is about to be asked. Call this before the prompt goes out.
    pub fn begins(self, stand_in: StandIn, env: &Environment) -> Result<Underway, JournalError> {
        let spool = Spool::open(&state(env)?, &credential::file_name(&self.server))?;
        let event = self.event(env)?.of(stand_in, Ended::Incomplete);
        let note = format!("{:013}-{}.open", event.at.as_millisecond(), event.id);
        let held = hold(&spool, &note, &event)?;
        Ok(Underway { spool, note, _held: held, event, began: Instant::now() })
    }

    /// Writes down that a permitted provider could not be asked.
    pub fn not_ready(self, stand_in: StandIn, took: Duration, env: &Environment) -> Result<(), JournalError> {
        let event = self.event(env)?.of(stand_in, Ended::NotReady);
        Ok(History::new(&state(env)?).add(&Event { duration_ms: millis(took), ..event })?)
    }

    /// Writes down that it was not permitted, and why.
    pub fn refused(
        self,
        verdict: Permission,
        why: String,
        took: Duration,
        env: &Environment,
    ) -> Result<(), JournalError> {
        let event = Event { verdict, why: Some(why), duration_ms: millis(took), ..self.event(env)? };
        Ok(History::new(&state(env)?).add(&event)?)
    }

    /// It begins now, and nobody was contacted yet.
    fn event(self, env: &Environment) -> Result<Event, JournalError> {
        let now = Timestamp::now();
        Ok(Event {
            id: id()?,
            at: Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now),
            server: self.server,
            user: self.user,
            login: env.var("USER").or_else(|| env.var("LOGNAME")).map(str::to_owned),
            llm: self.llm,
            llm_id: self.llm_id,
            reason: self.reason,
            verdict: Permission::Allowed,
            why: None,
            provider: None,
            provider_type: None,
            model: None,
            outcome: Ended::Refused,
            duration_ms: 0,
            request_id: self.request_id,
            token_id: self.token_id,
        })
    }
}

impl Event {
    fn of(self, stand_in: StandIn, outcome: Ended) -> Self {
        let StandIn { provider, provider_type, model } = stand_in;
        Self {
            provider: Some(provider),
            provider_type: Some(provider_type),
            model: Some(model),
            outcome,
            ..self
        }
    }
}

impl Underway {
    /// Writes down how it ended. Gives how many old reports had to be dropped to make room.
    pub fn end(mut self, outcome: Outcome) -> Result<usize, JournalError> {
        self.event.outcome = outcome.into();
        self.event.duration_ms = millis(self.began.elapsed());
        Ok(self.spool.close(&self.note, &self.event)?)
    }
}

impl Underway {
    /// Nobody was asked after all: nothing is left to be reported. Writes down why the server did not permit it, or
    /// that the provider was not ready in time.
    pub fn withdraw(self, refusal: Option<(Permission, String)>, took: Duration) -> Result<(), JournalError> {
        let event = Event { duration_ms: millis(took), ..self.event };
        let event = match refusal {
            None => Event { outcome: Ended::NotReady, ..event },
            Some((verdict, why)) => Event {
                verdict,
                why: Some(why),
                provider: None,
                provider_type: None,
                model: None,
                outcome: Ended::Refused,
                ..event
            },
        };
        Ok(self.spool.withdraw(&self.note, &event)?)
    }
}

/// Adds to the history what was left by commands that were killed.
pub fn settle(env: &Environment) -> Result<(), JournalError> {
    Spool::all(&state(env)?)?.iter().try_for_each(Spool::adopt).map_err(JournalError::from)
}

fn state(env: &Environment) -> Result<PathBuf, JournalError> {
    env.state_folder().ok_or(JournalError::NoFolder)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Makes the note and locks it.
fn hold(spool: &Spool, note: &str, event: &Event) -> Result<File, FileError> {
    let folder = spool.folder();
    let mut file = folder.open_private(note, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
    let content = serde_json::to_vec(event).map_err(io::Error::from);
    let written = flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(io::Error::from)
        .and_then(|()| file.write_all(&content?))
        .and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = folder.remove(note);
        FileError::Write { path: folder.path().join(note), error }
    })?;
    Ok(file)
}

fn id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
