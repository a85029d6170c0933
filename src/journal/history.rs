//! `failovers.jsonl`: what happened on this machine, a line each, whether or not a server heard of it. Bounded.

use super::{Event, JournalError};
use crate::{
    environment::Environment,
    files::{self, FileError, PrivateFolder},
};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, OFlags, flock};
use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

/// The file, and the one before it.
const FILES: [&str; 2] = ["failovers.jsonl", "failovers.jsonl.1"];
/// The size at which it is put aside, in bytes. At most two of them are kept.
pub(super) const SIZE_MAX: u64 = 1 << 20;
/// The longest line that can be an event, in bytes.
const LINE_MAX: u64 = 64 << 10;

/// The file to be written.
#[derive(Debug)]
pub(super) struct History {
    state: PathBuf,
}

impl History {
    pub(super) fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }

    /// Adds a line.
    pub(super) fn add(&self, event: &Event) -> Result<(), FileError> {
        let path = || self.state.join(FILES[0]);
        let mut file = self.file()?;
        // One write a line: what is written is whole lines, whatever happens to this process. Where a full disk has
        // cut one short, ours is not to be a part of it.
        let separator = if ends_a_line(&file).unwrap_or(true) { "" } else { "\n" };
        line(event)
            .and_then(|line| file.write_all(format!("{separator}{line}").as_bytes()))
            .map_err(|error| FileError::Write { path: path(), error })
    }

    /// The file, locked, with room for a line.
    fn file(&self) -> Result<File, FileError> {
        let folder = files::private_folder(&self.state)?;
        let fail = |error: io::Error| FileError::Write { path: self.state.join(FILES[0]), error };
        for _ in 0..ROUNDS {
            let file = folder.open_private(FILES[0], OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)?;
            flock(&file, FlockOperation::LockExclusive).map_err(|error| fail(error.into()))?;
            if open(&folder, FILES[0])?.is_none_or(|now| !is_same(&file, &now)) {
                // Somebody put it aside while we waited for it.
                continue;
            }
            if file.metadata().map_err(fail)?.len() < SIZE_MAX {
                return Ok(file);
            }
            folder.rename(FILES[0], FILES[1])?;
        }
        Err(fail(io::ErrorKind::ResourceBusy.into()))
    }
}

/// An event as it is written, with the end of its line.
pub(crate) fn line(event: &Event) -> io::Result<String> {
    Ok(serde_json::to_string(event)? + "\n")
}

/// Somebody else may put it aside at the same time; nobody does so again and again.
const ROUNDS: usize = 8;

/// What is known of failovers on this machine.
#[derive(Debug, Default)]
pub struct Past {
    /// One after the other, by the time at which they began.
    pub events: Vec<Event>,
    /// How many lines are no events: cut short, damaged or of somebody else.
    pub unreadable: usize,
}

impl Past {
    /// Reads what happened from `since` on. Makes no file.
    pub fn read(env: &Environment, since: Option<Timestamp>) -> Result<Self, JournalError> {
        let state = env.state_folder().ok_or(JournalError::NoFolder)?;
        let mut past = Self::default();
        if matches!(state.try_exists(), Ok(false)) {
            return Ok(past);
        }
        let folder = files::private_folder(&state)?;
        for (name, file) in both(&folder)? {
            let error = |error| FileError::Read { path: state.join(name), error };
            past.take(file, since).map_err(error)?;
        }
        past.put_in_order();
        Ok(past)
    }

    pub(crate) fn put_in_order(&mut self) {
        self.events.sort_by_key(|event| event.at);
        // Who was killed between two steps may have left the same event twice; the first one knew more.
        let mut seen = HashSet::new();
        self.events.retain(|event| seen.insert(event.id.clone()));
    }

    pub(crate) fn take(&mut self, file: impl Read, since: Option<Timestamp>) -> io::Result<()> {
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut lines).take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line.len() as u64 == LINE_MAX && !line.ends_with(b"\n") {
                lines.skip_until(b'\n')?;
            }
            match serde_json::from_slice::<Event>(&line) {
                Ok(event) if since.is_none_or(|since| event.at >= since) => self.events.push(event),
                Ok(_) => {}
                Err(_) if line.trim_ascii().is_empty() => {}
                Err(_) => self.unreadable += 1,
            }
        }
    }
}

/// Both files, the older one first. What is put aside between the two looks is neither missed nor read twice.
fn both(folder: &PrivateFolder) -> Result<Vec<(&'static str, File)>, FileError> {
    loop {
        let new = open(folder, FILES[0])?;
        let old = open(folder, FILES[1])?;
        if !matches!((&old, &new), (Some(old), Some(new)) if is_same(old, new)) {
            return Ok([(FILES[1], old), (FILES[0], new)]
                .into_iter()
                .filter_map(|(n, f)| Some((n, f?)))
                .collect());
        }
    }
}

fn open(folder: &PrivateFolder, name: &str) -> Result<Option<File>, FileError> {
    match folder.open_private(name, OFlags::RDONLY) {
        Ok(file) => Ok(Some(file)),
        Err(FileError::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_same(one: &File, other: &File) -> bool {
    let number = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    number(one) == number(other)
}

fn ends_a_line(file: &File) -> io::Result<bool> {
    let size = file.metadata()?.len();
    let mut last = [b'\n'];
    if size > 0 {
        file.read_exact_at(&mut last, size - 1)?;
    }
    Ok(last == [b'\n'])
}
