//! Reports that the server at one origin has not taken yet: a file each, the oldest first by name.

use super::{Event, history::History};
use crate::{
    credential,
    environment::Environment,
    files::{self, FileError, PrivateFolder},
};
use mcp_api::failover_report::FailoverReport;
use rustix::fs::{FlockOperation, OFlags, flock};
use std::{
    collections::HashSet,
    io::Read,
    path::{Path, PathBuf},
};

/// The most reports that wait for one server; beyond it the oldest are dropped.
pub(super) const REPORTS_MAX: usize = 1000;
/// The largest report, in bytes.
const SIZE_MAX: u64 = 16 << 10;

/// The reports for one server.
#[derive(Debug)]
pub struct Spool {
    folder: PrivateFolder,
    history: History,
}

impl Spool {
    /// The spool of the server at `origin`, if it holds anything. Makes no folder.
    #[must_use]
    pub fn find(env: &Environment, origin: &str) -> Option<Self> {
        let state = env.state_folder()?;
        // Most machines never had a failover; those that had are looked at with care.
        std::fs::read_dir(reports(&state).join(credential::file_name(origin))).ok()?.next()?.ok()?;
        Self::open(&state, &credential::file_name(origin)).ok()
    }

    /// Opens one by the name of its folder; makes it where it is missing.
    pub(super) fn open(state: &Path, name: &str) -> Result<Self, FileError> {
        let folder = files::private_folder(&reports(state))?.subfolder(name)?;
        Ok(Self { folder, history: History::new(state) })
    }

    /// Those of all servers.
    pub(super) fn all(state: &Path) -> Result<Vec<Self>, FileError> {
        let path = reports(state);
        if matches!(path.try_exists(), Ok(false)) {
            return Ok(Vec::new());
        }
        let names = files::private_folder(&path)?.names()?;
        names.iter().map(|name| Self::open(state, name)).collect()
    }

    pub(super) fn folder(&self) -> &PrivateFolder {
        &self.folder
    }

    /// The reports that wait, with the names of their files, the oldest first.
    ///
    /// Notes of commands that were killed become reports here. One that is no report (any more) is removed. One whose
    /// note is still there waits for the next time: its command is about to add it to the history, or was killed just
    /// now. If it were told and forgotten, the note alone would say that nobody knows how it ended.
    pub fn waiting(&self) -> Result<Vec<(String, FailoverReport)>, FileError> {
        self.adopt()?;
        let mut waiting = Vec::new();
        let reports = self.names(".json")?;
        // After the reports: a note goes when its report is in the history.
        let notes: HashSet<String> = self.names(".open")?.into_iter().collect();
        for name in reports.into_iter().filter(|name| !notes.contains(&name.replace(".json", ".open"))) {
            let content = self.folder.read(&name, SIZE_MAX);
            match content.map(|content| content.and_then(|bytes| serde_json::from_slice(&bytes).ok())) {
                Ok(Some(report)) => waiting.push((name, report)),
                Ok(None) => self.folder.remove(&name)?,
                // What cannot be read now may be readable later.
                Err(_) => {}
            }
        }
        Ok(waiting)
    }

    /// Forgets a report that the server has taken.
    pub fn forget(&self, name: &str) -> Result<(), FileError> {
        self.folder.remove(name)
    }

    /// Puts a report in the place of its note. Gives how many old ones were dropped.
    pub(super) fn close(&self, note: &str, event: &Event) -> Result<usize, FileError> {
        let content = serde_json::to_vec(&event.report()).unwrap_or_default();
        // The report first: whoever finds both knows that the report is the last word.
        self.folder.write(&note.replace(".open", ".json"), &content)?;
        // That it cannot be added is no reason to do anything else differently: the report is what counts.
        let _ = self.history.add(event);
        self.folder.remove(note)?;
        self.prune()
    }

    /// Forgets a note that came to no prompt.
    pub(super) fn withdraw(&self, note: &str, event: &Event) -> Result<(), FileError> {
        // First, so that nobody makes a report of it who finds it.
        self.folder.remove(note)?;
        self.history.add(event)
    }

    /// Makes reports of notes whose command is gone.
    pub(super) fn adopt(&self) -> Result<(), FileError> {
        for note in self.names(".open")? {
            let Ok(mut file) = self.folder.open_private(&note, OFlags::RDONLY) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let mut content = Vec::new();
            let read = (&mut file).take(SIZE_MAX).read_to_end(&mut content);
            let event: Option<Event> = read.ok().and_then(|_| serde_json::from_slice(&content).ok());
            let report = note.replace(".open", ".json");
            // Only now that its command is gone: until then the report could still come.
            let is_closed = self.names(".json")?.contains(&report);
            match event {
                Some(event) if is_closed => self.remember(event, &report, &note)?,
                _ if is_closed => self.folder.remove(&note)?,
                Some(event) => drop(self.close(&note, &event)?),
                // It was killed before it had written it, and so before any prompt; or it is about to write it.
                None if self.folder.is_old(&note) => self.folder.remove(&note)?,
                None => {}
            }
        }
        Ok(())
    }

    /// It was killed between the report and the history, or after both: a line too many is told from the first one.
    fn remember(&self, event: Event, report: &str, note: &str) -> Result<(), FileError> {
        let known = self.folder.read(report, SIZE_MAX)?;
        if let Some(report) = known.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            let _ = self.history.add(&event.ended_as(&report));
        }
        self.folder.remove(note)
    }

    fn prune(&self) -> Result<usize, FileError> {
        let names = self.names(".json")?;
        let too_many = names.len().saturating_sub(REPORTS_MAX);
        for name in &names[..too_many] {
            self.folder.remove(name)?;
        }
        Ok(too_many)
    }

    /// The names that end so, in their order.
    fn names(&self, suffix: &str) -> Result<Vec<String>, FileError> {
        let mut names: Vec<_> =
            self.folder.names()?.into_iter().filter(|name| name.ends_with(suffix)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

fn reports(state: &Path) -> PathBuf {
    state.join("v1").join("reports")
}
