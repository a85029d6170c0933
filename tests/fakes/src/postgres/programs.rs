//! Where PostgreSQL's programs are, and as whom they are run: never as root, which they refuse.

use crate::llama::repository;
use rustix::process::geteuid;
use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// The user and the group `nobody`, for when this is root.
const NOBODY: u32 = 65534;
const NEEDED: [&str; 4] = ["initdb", "postgres", "pg_basebackup", "psql"];

/// The folder with the programs.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    bin: PathBuf,
}

impl Programs {
    /// In `$MCPCTL_TEST_POSTGRES`, else where `scripts/install-postgres` puts them, else where Debian does (the newest),
    /// else in a folder on `PATH`.
    pub(super) fn find() -> Option<Self> {
        if let Some(bin) = env::var_os("MCPCTL_TEST_POSTGRES").filter(|bin| !bin.is_empty()) {
            let found = Self { bin: bin.into() };
            assert!(found.is_whole(), "MCPCTL_TEST_POSTGRES is {}: no PostgreSQL there", found.bin.display());
            return Some(found);
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let installed = [repository().join(".tools/postgres/bin")];
        let mut places = installed.into_iter().chain(of_debian()).chain(env::split_paths(&path));
        places.find_map(|bin| Some(Self { bin }).filter(Self::is_whole))
    }

    fn is_whole(&self) -> bool {
        NEEDED.iter().all(|name| self.bin.join(name).is_file())
    }

    /// One of them, to be run in `dir` with a bare environment. It is told to end if the thread that starts it does.
    pub(super) fn command(&self, name: &str, dir: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if geteuid().is_root() {
            command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
        }
        command
            .args(["--pdeathsig", "QUIT", "--"])
            .arg(self.bin.join(name))
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            .envs([("LC_ALL", "C"), ("TZ", "UTC")])
            .env("HOME", dir)
            .current_dir(dir);
        command
    }

    /// A temporary folder that they may use and nobody else may enter.
    pub(super) fn folder(&self) -> TempDir {
        let dir = TempDir::new().expect("a temporary folder");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).expect("the folder is ours");
        if let Some(user) = self.user() {
            chown(dir.path(), Some(user), Some(user)).expect("root may give it away");
        }
        dir
    }

    /// The user that they are run as, if it is not the user of the test.
    #[expect(clippy::unused_self, reason = "a question about the programs, whoever asks")]
    pub(super) fn user(&self) -> Option<u32> {
        geteuid().is_root().then_some(NOBODY)
    }

    /// What `postgres --version` says.
    pub(super) fn version(&self) -> String {
        let output = Command::new(self.bin.join("postgres")).arg("--version").output();
        let output = output.expect("postgres can be run");
        assert!(output.status.success(), "postgres --version: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a version is ASCII").trim().to_owned()
    }
}

/// `/usr/lib/postgresql/NN/bin`, the newest first.
fn of_debian() -> Vec<PathBuf> {
    let entries = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.iter().map(|version| format!("/usr/lib/postgresql/{version}/bin").into()).collect()
}
