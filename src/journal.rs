//! What local providers were asked on this machine: written down before the prompt goes out, and kept until the server
//! has taken it. Holds no prompt, no answer and no token, and sends nothing.
//!
//! A command that is killed in between leaves a note whose lock the kernel lets go of; the next one finds it and makes
//! a report of it, of a failover that nobody knows the end of.

mod history;
mod spool;

pub use spool::Spool;

use crate::{environment::Environment, files::FileError};
use history::History;
use jiff::Timestamp;
use mcp_api::failover_report::{FailoverReport, Outcome};
use rustix::fs::{FlockOperation, OFlags, flock};
use std::{
    fs::File,
    io::{self, Write},
    time::Instant,
};

/// What happens now, to be told later.
#[derive(Debug, Clone)]
pub struct Failover {
    /// The LLM that was asked for.
    pub llm: String,
    /// Its id, if the server told it.
    pub llm_id: Option<String>,
    /// What the server did instead of answering, in one word.
    pub reason: String,
    /// The provider's name.
    pub provider: String,
    /// Its type.
    pub provider_type: String,
    /// The model that it is asked for.
    pub model: String,
    /// The `x-request-id` of this run.
    pub request_id: String,
    /// The public part of the token that permission was asked with.
    pub token_id: Option<String>,
}

/// A failover that is under way. Dropped without [`Underway::end`], it is one that nobody knows the end of.
#[derive(Debug)]
pub struct Underway {
    spool: Spool,
    note: String,
    /// Locked for as long as this process lives.
    _held: File,
    report: FailoverReport,
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
    /// Writes it down. Call this before the prompt goes out; `origin` is the server that permitted it.
    pub fn begins(self, env: &Environment, origin: &str) -> Result<Underway, JournalError> {
        let state = env.state_folder().ok_or(JournalError::NoFolder)?;
        let spool = Spool::open(&state, origin, History::new(&state, env, origin))?;
        let now = Timestamp::now();
        let report = self.report(id()?, now);
        let note = format!("{:013}-{}.open", now.as_millisecond(), report.id);
        let held = hold(&spool, &note, &report)?;
        Ok(Underway { spool, note, _held: held, report, began: Instant::now() })
    }

    fn report(self, id: String, at: Timestamp) -> FailoverReport {
        FailoverReport {
            id,
            at: format!("{at:.3}"),
            llm: self.llm,
            llm_id: self.llm_id,
            reason: self.reason,
            provider: self.provider,
            provider_type: self.provider_type,
            model: Some(self.model),
            outcome: Outcome::Incomplete.as_str().to_owned(),
            duration_ms: 0,
            request_id: self.request_id,
            token_id: self.token_id,
        }
    }
}

impl Underway {
    /// Writes down how it ended. Gives how many old reports had to be dropped to make room.
    pub fn end(mut self, outcome: Outcome) -> Result<usize, JournalError> {
        outcome.as_str().clone_into(&mut self.report.outcome);
        self.report.duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(self.spool.close(&self.note, &self.report)?)
    }
}

/// Makes the note and locks it.
fn hold(spool: &Spool, note: &str, report: &FailoverReport) -> Result<File, FileError> {
    let folder = spool.folder();
    let mut file = folder.open_private(note, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
    let content = serde_json::to_vec(report).map_err(io::Error::from);
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
