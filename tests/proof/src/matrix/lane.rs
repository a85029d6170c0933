//! One lane of runs: a person with a home, a token, an LLM and local providers of their own, beside other lanes on the
//! same server.

mod locals;
mod rights;
mod server;

use super::{
    axes::{Form, Local, Rights},
    cell::Cell,
    front::{self, Identities, Real, Wires},
    primary::{CENTRAL, Upstream, Way},
    watch,
};
use crate::{person::Person, processes::processes_left};
use anyhow::{Context as _, Result, ensure};
use fakes::{Canary, Engine, Evild, Fault, Gate, Mcpd, wire};
pub(crate) use locals::{ENGINE, Got, LAPTOP};
use locals::{Locals, Mark};
use mcp_api::{Subject, SubjectKind};
use rights::Granted;
use server::Server;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// No run takes longer, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(90);
/// How long processes may take to end that were told to.
const ENDING: Duration = Duration::from_secs(10);
/// What a permission is worth, and a little more.
const OLD: Duration = Duration::from_millis(10_200);

/// The lane.
pub(crate) struct Lane<'a> {
    mcpd: &'a Mcpd,
    person: Person,
    llm: String,
    user: String,
    granted: Granted<'a>,
    /// Found nowhere afterwards.
    pub(crate) prompt: String,
    /// The one that is used, and one whose time is over.
    pub(crate) tokens: [String; 2],
    /// The authorities, and the token whose time is over.
    files: TempDir,
    upstream: Engine,
    locals: Locals,
    elsewhere: Evild,
    identities: Identities,
}

/// What was seen of a run.
#[derive(Debug)]
pub(crate) struct Seen {
    /// None: it was ended by a signal, or by the limit.
    pub(crate) exit: Option<i32>,
    /// What it wrote.
    pub(crate) stdout: String,
    /// What it said.
    pub(crate) stderr: String,
    /// Requests for permission that arrived whole.
    pub(crate) probes: usize,
    /// Connections to another origin.
    pub(crate) elsewhere: usize,
    /// What local providers got.
    pub(crate) local: Got,
    /// What was added to the journal, a line each.
    pub(crate) journal: Vec<serde_json::Value>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl<'a> Lane<'a> {
    /// Makes the person, the LLM and everything local.
    pub(crate) fn new(mcpd: &'a Mcpd, number: usize, canary: &mut Canary) -> Result<Self> {
        let (llm, user) = (format!("chat-{number}"), format!("dana-{number}"));
        let upstream = Engine::builder().text(CENTRAL).start();
        let _llm = mcpd.create_llm(&llm, &upstream.url());
        mcpd.create_user(&user);
        let subject = Subject { kind: SubjectKind::User, name: user.parse().context("a name")? };
        let tokens = [mcpd.token_for(&user), mcpd.token_of(subject, Some(1))];
        for (name, token) in ["token", "old token"].iter().zip(&tokens) {
            canary.watch(&format!("{name} of {user}"), token);
        }
        let person = Person::new(&mcpd.url(), &tokens[0])?;
        let files = tempfile::tempdir()?;
        fs::write(files.path().join("old"), format!("{}\n", tokens[1]))?;
        fs::set_permissions(files.path().join("old"), fs::Permissions::from_mode(0o600))?;
        // From here on it is old for every run.
        let probe =
            || mcpd.request("HEAD", &format!("/api/v1/llms/{llm}"), Some(&tokens[1]), &[], b"").status;
        fakes::wait_until(LIMIT, "the end of a token of one second", || probe() == 401);
        Ok(Self {
            mcpd,
            person,
            granted: Granted::new(mcpd, &user, &llm),
            prompt: canary.secret(&format!("prompt-of-{user}")),
            tokens,
            identities: Identities::make(&files.path().join("authorities.pem"))?,
            files,
            upstream,
            locals: Locals::new(),
            elsewhere: front::elsewhere(&Real { addr: mcpd.addr(), meanwhile: None }),
            llm,
            user,
        })
    }

    /// Brings about one cell, and looks.
    pub(crate) fn run(&mut self, cell: &Cell<'_>) -> Result<Seen> {
        self.granted.set(cell.rights);
        self.set_upstream(cell);
        self.declare(cell)?;
        let gate = Gate::new();
        let wires = Wires {
            real: self.granted.real(cell.rights),
            gate: &gate,
            elsewhere: &self.elsewhere.url(),
            form: cell.form,
            secured: cell.secured.then_some(&self.identities),
        };
        let server = Server::start(cell, &wires)?;
        let (before, lines, others) =
            (self.locals.mark(), self.journal().len(), self.elsewhere.connections());
        let mut command = self.command(cell, &server.url)?;
        let began = Instant::now();
        let mut child = command.spawn().context("mcpctl can be run")?;
        let ended = thread::scope(|scope| {
            if cell.rights == Rights::RevokedDuringStart {
                scope.spawn(|| self.revoke_during_start(&before));
            }
            watch::read(&mut child, began + LIMIT, cell.expected().words.trim_end(), &gate)
        })?;
        let took = began.elapsed();
        let mut journal = self.journal();
        // One that has grown too long was put aside, and begins again.
        let journal = if lines <= journal.len() { journal.split_off(lines) } else { journal };
        let seen = Seen {
            exit: ended.exit,
            stdout: ended.stdout,
            stderr: ended.stderr,
            probes: server.probes(),
            elsewhere: self.elsewhere.connections() - others,
            local: self.locals.got_since(&before),
            journal,
            took,
        };
        self.settle(cell);
        Ok(seen)
    }

    fn set_upstream(&self, cell: &Cell<'_>) {
        let Way::Behind(upstream) = cell.primary.way else { return };
        self.upstream.set_fault(match upstream {
            Upstream::Well | Upstream::Down => Fault::None,
            Upstream::Status(status) => Fault::Status(status, wire::error("the upstream says no", status)),
            Upstream::CutAfter(pieces) => Fault::CutAfter(pieces),
            Upstream::ErrorAfter(events) => {
                Fault::ErrorAfter { events, error: wire::error("the engine is gone", 500), done: false }
            }
            Upstream::NoDone => Fault::NoDone,
            Upstream::NoFinishReason => Fault::NoFinishReason,
            Upstream::Html => Fault::Html,
        });
        if upstream == Upstream::Down {
            self.upstream.stop();
        }
    }

    /// Writes the provider file, or takes it away, and has run what is to be found running.
    fn declare(&self, cell: &Cell<'_>) -> Result<()> {
        let Some(entries) = self.locals.entries(cell, &self.llm) else {
            let file = self.person.home().join(".config/mcpctl/providers.yaml");
            let _was_not_there = fs::remove_file(file);
            return Ok(());
        };
        self.person.declare(&entries)?;
        if cell.local == Local::ManagedWarm && !self.locals.is_warm() {
            let output = self.person.command(["providers", "start", "warm"]).output()?;
            ensure!(output.status.success(), "providers start: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    fn command(&self, cell: &Cell<'_>, url: &str) -> Result<Command> {
        let mut command = self.person.command(["infer", &self.llm, &self.prompt]);
        command.env("MCPCTL_SERVER", url);
        if cell.secured {
            let config = self.files.path().join("config.yaml");
            let authorities = self.files.path().join("authorities.pem");
            let context = format!("name: it\n    server: {url}\n    caFile: {}", authorities.display());
            fs::write(&config, format!("currentContext: it\ncontexts:\n  - {context}\n"))?;
            command.env_remove("MCPCTL_SERVER").env("MCPCTL_CONFIG", config);
        }
        if cell.rights == Rights::TokenExpired {
            command.env("MCPCTL_TOKEN_FILE", self.files.path().join("old"));
        }
        let patience = if cell.primary.silent { "1500ms" } else { "60s" };
        for limit in ["--connect-timeout", "--first-token-timeout", "--idle-timeout"] {
            command.args([limit, patience]);
        }
        if cell.form == Form::Json {
            command.args(["-o", "json"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Waits until the engine is being started, takes the right away, and lets the engine get ready when the
    /// permission from before is worth nothing any more.
    fn revoke_during_start(&self, before: &Mark) {
        let _engine = self.locals.slow.wait_for_starts(before.slow_starts() + 1);
        let started = Instant::now();
        self.granted.revoke();
        fakes::wait_until(LIMIT, "the age of a permission", || started.elapsed() > OLD);
        self.locals.slow.open_gate();
    }

    fn journal(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.journal_file()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect()
    }

    fn journal_file(&self) -> PathBuf {
        self.person.state().join("failovers.jsonl")
    }

    /// Makes things as the next run wants them.
    fn settle(&mut self, cell: &Cell<'_>) {
        self.granted.forget(cell.rights);
        self.upstream.set_fault(Fault::None);
        self.upstream.resume();
        match (cell.local, cell.rights) {
            (Local::ManagedCold, Rights::RevokedDuringStart) => {
                self.stop("slow");
                self.locals.slow.close_gate();
            }
            (Local::ManagedCold, _) => self.stop("cold"),
            _ => {}
        }
    }

    /// Stops engines as a user would: one, or `--all`.
    pub(crate) fn stop(&self, which: &str) {
        let _nothing_ran = self.person.command(["providers", "stop", which, "--now"]).output();
    }
}

/// What is left when everything is over.
impl Lane<'_> {
    /// Processes that came of this home.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes_left(self.person.home(), ENDING)
    }

    /// How many failovers of this person the server has heard of.
    pub(crate) fn reported(&self) -> Result<usize> {
        let args = ["audit", "list", "--failovers", "--user", &self.user, "-o", "json"];
        let mut command = self.person.command(args);
        command.env_remove("MCPCTL_TOKEN_FILE").env("MCPCTL_TOKEN", self.mcpd.admin_token());
        let output = command.output()?;
        let told = || String::from_utf8_lossy(&output.stderr).into_owned();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).with_context(told)?;
        document["items"].as_array().map(Vec::len).with_context(told)
    }

    /// Searches everything that was written for secrets. What is found is told without the secret.
    pub(crate) fn sweep(&self, canary: &Canary) -> Option<String> {
        let logs = self.mcpd.logs();
        let mut tokens = Canary::new();
        self.tokens.iter().for_each(|token| tokens.watch(&format!("a token of {}", self.user), token));
        let swept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let places = [self.person.home(), &self.mcpd.data_dir()];
            canary.sweep(&places, &[("the server's log", logs.as_bytes())]);
            // Engines get prompts and no token of ours.
            tokens.sweep(&self.locals.notes(), &[]);
        }));
        let panic = swept.err()?;
        let text = panic.downcast_ref::<String>().cloned();
        Some(text.unwrap_or_else(|| "a secret was found".to_owned()))
    }
}
