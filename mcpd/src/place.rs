//! Where a database of our own lies, and that nobody else can read or write it. Opens no database.

use rustix::{
    fs::{self, FlockOperation, Mode, OFlags},
    io::Errno,
};
use std::{
    fs::Permissions,
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Why there is no place for the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("neither --data-dir nor XDG_STATE_HOME nor HOME says where to keep the database")]
    Homeless,
    #[error("an mcpd is running on {}: stop it, or ask it instead (`mcpctl token create` makes a token)", .0.display())]
    InUse(PathBuf),
    #[error("{}: it must be a {expected} of your own; refusing to use it", path.display())]
    NotOurs { path: PathBuf, expected: &'static str },
    #[error("{} can be read or changed by others; `chmod {mode} {}` mends it", path.display(), path.display())]
    Open { path: PathBuf, mode: &'static str },
    #[error("{}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The file of the database.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    file: PathBuf,
}

impl Place {
    /// Finds the place: `mcpd.db` in `data_dir` if given, else in the state folder of the user.
    pub(crate) fn find(
        data_dir: Option<&Path>,
        env: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, PlaceError> {
        let absolute = |name: &str| env(name).filter(|path| path.is_absolute());
        let folder = data_dir
            .map(Path::to_owned)
            .or_else(|| absolute("XDG_STATE_HOME").map(|state| state.join("mcpd")))
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state/mcpd")))
            .ok_or(PlaceError::Homeless)?;
        // What opens the file wants a URL, and a URL of a file has no working folder.
        let folder = std::path::absolute(&folder).map_err(|error| io_error(&folder, error))?;
        Ok(Self { file: folder.join("mcpd.db") })
    }

    /// The place with this very file.
    pub(crate) fn at(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Makes what is missing, checks what is there and takes the database for this process alone.
    pub(crate) fn claim(self) -> Result<Claim, PlaceError> {
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        make_folder(folder)?;
        check(folder, Kind::Folder)?;
        let lock_file = with_suffix(&self.file, ".lock");
        let lock = open_private(&lock_file)?;
        fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => PlaceError::InUse(self.file.clone()),
            other => io_error(&lock_file, other.into()),
        })?;
        open_private(&self.file)?;
        Ok(Claim { file: self.file, _lock: lock })
    }

    /// Checks what is there and changes nothing.
    pub(crate) fn check(&self) -> Result<(), PlaceError> {
        check(self.file.parent().unwrap_or(Path::new("/")), Kind::Folder)?;
        check(&self.file, Kind::File)
    }
}

/// The right to write the database. As long as it lives, no other process gets one; the kernel takes it back from
/// a process that dies.
#[derive(Debug)]
pub(crate) struct Claim {
    file: PathBuf,
    _lock: OwnedFd,
}

impl Claim {
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Folder,
    File,
}

fn make_folder(path: &Path) -> Result<(), PlaceError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| io_error(path, source))
}

/// Opens a file that only we can read, making it if need be. A link planted in its place is not followed.
fn open_private(path: &Path) -> Result<OwnedFd, PlaceError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| match errno {
        Errno::LOOP | Errno::ISDIR | Errno::NXIO => {
            PlaceError::NotOurs { path: path.to_owned(), expected: "plain file" }
        }
        other => io_error(path, other.into()),
    })?;
    check(path, Kind::File)?;
    Ok(file)
}

fn check(path: &Path, kind: Kind) -> Result<(), PlaceError> {
    let found = path.symlink_metadata().map_err(|source| io_error(path, source))?;
    let (fits, expected, mode) = match kind {
        Kind::Folder => (found.is_dir(), "folder", "700"),
        Kind::File => (found.is_file(), "plain file", "600"),
    };
    if !fits || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(PlaceError::NotOurs { path: path.to_owned(), expected });
    }
    if is_open_to_others(&found.permissions()) {
        return Err(PlaceError::Open { path: path.to_owned(), mode });
    }
    Ok(())
}

fn is_open_to_others(permissions: &Permissions) -> bool {
    use std::os::unix::fs::PermissionsExt;
    permissions.mode() & 0o077 != 0
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

fn io_error(path: &Path, source: io::Error) -> PlaceError {
    PlaceError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A folder as an operator would make it.
    fn private(home: &tempfile::TempDir) -> PathBuf {
        let folder = home.path().join("data");
        make_folder(&folder).unwrap();
        folder
    }

    fn place(folder: &Path) -> Place {
        Place::find(Some(folder), |_| None).unwrap()
    }

    #[test]
    fn a_folder_named_from_here_is_the_same_folder() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(place(Path::new("data")).file(), here.join("data/mcpd.db"));
    }

    #[test]
    fn one_process_at_a_time_holds_a_database() {
        let home = tempfile::tempdir().unwrap();
        let folder = private(&home);
        let claim = place(&folder).claim().unwrap();
        assert!(matches!(place(&folder).claim(), Err(PlaceError::InUse(_))));
        drop(claim);
        place(&folder).claim().unwrap();
    }

    #[test]
    fn d02_a_file_or_folder_that_others_can_touch_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("state/mcpd");
        drop(place(&folder).claim().unwrap());
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(folder.join("mcpd.db").metadata().unwrap().mode() & 0o777, 0o600);
        chmod(&folder.join("mcpd.db"), 0o640);
        assert!(matches!(place(&folder).claim(), Err(PlaceError::Open { mode: "600", .. })));
        chmod(&folder.join("mcpd.db"), 0o600);
        chmod(&folder, 0o750);
        assert!(matches!(place(&folder).claim(), Err(PlaceError::Open { mode: "700", .. })));
    }

    #[test]
    fn k07_a_link_in_place_of_the_database_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let folder = private(&home);
        std::fs::write(home.path().join("elsewhere"), "").unwrap();
        for planted in ["mcpd.db.lock", "mcpd.db"] {
            let link = folder.join(planted);
            std::os::unix::fs::symlink(home.path().join("elsewhere"), &link).unwrap();
            assert!(matches!(place(&folder).claim(), Err(PlaceError::NotOurs { .. })), "{planted}");
            std::fs::remove_file(link).unwrap();
        }
    }
}
