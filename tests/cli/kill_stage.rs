//! A home with one managed engine, and everything about it that must hold whoever was killed when.

#![expect(clippy::expect_used, reason = "a stage that cannot be set fails the story")]

use crate::support::{Client, LIMIT};
use fakes::{LlamaServer, alive, tracer::Traced, wait_until};
use mcpctl::{
    engine::{Condition, Place, Record, Status},
    environment::Environment,
};
use serde_json::Value;
use std::{
    ffi::OsString,
    fs::{self, File},
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long what was just killed may take to be gone, and what sees that to say so.
const SOON: Duration = Duration::from_secs(5);
static HOMES: AtomicUsize = AtomicUsize::new(0);

/// The home. Its provider has a name of its own, so that its processes can be told from those of other tests.
pub(crate) struct Home {
    pub(crate) client: Client,
    pub(crate) name: String,
}

/// The processes that came of a home.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) supervisors: Vec<u32>,
    /// Still our program, about to become the engine.
    pub(crate) trampolines: Vec<u32>,
    pub(crate) engines: Vec<u32>,
}

impl Family {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Home {
    /// The real llama-server on the tiny model. None if this machine has none: see [`fakes::required`].
    ///
    /// It is started by a script that notes every start, and notes if there is another engine at that moment: a lock
    /// that the engine inherits tells, and no process can live without it.
    pub(crate) fn new(client: Client) -> Option<Self> {
        let program = LlamaServer::program()?;
        let name = format!("k{}x{}", std::process::id(), HOMES.fetch_add(1, Ordering::Relaxed));
        let home = Self { client, name };
        symlink(LlamaServer::model(), home.model()).expect("a link to the model");
        fs::create_dir(home.runtime()).expect("a runtime folder");
        fs::set_permissions(home.runtime(), fs::Permissions::from_mode(0o700)).expect("chmod");
        let at = home.path().display();
        let script = format!(
            "#!/bin/sh\necho $$ >>{at}/starts\nexec 9>>{at}/engine.lock\n\
             flock -n 9 || echo \"$$ beside another\" >>{at}/two\nexec {} \"$@\"\n",
            program.display()
        );
        fs::write(home.program(), script).expect("a script");
        fs::set_permissions(home.program(), fs::Permissions::from_mode(0o700)).expect("chmod");
        home.declare("");
        Some(home)
    }

    /// The provider's entry, with more lines.
    pub(crate) fn declare(&self, more: &str) {
        self.client.providers(&format!(
            "providers:\n  - name: {}\n    type: llamacpp-managed\n    failoverFor: chat-prod\n    model: {}\n    binaryPath: {}\n{more}",
            self.name,
            self.model().display(),
            self.program().display()
        ));
    }

    pub(crate) fn path(&self) -> &Path {
        self.client.home()
    }

    fn model(&self) -> PathBuf {
        self.path().join("model.gguf")
    }

    fn program(&self) -> PathBuf {
        self.path().join("engine.sh")
    }

    fn runtime(&self) -> PathBuf {
        self.path().join("run")
    }

    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.runtime().join("mcpctl/v1")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    pub(crate) fn raw<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.client.raw(args);
        command.env("XDG_RUNTIME_DIR", self.runtime()).env("PATH", "/usr/bin:/bin");
        command
    }

    /// `mcpctl providers VERB NAME` and more arguments.
    pub(crate) fn providers(&self, verb: &str, more: &[&str]) -> Command {
        self.raw(["providers", verb, &self.name].into_iter().chain(more.iter().copied()))
    }

    /// The same for the tracer. What it writes goes into the file `output`.
    pub(crate) fn traced(&self, verb: &str, more: &[&str]) -> Traced {
        let command = self.providers(verb, more);
        let env = command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        Traced {
            program: command.get_program().into(),
            args: command.get_args().map(OsString::from).collect(),
            env: env.collect(),
            output: File::create(self.path().join("output")).expect("a file"),
        }
    }

    pub(crate) fn run(&self, verb: &str, more: &[&str]) -> Output {
        let mut command = assert_cmd::Command::from_std(self.providers(verb, more));
        command.timeout(LIMIT).output().expect("it ran")
    }

    /// The same, and it must succeed.
    pub(crate) fn succeed(&self, verb: &str, more: &[&str], when: &str) {
        let output = self.run(verb, more);
        assert!(output.status.success(), "{when}: {verb}: {output:?}\n{}", self.told());
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment::from([("HOME", self.path().to_str().expect("a path of text"))])
    }

    pub(crate) fn status(&self) -> Status {
        Status::of(&self.environment(), &self.name).unwrap_or_else(|error| panic!("{error}\n{}", self.told()))
    }

    pub(crate) fn record(&self) -> Option<Record> {
        let place = Place::find(&self.environment(), &self.name).expect("its folder can be used");
        place?.record().unwrap_or_else(|error| panic!("{error}\n{}", self.told()))
    }

    pub(crate) fn log(&self) -> String {
        let path = self.path().join(".local/state/mcpctl/v1/engines").join(&self.name).join("log");
        fs::read_to_string(path).unwrap_or_default()
    }

    /// The numbers of all engines that were started.
    pub(crate) fn starts(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path().join("starts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Everything that came of this home, by command line and environment, not by our own records.
    pub(crate) fn family(&self) -> Family {
        let mut family = Family::default();
        let home = self.path().to_str().expect("a path of text");
        let entries = fs::read_dir("/proc").expect("there is a /proc").flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment);
            let marked = environment.contains("MCPCTL_ENGINE=") && environment.contains(home);
            let second = words.get(1).map(|word| &**word);
            let named = words.iter().any(|word| word.starts_with(home));
            let part = match second {
                Some("__supervise") if words.get(2).is_some_and(|word| *word == self.name) => {
                    &mut family.supervisors
                }
                Some("__engine") if named => &mut family.trampolines,
                _ if named || marked => &mut family.engines,
                _ => continue,
            };
            part.extend(alive(pid).then_some(pid));
        }
        family
    }

    /// What is known, for messages.
    pub(crate) fn told(&self) -> String {
        format!(
            "--- {}\nlast output: {}\nprocesses: {:?}\nstatus: {:?}\nsockets: {:?}\nlog:\n{}\n---",
            self.name,
            fs::read_to_string(self.path().join("output")).unwrap_or_default(),
            self.family(),
            Status::of(&self.environment(), &self.name),
            self.sockets(),
            self.log()
        )
    }

    /// `status` works, says what is the case, and the record can be read.
    pub(crate) fn assert_truthful(&self, when: &str) {
        let output = self.run("status", &["-o", "json"]);
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{when}: status: {error}: {output:?}\n{}", self.told()));
        let said = &document["items"][0]["state"];
        let known =
            ["stopped", "starting", "running", "stopping", "failed", "orphaned"].iter().any(|it| said == it);
        assert!(known && matches!(output.status.code(), Some(0 | 3)), "{when}: {output:?}\n{}", self.told());
        // What was just killed goes in its own time; what is said and what is there must agree then.
        let mut last = None;
        let mut agrees = || {
            let (before, family, after) = (self.status().condition, self.family(), self.status().condition);
            let engines = family.engines.len() + family.trampolines.len();
            let agrees = before == after
                && match after {
                    Condition::Running => family.supervisors.len() == 1 && engines == 1,
                    Condition::Starting | Condition::Stopping => family.supervisors.len() == 1,
                    Condition::Stopped | Condition::Failed => family.is_empty(),
                    Condition::Orphaned => family.supervisors.is_empty() && engines > 0,
                };
            last = Some((before, family, after));
            agrees
        };
        let deadline = Instant::now() + SOON;
        while !agrees() {
            assert!(Instant::now() < deadline, "{when}: {last:?}\n{}", self.told());
            thread::sleep(Duration::from_millis(5));
        }
        self.assert_never_two(when);
    }

    pub(crate) fn assert_never_two(&self, when: &str) {
        let two = fs::read_to_string(self.path().join("two")).unwrap_or_default();
        assert_eq!(two, "", "{when}: two engines at once\n{}", self.told());
    }

    /// Stops it, and nothing of it is left when the command ends.
    pub(crate) fn stop(&self, when: &str) {
        let output = self.run("stop", &[]);
        let (left, starts) = (self.family(), self.starts());
        assert!(output.status.success(), "{when}: stop: {output:?}\n{}", self.told());
        assert!(left.engines.is_empty(), "{when}: left after stop: {left:?}, {output:?}\n{}", self.told());
        // A supervisor whose command was killed may just be seeing that, and is not to start anything.
        wait_until(SOON, &format!("{when}: the end of {left:?}"), || self.family().is_empty());
        assert_eq!(self.starts(), starts, "{when}: started after stop\n{}", self.told());
        let condition = self.status().condition;
        let over = matches!(condition, Condition::Stopped | Condition::Failed);
        assert!(over, "{when}: {condition:?} after stop\n{}", self.told());
    }

    /// Every command that may follow does what it should.
    pub(crate) fn assert_recovers(&self, when: &str) {
        self.assert_truthful(when);
        self.stop(when);
        self.succeed("start", &[], when);
        self.assert_runs(when);
        self.stop(&format!("{when}, then start"));
        assert_eq!(self.status().condition, Condition::Stopped, "{when}\n{}", self.told());
        assert_eq!(self.sockets(), [""; 0].map(PathBuf::from), "{when}: sockets are left");
        self.assert_never_two(when);
        self.assert_logged(when);
    }

    /// One engine runs, and it is the one of the record.
    pub(crate) fn assert_runs(&self, when: &str) {
        // A command may see that an engine answers a moment before its supervisor does.
        wait_until(SOON, "the record", || self.status().condition == Condition::Running);
        let record = self.record().expect("it was started");
        let models = record.endpoint.get("/v1/models", None, LIMIT);
        let models = models.unwrap_or_else(|error| panic!("{when}: {error}\n{}", self.told()));
        assert!(String::from_utf8_lossy(&models.body).contains(&record.served), "{when}: another engine");
        let family = self.family();
        let one = family.supervisors.len() == 1 && family.engines.len() == 1;
        assert!(one && family.trampolines.is_empty(), "{when}: {family:?}\n{}", self.told());
    }

    /// Every engine that was started has its line in the log.
    pub(crate) fn assert_logged(&self, when: &str) {
        let lines = self.log().lines().filter(|line| line.contains(" mcpctl: starting ")).count();
        let starts = self.starts().len();
        assert!(lines >= starts, "{when}: {starts} starts and {lines} lines\n{}", self.told());
    }
}

/// Says something that is to be seen also where a test succeeds.
pub(crate) fn say(line: &str) {
    let _nobody_reads = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

impl Drop for Home {
    fn drop(&mut self) {
        let _stopped = mcpctl::engine::stop(&self.environment(), &self.name, true);
        let gone = || self.family().is_empty();
        if !thread::panicking() {
            wait_until(SOON, "the end of everything", gone);
        }
    }
}
