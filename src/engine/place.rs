//! Where the files of an engine are: its record, its locks and its log in the state folder, its socket in the runtime
//! folder.
//!
//! Everything is below a folder with a version, so that two versions of this program that cannot read each other's
//! records do not meet. The locks lie beside the record and not in the runtime folder: that one is named by a
//! variable which a terminal and a timer may see differently, and two places would be two locks.

use super::record::{FORMAT, Header, Record};
use crate::{
    environment::Environment,
    files::{self, FileError, PrivateFolder},
};
use rustix::fs::OFlags;
use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// The longest path of a Unix socket on Linux, without its final zero (`unix(7)`).
pub(super) const SOCKET_PATH_MAX: usize = 107;
/// A name of a socket: an instance and `.sock`.
const SOCKET_NAME: usize = 16 + 5;
const RECORD_MAX: u64 = 256 << 10;
const RECORD: &str = "record.json";
/// The log that is written, and the one before it.
pub const LOGS: [&str; 2] = ["log", "log.1"];
/// The file with the key of an engine that listens on a port.
pub(super) const KEY: &str = "key";

/// The files of one engine.
#[derive(Debug)]
pub struct Place {
    folder: PrivateFolder,
}

/// Why the files of an engine cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// There is no folder for them.
    #[error("there is no folder for records: set HOME or XDG_STATE_HOME")]
    NoFolder,
    /// One of them is unfit.
    #[error(transparent)]
    File(#[from] FileError),
    /// The record is of another version of this program.
    #[error(
        "{path} was written by a newer mcpctl (format {format}): use that one, or stop the engine with it first",
        path = path.display()
    )]
    Newer {
        /// The record.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The record makes no sense.
    #[error("{path} is damaged ({why}); end what it may describe, then remove it", path = path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A lock cannot be taken.
    #[error("cannot lock {path}: {error}", path = path.display())]
    Lock {
        /// Its file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No folder is fit for a socket.
    #[error(
        "no folder is fit for the engine's socket: {0}; set XDG_RUNTIME_DIR to a short path of a folder that is yours alone, or give the provider a `port`"
    )]
    NoSocketFolder(String),
}

/// The three locks of an engine. The kernel frees each when whoever holds it ends, however that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Held by whoever looks whether an engine has to be started, and starts it.
    Start,
    /// Shared by everybody who uses the engine or waits for it; taken alone by who wants to know that nobody does.
    Use,
    /// Held by the supervisor as long as it lives.
    Alive,
}

impl Lock {
    /// The name of its file.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Start => "start.lock",
            Self::Use => "use.lock",
            Self::Alive => "alive.lock",
        }
    }
}

fn engines(env: &Environment) -> Result<PathBuf, PlaceError> {
    Ok(env.state_folder().ok_or(PlaceError::NoFolder)?.join("v1").join("engines"))
}

impl Place {
    /// The files of a provider's engine; makes the folder where it is missing.
    pub fn of(env: &Environment, provider: &str) -> Result<Self, PlaceError> {
        Self::at(&engines(env)?.join(provider))
    }

    /// The same by its path.
    pub fn at(folder: &Path) -> Result<Self, PlaceError> {
        Ok(Self { folder: files::private_folder(folder)? })
    }

    /// The files of a provider's engine, if it ever had one.
    pub fn find(env: &Environment, provider: &str) -> Result<Option<Self>, PlaceError> {
        let folder = engines(env)?.join(provider);
        match folder.symlink_metadata() {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Ok(_) | Err(_) => Self::at(&folder).map(Some),
        }
    }

    /// The names of all providers that ever had an engine here.
    pub fn all(env: &Environment) -> Vec<String> {
        let Ok(folder) = engines(env) else { return Vec::new() };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    /// Its folder.
    pub fn folder(&self) -> &PrivateFolder {
        &self.folder
    }

    /// The log that is being written.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join(LOGS[0])
    }

    /// The file of a lock. It is not locked yet.
    pub fn lock_file(&self, lock: Lock) -> Result<File, PlaceError> {
        Ok(self.folder.open_private(lock.file(), OFlags::RDWR | OFlags::CREATE)?)
    }

    /// Says whether somebody holds a lock alone at this moment.
    pub fn is_locked(&self, lock: Lock) -> Result<bool, PlaceError> {
        self.tried(lock, self.lock_file(lock)?.try_lock_shared())
    }

    /// Says whether somebody uses the engine or waits for it at this moment.
    pub fn is_used(&self) -> Result<bool, PlaceError> {
        self.tried(Lock::Use, self.lock_file(Lock::Use)?.try_lock())
    }

    /// What was taken is free again: its file is closed.
    fn tried(&self, lock: Lock, tried: Result<(), TryLockError>) -> Result<bool, PlaceError> {
        match tried {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(self.lock_error(lock, error)),
        }
    }

    /// Says why a lock could not be taken.
    pub fn lock_error(&self, lock: Lock, error: io::Error) -> PlaceError {
        PlaceError::Lock { path: self.folder.path().join(lock.file()), error }
    }

    /// The record, if there is one.
    pub fn record(&self) -> Result<Option<Record>, PlaceError> {
        let Some(bytes) = self.folder.read(RECORD, RECORD_MAX)? else { return Ok(None) };
        let path = || self.folder.path().join(RECORD);
        let damaged = |error: serde_json::Error| PlaceError::Damaged { path: path(), why: error.to_string() };
        let Header { format } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if format > FORMAT {
            return Err(PlaceError::Newer { path: path(), format });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Writes the record whole or not at all.
    pub fn write_record(&self, record: &Record) -> Result<(), PlaceError> {
        let bytes = serde_json::to_vec_pretty(record).map_err(|error| PlaceError::Damaged {
            path: self.folder.path().join(RECORD),
            why: error.to_string(),
        })?;
        Ok(self.folder.write(RECORD, &bytes)?)
    }
}

/// A folder for sockets: the runtime folder, or one in `/tmp` where that is missing, unfit or too long.
pub fn socket_folder(env: &Environment) -> Result<PathBuf, PlaceError> {
    let given = env.var("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let temporary = PathBuf::from(format!("/tmp/mcpctl-{}", rustix::process::geteuid().as_raw()));
    let mut why = Vec::new();
    for base in given.map(|folder| folder.join("mcpctl")).into_iter().chain([temporary]) {
        let folder = base.join("v1");
        let length = folder.as_os_str().len() + 1 + SOCKET_NAME;
        if length > SOCKET_PATH_MAX {
            why.push(format!(
                "a socket in {} would have a path of {length} bytes, over {SOCKET_PATH_MAX}",
                folder.display()
            ));
            continue;
        }
        match files::private_folder(&folder) {
            Ok(_) => return Ok(folder),
            Err(error) => why.push(error.to_string()),
        }
    }
    Err(PlaceError::NoSocketFolder(why.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn env(runtime: &Path) -> Environment {
        Environment::from([("XDG_RUNTIME_DIR", runtime.to_str().unwrap())])
    }

    #[test]
    fn e10_a_runtime_folder_that_is_too_long_or_missing_or_open_gives_way_to_another() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(socket_folder(&env(home.path())).unwrap(), home.path().join("mcpctl/v1"));
        let temporary = PathBuf::from(format!("/tmp/mcpctl-{}/v1", rustix::process::geteuid().as_raw()));
        let long = home.path().join("x".repeat(80));
        fs::create_dir(&long).unwrap();
        assert_eq!(socket_folder(&env(&long)).unwrap(), temporary);
        let open = home.path().join("open/mcpctl");
        fs::create_dir_all(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(socket_folder(&env(open.parent().unwrap())).unwrap(), temporary);
        assert_eq!(socket_folder(&env(Path::new("/proc/nothing"))).unwrap(), temporary);
    }

    #[test]
    fn e11_a_record_of_a_newer_version_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::at(&home.path().join("e")).unwrap();
        place.folder().write(RECORD, br#"{"format": 2, "what": "ever"}"#).unwrap();
        assert!(matches!(place.record(), Err(PlaceError::Newer { format: 2, .. })));
        place.folder().write(RECORD, b"{}").unwrap();
        assert!(matches!(place.record(), Err(PlaceError::Damaged { .. })));
    }

    #[test]
    fn a_lock_is_seen_from_outside_and_is_free_when_its_file_is_closed() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::at(&home.path().join("e")).unwrap();
        let held = place.lock_file(Lock::Alive).unwrap();
        held.lock().unwrap();
        assert!(place.is_locked(Lock::Alive).unwrap() && !place.is_locked(Lock::Use).unwrap());
        drop(held);
        assert!(!place.is_locked(Lock::Alive).unwrap());
    }
}
