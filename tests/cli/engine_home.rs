//! The home of a person with engines and no server.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set fails the story")]

use crate::{
    engine_stage::{processes_of, texts},
    support::{Client, LIMIT},
};
use assert_cmd::Command;
use fakes::wait_until;
use predicates::prelude::*;
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process};

/// A person with a home and no server. When it goes, it ends every engine of that home: their supervisors are no
/// children of the test.
pub(crate) struct Home(pub(crate) Client);

impl Home {
    pub(crate) fn new(entries: &str) -> Self {
        Self::of(Client::stranger("http://127.0.0.1:9"), entries)
    }

    pub(crate) fn of(client: Client, entries: &str) -> Self {
        let run = client.home().join("run");
        fs::create_dir(&run).unwrap();
        fs::set_permissions(run, fs::Permissions::from_mode(0o700)).unwrap();
        let home = Self(client);
        home.declare(entries);
        home
    }

    pub(crate) fn declare(&self, entries: &str) {
        self.0.providers(&format!("providers:\n{entries}"));
    }

    pub(crate) fn raw(&self, args: &[&str]) -> process::Command {
        let mut command = self.0.raw([&["providers"], args].concat());
        command.env("XDG_RUNTIME_DIR", self.0.home().join("run"));
        command
    }

    /// `mcpctl providers` with these arguments.
    pub(crate) fn providers(&self, args: &[&str]) -> Command {
        let mut command = Command::from_std(self.raw(args));
        command.timeout(LIMIT);
        command
    }

    /// Runs one that must succeed, and gives stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.providers(args).assert().code(0).get_output().clone();
        texts(&output).0
    }

    /// What `providers status -o json` says of one, whatever its exit code.
    pub(crate) fn status(&self, name: &str) -> Value {
        let output = self.providers(&["status", name, "-o", "json"]).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        document["items"][0].clone()
    }

    pub(crate) fn wait_for(&self, name: &str, state: &str) {
        wait_until(LIMIT, state, || self.status(name)["state"] == state);
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.0.home().join(".local/state/mcpctl/v1/engines").join(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let stopped = self.providers(&["stop", "--all", "--now"]).output();
        if !std::thread::panicking() {
            wait_until(LIMIT, &format!("the end of all engines after {stopped:?}"), || {
                processes_of(self.0.home()).is_empty()
            });
        }
    }
}

/// All of a stream, without its last line break, matches this.
pub(crate) fn matches(pattern: &str) -> impl Predicate<str> + use<> {
    predicate::str::is_match(format!("^{pattern}\n$")).unwrap()
}
