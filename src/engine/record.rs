//! What is written down about an engine, so that every later command can find it, use it and end it.

use super::{Endpoint, EngineKind, processes::Process, scratch};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// The format of the record. It goes up when an older program could not deal with what a newer one writes.
pub const FORMAT: u32 = 1;

/// The least of a record of any format: enough to know that it is not ours.
#[derive(Debug, Deserialize)]
pub struct Header {
    /// Its format.
    pub format: u32,
}

/// One start of an engine. Only its supervisor writes it, while it holds the lock `alive`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// A random name of this start; the engine's environment holds it too.
    pub instance: String,
    /// The provider's name.
    pub provider: String,
    /// Which engine.
    pub kind: EngineKind,
    /// The model, as the provider file names it.
    pub model: String,
    /// The name under which the engine serves it: random, so that an answer proves whose it is.
    pub served: String,
    /// What was started, as a hash: another declaration needs another engine.
    pub fingerprint: String,
    /// The boot in which all process numbers here mean something.
    pub boot: String,
    /// The supervisor.
    pub supervisor: Process,
    /// The engine's first process, leader of its group and session.
    pub engine: Option<Process>,
    /// The pipe into which everything that came of the engine writes.
    pub pipe: u64,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// The folder for what it puts beside its endpoint, if it has one.
    #[serde(default)]
    pub scratch: Option<PathBuf>,
    /// When the start began, in seconds since the start of the machine.
    pub started: u64,
    /// After how many seconds without a request it stops; 0 is never.
    pub idle_seconds: f64,
    /// The size of its context in tokens, once it is ready and if it says so.
    #[serde(default)]
    pub context: Option<u32>,
    /// Where it is in its life.
    pub state: State,
}

impl Record {
    /// Removes what this start leaves on disk beside its record and its log.
    pub(super) fn remove_traces(&self) {
        self.endpoint.remove();
        if let Some(folder) = &self.scratch {
            scratch::remove(folder, &self.instance);
        }
    }
}

/// Where an engine is in its life, as far as commands need to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum State {
    /// Not ready yet.
    Loading {
        /// The stage that its log shows.
        stage: Option<String>,
    },
    /// It answers.
    Ready,
    /// It lets nobody begin any more.
    Stopping,
    /// It is gone.
    Ended(End),
}

/// How an engine ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// Why.
    pub why: Ending,
    /// What its log says about it.
    pub cause: Option<String>,
    /// The last lines of its log.
    pub last: Vec<String>,
    /// It had been ready.
    pub was_ready: bool,
}

/// Why an engine ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// It ended by itself, with an exit code.
    Exited(i32),
    /// A signal ended it that was not ours.
    Killed(i32),
    /// It ended, and the kernel kept for nobody how.
    Unseen,
    /// It could not be started at all.
    NotStarted(String),
    /// It showed no progress for so many seconds.
    Stalled(u64),
    /// Nobody waited for its start any more.
    Unwanted,
    /// Nobody used it.
    Idle,
    /// Somebody asked for it.
    Asked,
    /// It did not answer, and somebody asked for its end at once.
    Hung,
    /// It could be reached from other machines; carries where.
    Exposed(String),
    /// Its records were taken away.
    Forgotten,
}

impl End {
    /// Says whether it ended because something is wrong with it.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match &self.why {
            Ending::Exited(_)
            | Ending::Killed(_)
            | Ending::Unseen
            | Ending::NotStarted(_)
            | Ending::Stalled(_)
            | Ending::Hung
            | Ending::Exposed(_) => true,
            Ending::Unwanted | Ending::Idle | Ending::Asked | Ending::Forgotten => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Ending::Exited(code) => write!(f, "it ended with exit code {code}")?,
            Ending::Killed(9) => f.write_str("it was killed (signal 9), perhaps for lack of memory")?,
            Ending::Killed(signal) => write!(f, "it ended by signal {signal}")?,
            Ending::Unseen => f.write_str("it ended")?,
            Ending::NotStarted(why) => return f.write_str(why),
            Ending::Stalled(seconds) => {
                write!(f, "it showed no progress for {seconds} s (startTimeoutSeconds) and was stopped")?;
            }
            Ending::Unwanted => f.write_str("nobody waited for its start any more")?,
            Ending::Idle => f.write_str("nobody used it")?,
            Ending::Asked => f.write_str("it was stopped")?,
            Ending::Hung => f.write_str("it did not answer and was stopped")?,
            Ending::Exposed(address) => {
                write!(f, "its API could be reached from other machines ({address}), so it was stopped")?;
            }
            Ending::Forgotten => f.write_str("its record or its socket was removed")?,
        }
        match &self.cause {
            Some(cause) if self.is_failure() => write!(f, ": {cause}"),
            Some(_) | None => Ok(()),
        }
    }
}
