//! Somebody with a home of their own, a token and a server, who runs the real `mcpctl`.

use anyhow::Context;
use std::{
    env,
    ffi::OsStr,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};
use tempfile::{NamedTempFile, TempDir};

/// The person. Everything that is written down on their machine goes with the value.
#[derive(Debug)]
pub struct Person {
    home: TempDir,
    server: String,
    /// A file apart from the home, so that no sweep of the home finds the token.
    token: NamedTempFile,
}

impl Person {
    /// A person with a token who uses the server at this URL.
    pub fn new(server: &str, token: &str) -> anyhow::Result<Self> {
        let home = tempfile::tempdir().context("a home")?;
        let file = NamedTempFile::new().context("a file for the token")?;
        fs::write(file.path(), format!("{token}\n")).context("the token")?;
        let person = Self { home, server: server.to_owned(), token: file };
        for folder in [person.runtime(), person.scratch()] {
            fs::create_dir(&folder).and_then(|()| only_for_us(&folder, 0o700)).context("a folder")?;
        }
        Ok(person)
    }

    /// The home folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The folder for sockets.
    pub fn runtime(&self) -> PathBuf {
        self.home().join("run")
    }

    /// The folder for what lives as long as a process.
    pub fn scratch(&self) -> PathBuf {
        self.home().join("tmp")
    }

    /// The folder of engine records, of the history of failovers, and of reports that wait.
    pub fn state(&self) -> PathBuf {
        self.home().join(".local/state/mcpctl")
    }

    /// Writes the provider file: entries, as they stand below `providers:`.
    pub fn declare(&self, entries: &str) -> anyhow::Result<()> {
        let folder = self.home().join(".config/mcpctl");
        let path = folder.join("providers.yaml");
        fs::create_dir_all(&folder).context("the configuration folder")?;
        fs::write(&path, format!("providers:\n{entries}")).context("the provider file")?;
        // The umask of whoever runs this must not matter.
        for part in path.ancestors().take_while(|part| part.starts_with(self.home())) {
            only_for_us(part, if part.is_dir() { 0o700 } else { 0o600 }).context("chmod")?;
        }
        Ok(())
    }

    /// The program with these arguments, in an environment that holds nothing that is not needed.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(mcpctl());
        command
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.runtime())
            .env("TMPDIR", self.scratch())
            .env("MCPCTL_SERVER", &self.server)
            .env("MCPCTL_TOKEN_FILE", self.token.path())
            .current_dir(self.home())
            .args(args);
        command
    }

    /// The processes that write down where they are, of all engines of this home: `supervisor` or `engine`.
    pub fn recorded(&self, who: &str) -> Vec<u32> {
        let engines = fs::read_dir(self.state().join("v1/engines")).into_iter().flatten().flatten();
        let records = engines.filter_map(|engine| fs::read(engine.path().join("record.json")).ok());
        let values = records.filter_map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
        values.filter_map(|record| u32::try_from(record[who]["pid"].as_u64()?).ok()).collect()
    }
}

/// An entry of a provider file for an OpenAI-compatible server that runs already.
pub fn openai_entry(name: &str, llms: &str, url: &str) -> String {
    format!(
        "  - name: {name}\n    type: openai\n    failoverFor: {llms}\n    url: {url}\n    model: {name}-model\n"
    )
}

/// `$MCPCTL_BIN`; else the one beside this program.
fn mcpctl() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        env::var_os("MCPCTL_BIN").map_or_else(|| fakes::program("mcpctl", "mcpctl"), PathBuf::from)
    })
}

fn only_for_us(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}
