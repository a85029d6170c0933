//! What was counted and what was found, and the document that is made of it.

use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{Write, stderr},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Breach {
    /// An answer for somebody who had no right to it at any moment of the run.
    Unauthorised,
    /// Less than the whole answer, and exit 0.
    Truncated,
    /// What was acknowledged is not there, or what was removed still is.
    LostWrite,
    /// A secret where none may be.
    Secret,
    /// A process that nobody looks after.
    Orphan,
    /// More memory, files, sockets or processes than before.
    Leak,
    /// The history of a machine and the audit trail tell different things.
    Disagreement,
    /// Another promise: an exit code, a refusal, a stream.
    Other,
}

/// Who is killed, or otherwise troubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Victim {
    Mcpctl,
    Supervisor,
    Engine,
    Mcpd,
    Postgres,
}

/// The counts of a run.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug, Default, Clone)]
pub(super) struct Counts {
    pub(super) runs: u64,
    pub(super) judged: u64,
    pub(super) acknowledged: u64,
    pub(super) faults: u64,
    pub(super) kills: BTreeMap<Victim, u64>,
    /// How often each command ended how.
    pub(super) ends: BTreeMap<String, BTreeMap<String, u64>>,
    pub(super) breaches: BTreeMap<Breach, u64>,
    pub(super) violations: Vec<String>,
}

impl Tally {
    /// Counts and prints a violation, with enough to reproduce it.
    pub(super) fn violation(&self, breach: Breach, text: &str) {
        let text = format!("{breach:?}: {text}");
        let _nobody_reads = writeln!(stderr(), "VIOLATION {text}");
        let mut counts = self.counts();
        *counts.breaches.entry(breach).or_default() += 1;
        counts.violations.push(text);
    }

    pub(super) fn killed(&self, victim: Victim) {
        *self.counts().kills.entry(victim).or_default() += 1;
    }

    pub(super) fn fault(&self) {
        self.counts().faults += 1;
    }

    pub(super) fn acknowledged(&self) {
        self.counts().acknowledged += 1;
    }

    pub(super) fn ended(&self, command: &str, end: &str) {
        let mut counts = self.counts();
        counts.runs += 1;
        *counts.ends.entry(command.to_owned()).or_default().entry(end.to_owned()).or_default() += 1;
    }

    pub(super) fn judged(&self) {
        self.counts().judged += 1;
    }

    pub(super) fn snapshot(&self) -> Counts {
        self.counts().clone()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    pub(super) fn of(&self, breach: Breach) -> u64 {
        self.breaches.get(&breach).copied().unwrap_or_default()
    }

    pub(super) fn kills_of(&self, victim: Victim) -> u64 {
        self.kills.get(&victim).copied().unwrap_or_default()
    }
}

/// Early and late of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    pub(super) process: String,
    pub(super) early_kib: u64,
    pub(super) late_kib: u64,
}
