//! Reads and writes the few files this program trusts, and refuses those that somebody else could have changed.

mod folder;

pub use folder::{PrivateFolder, private_folder};

use crate::sabotage;
use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Why a file cannot be used. Each text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// The operating system refuses.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The operating system refuses.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A folder, a pipe, a device, or (where that matters) a symbolic link.
    #[error("{0} is not a regular file; give the path of the file itself")]
    NotAFile(PathBuf),
    /// Somebody else may change it.
    #[error("others may write {path}: chmod {chmod} {path}", path = path.display())]
    Writable {
        /// The file or folder.
        path: PathBuf,
        /// The argument of the chmod that mends it.
        chmod: &'static str,
    },
    /// Somebody else may read it.
    #[error("others may read {path}: chmod 600 {path}", path = .0.display())]
    Readable(PathBuf),
    /// A folder that is for us alone, and others may look into it.
    #[error("others may enter the folder {path}: chmod 700 {path}", path = .0.display())]
    Open(PathBuf),
    /// Something else, or a symbolic link, where we keep a file or a folder.
    #[error("{path} is not a {wanted}, or is a link: look what it is, and remove it", path = path.display())]
    InTheWay {
        /// What is there.
        path: PathBuf,
        /// What belongs there.
        wanted: &'static str,
    },
    /// Somebody else owns it.
    #[error("{path} belongs to another user (uid {owner}): chown it to yourself, or use one of your own", path = path.display())]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// Who.
        owner: u32,
    },
    /// Over the limit for its kind.
    #[error("{path} is larger than {limit} bytes", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

/// Reads a file that may name programs to run: it, and every folder above it, must be safe from others.
pub fn read_trusted(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let real = path.canonicalize().map_err(|error| missing_or(path, error))?;
    let (mut file, meta) = open_regular(&real, OFlags::empty())?;
    own(&real, &meta)?;
    if others_may_write(&meta) {
        return Err(FileError::Writable { path: path.into(), chmod: "go-w" });
    }
    safe_folders(&real)?;
    // Whoever may replace a link on the way decides what is read as well.
    let mut link = std::path::absolute(path).map_err(|error| missing_or(path, error))?;
    for _ in 0..LINKS_MAX {
        safe_folders(&link)?;
        let Ok(next) = fs::read_link(&link) else { break };
        link = link.parent().unwrap_or(Path::new("/")).join(next);
    }
    read_capped(&mut file, path, limit)
}

/// Links after each other that are looked at; the kernel follows no more than that.
const LINKS_MAX: usize = 40;

/// No folder above a path may be changed by others.
fn safe_folders(path: &Path) -> Result<(), FileError> {
    for folder in path.ancestors().skip(1) {
        let meta = fs::metadata(folder).map_err(|error| FileError::Read { path: folder.into(), error })?;
        safe_folder(folder, &meta)?;
    }
    Ok(())
}

fn safe_folder(folder: &Path, meta: &Metadata) -> Result<(), FileError> {
    own(folder, meta)?;
    // In a sticky folder such as /tmp others cannot replace what is ours.
    if others_may_write(meta) && meta.mode() & 0o1000 == 0 {
        return Err(FileError::Writable { path: folder.into(), chmod: "go-w" });
    }
    Ok(())
}

fn others_may_write(meta: &Metadata) -> bool {
    meta.mode() & 0o022 != 0 && !sabotage::SKIP_DIR_CHECK
}

/// Reads a file that holds a secret: a regular file of our own that nobody else may read.
pub fn read_secret(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let (mut file, meta) = open_regular(path, OFlags::NOFOLLOW)?;
    own(path, &meta)?;
    if meta.mode() & 0o077 != 0 && !sabotage::READABLE_TOKEN {
        return Err(FileError::Readable(path.into()));
    }
    read_capped(&mut file, path, limit)
}

/// Reads any file with a limit.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let (mut file, _) = open_regular(path, OFlags::empty())?;
    read_capped(&mut file, path, limit)
}

/// Writes a file of mode 0600 whole or not at all: beside it first, then renamed.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let fail = |error| FileError::Write { path: path.into(), error };
    // A link stays a link: the file that it leads to is replaced.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().ok_or_else(|| fail(io::ErrorKind::InvalidInput.into()))?;
    make_private_folder(folder)?;
    let beside = folder.join(format!(".{}.{}", file_name(path), std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        fail(error)
    })
}

/// Makes a folder of mode 0700, and the folders above it.
pub fn make_private_folder(folder: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| FileError::Write { path: folder.into(), error })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Opens without waiting for anybody (a pipe has no writer) and looks at what was opened, not at the path.
fn open_regular(path: &Path, more: OFlags) -> Result<(File, Metadata), FileError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
            return Err(FileError::NotAFile(path.into()));
        }
        Err(error) => return Err(missing_or(path, error.into())),
    };
    let meta = file.metadata().map_err(|error| FileError::Read { path: path.into(), error })?;
    if meta.is_file() { Ok((file, meta)) } else { Err(FileError::NotAFile(path.into())) }
}

fn missing_or(path: &Path, error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileError::Missing(path.into()),
        _ => FileError::Read { path: path.into(), error },
    }
}

/// Ours, or root's.
fn own(path: &Path, meta: &Metadata) -> Result<(), FileError> {
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() == me || meta.uid() == 0 {
        Ok(())
    } else {
        Err(FileError::Foreign { path: path.into(), owner: meta.uid() })
    }
}

fn read_capped(file: &mut File, path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut content)
        .map_err(|error| FileError::Read { path: path.into(), error })?;
    if content.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.into(), limit });
    }
    Ok(content)
}
