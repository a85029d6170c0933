//! A folder of our own, held open: what is in it is reached through the handle, so that a path swapped in between
//! changes nothing. Refuses folders, files and links that somebody else could have planted.

use super::{FileError, LINKS_MAX, missing_or, own, read_capped, safe_folder};
use crate::sabotage;
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{AtFlags, CWD, Dir, Mode, OFlags, mkdirat, openat, readlinkat, renameat, statat, unlinkat},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata},
    io::{self, Write},
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A folder that is ours and that nobody else may enter.
#[derive(Debug)]
pub struct PrivateFolder {
    handle: File,
    path: PathBuf,
}

/// Opens a private folder; makes it, and the folders above it, where they are missing.
///
/// A folder above it may be reached over a symbolic link of ours or of root; the folder itself must not be one.
pub fn private_folder(path: &Path) -> Result<PrivateFolder, FileError> {
    let path = std::path::absolute(path).map_err(|error| missing_or(path, error))?;
    match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) => enter(&reach(above)?, name, path.clone()),
        _ => Err(FileError::Write { path, error: io::Error::new(io::ErrorKind::InvalidInput, "not a name") }),
    }
}

impl PrivateFolder {
    /// Where it was found; for messages, and for programs that take no handle.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a regular file in it that is ours alone. With `CREATE` one of mode 0600 is made where none is.
    pub fn open_private(&self, name: &str, how: OFlags) -> Result<File, FileError> {
        let path = self.child(name)?;
        let emptied = how.contains(OFlags::TRUNC);
        // Without NONBLOCK a planted pipe would hold us for ever.
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | how;
        let file = match openat(&self.handle, name, flags - OFlags::TRUNC, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => File::from(fd),
            Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => {
                return Err(FileError::InTheWay { path, wanted: "file" });
            }
            Err(error) if how.intersects(OFlags::WRONLY | OFlags::RDWR) && error != Errno::NOENT => {
                return Err(FileError::Write { path, error: error.into() });
            }
            Err(error) => return Err(missing_or(&path, error.into())),
        };
        let meta = metadata(&file, &path)?;
        if !meta.is_file() {
            return Err(FileError::InTheWay { path, wanted: "file" });
        }
        ours(&path, &meta)?;
        if meta.mode() & 0o077 != 0 {
            return Err(FileError::Readable(path));
        }
        if emptied {
            file.set_len(0).map_err(|error| FileError::Write { path, error })?;
        }
        Ok(file)
    }

    /// Reads a file of it; none if it does not exist.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
        match self.open_private(name, OFlags::RDONLY) {
            Ok(mut file) => read_capped(&mut file, &self.path.join(name), limit).map(Some),
            Err(FileError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a file of it whole or not at all; what stood there is replaced, also a link.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let path = self.child(name)?;
        self.remove_leftovers(name);
        let random = match getrandom::u64() {
            Ok(random) => random,
            Err(error) => return Err(FileError::Write { path, error: error.into() }),
        };
        let beside = format!(".{name}.{random:016x}");
        let mut file = self.open_private(&beside, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| Ok(renameat(&self.handle, &beside, &self.handle, name)?));
        renamed.map_err(|error| {
            let _ = unlinkat(&self.handle, &beside, AtFlags::empty());
            FileError::Write { path, error }
        })
    }

    /// Removes a file of it, or a link but not what it leads to; that there is none is fine.
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        let path = self.child(name)?;
        match unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(FileError::Write { path, error: error.into() }),
        }
    }

    /// Gives a file of it another name; what had that name is replaced.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let (_, path) = (self.child(from)?, self.child(to)?);
        renameat(&self.handle, from, &self.handle, to)
            .map_err(|error| FileError::Write { path, error: error.into() })
    }

    /// Opens a private folder in it; makes it where it is missing.
    pub fn subfolder(&self, name: &str) -> Result<Self, FileError> {
        enter(&self.handle, OsStr::new(name), self.child(name)?)
    }

    /// The names of the files in it, in no order. What writers left behind when they were killed is removed, and is not
    /// among them; nor is what they are just writing.
    pub fn names(&self) -> Result<Vec<String>, FileError> {
        let fail = |error: Errno| FileError::Read { path: self.path.clone(), error: error.into() };
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !name.starts_with('.') {
                names.push(name.to_owned());
            } else if is_beside(name) && self.is_old(name) {
                let _ = unlinkat(&self.handle, name, AtFlags::empty());
            }
        }
        Ok(names)
    }

    /// Says whether something was written so long ago that whoever wrote it is done with it.
    pub fn is_old(&self, name: &str) -> bool {
        statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| is_leftover(stat.st_mtime))
    }

    /// Where a name leads; it must not lead out of here.
    fn child(&self, name: &str) -> Result<PathBuf, FileError> {
        let path = self.path.join(name);
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a name");
            return Err(FileError::Write { path, error });
        }
        Ok(path)
    }

    /// Removes what writers of a name left behind when they were killed. That it cannot is no reason not to write.
    fn remove_leftovers(&self, name: &str) {
        let prefix = format!(".{name}.");
        let Ok(entries) = Dir::read_from(&self.handle) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let random = name.to_bytes().strip_prefix(prefix.as_bytes());
            if random.is_some_and(|it| it.len() == 16 && it.iter().all(u8::is_ascii_hexdigit))
                && statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| is_leftover(stat.st_mtime))
            {
                let _ = unlinkat(&self.handle, name, AtFlags::empty());
            }
        }
    }
}

impl AsFd for PrivateFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// The name of a file that is being written beside another one.
fn is_beside(name: &str) -> bool {
    let random = name.strip_prefix('.').and_then(|name| name.rsplit_once('.'));
    random.is_some_and(|(_, it)| it.len() == 16 && it.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// No writer takes that long.
const LEFTOVER: Duration = Duration::from_hours(1);

fn is_leftover(written: i64) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(written).is_ok_and(|written| written < now.saturating_sub(LEFTOVER).as_secs())
}

/// Opens a folder step by step from the root: whoever may change one of the steps could lead us elsewhere.
fn reach(path: &Path) -> Result<File, FileError> {
    let steps = |path: &Path| -> Vec<OsString> { path.iter().rev().map(OsStr::to_owned).collect() };
    let (mut todo, mut links, mut shown) = (steps(path), 0, PathBuf::new());
    let mut at = None;
    while let Some(step) = todo.pop() {
        shown.push(&step);
        let next = step_into(at.as_ref().map_or(CWD, File::as_fd), &step, &shown)?;
        let meta = metadata(&next, &shown)?;
        if meta.is_dir() {
            safe_folder(&shown, &meta)?;
            at = Some(next);
        } else if meta.is_symlink() && links < LINKS_MAX {
            own(&shown, &meta)?;
            let target = readlinkat(&next, c"", Vec::new())
                .map_err(|error| FileError::Read { path: shown.clone(), error: error.into() })?;
            todo.extend(steps(Path::new(&OsString::from_vec(target.into_bytes()))));
            shown.pop();
            links += 1;
        } else {
            return Err(FileError::InTheWay { path: shown, wanted: "folder" });
        }
    }
    at.ok_or_else(|| FileError::Missing(path.into()))
}

/// Opens what a name is, a link too; makes a folder where nothing is.
fn step_into(at: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<File, FileError> {
    let open = || openat(at, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let opened = match open() {
        Err(Errno::NOENT) => make(at, name, shown).map(|()| open())?,
        opened => opened,
    };
    opened.map(File::from).map_err(|error| missing_or(shown, error.into()))
}

fn make(at: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<(), FileError> {
    match mkdirat(at, name, Mode::RWXU) {
        // Somebody was faster; what they made is looked at like anything that was there before.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(FileError::Write { path: shown.into(), error: error.into() }),
    }
}

fn enter(above: &File, name: &OsStr, path: PathBuf) -> Result<PrivateFolder, FileError> {
    let found = step_into(above.as_fd(), name, &path)?;
    let meta = metadata(&found, &path)?;
    if !meta.is_dir() {
        return Err(FileError::InTheWay { path, wanted: "folder" });
    }
    ours(&path, &meta)?;
    if meta.mode() & 0o077 != 0 && !sabotage::OPEN_PLACE {
        return Err(FileError::Open(path));
    }
    // The same folder again, by a handle that can list it.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(&found, c".", flags, Mode::empty()) {
        Ok(fd) => Ok(PrivateFolder { handle: fd.into(), path }),
        Err(error) => Err(missing_or(&path, error.into())),
    }
}

fn metadata(file: &File, path: &Path) -> Result<Metadata, FileError> {
    file.metadata().map_err(|error| FileError::Read { path: path.into(), error })
}

/// Ours, and not root's either.
fn ours(path: &Path, meta: &Metadata) -> Result<(), FileError> {
    if meta.uid() == rustix::process::geteuid().as_raw() {
        Ok(())
    } else {
        Err(FileError::Foreign { path: path.into(), owner: meta.uid() })
    }
}

#[cfg(test)]
mod tests;
