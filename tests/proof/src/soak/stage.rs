//! What the soak is played on: one database, two servers, an upstream, and people with homes of their own.

use super::{
    right::{Changes, Right},
    tally::Tally,
};
use crate::person::{Person, openai_entry};
use anyhow::Context;
use fakes::{Engine, FakeEngine, Mcpd, McpdBuilder, Postgres, Refusing, Worker};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// What the upstream of the LLM `chat` says.
pub(super) const CENTRAL: &str = "The central upstream speaks, in some few words, all of which are known.";
/// What is asked, and found nowhere afterwards.
pub(super) const PROMPT: &str = "canary-prompt-of-the-soak-7f3a91c2";
/// The LLM whose upstream is well and ill by turns.
pub(super) const CHAT: &str = "chat";
/// The LLM whose upstream is never there.
pub(super) const DEAD: &str = "dead";
/// What the double of a managed engine says.
const MANAGED: &str = "The tiny model answers with exactly these ten plain words.";

/// Where everything is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Database {
    /// A file, and one server.
    Sqlite,
    /// A cluster of its own, and two servers.
    Postgres,
}

/// A server, and which life of it this is.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) url: String,
    mcpd: Mutex<Mcpd>,
    /// 0 while it is down.
    pid: AtomicU32,
    life: AtomicU32,
    since: Mutex<Instant>,
}

impl Server {
    fn new(name: &'static str, mcpd: Mcpd) -> Self {
        let (url, pid) = (mcpd.url(), mcpd.pid().into());
        let since = Mutex::new(Instant::now());
        Self { name, url, pid, mcpd: Mutex::new(mcpd), life: AtomicU32::new(0), since }
    }

    pub(super) fn mcpd(&self) -> MutexGuard<'_, Mcpd> {
        self.mcpd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it as a crash does, keeps it away for a while, and starts it again.
    pub(super) fn crash(&self, away: Duration) {
        let mut mcpd = self.mcpd();
        self.pid.store(0, Ordering::SeqCst);
        mcpd.kill();
        std::thread::sleep(away);
        mcpd.restart();
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.life.fetch_add(1, Ordering::SeqCst);
        self.pid.store(mcpd.pid(), Ordering::SeqCst);
    }

    /// Its process, which life of it this is, and how long it has lasted. None while it is down.
    pub(super) fn living(&self) -> Option<(u32, u32, Duration)> {
        let life = self.life.load(Ordering::SeqCst);
        let age = self.since.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        Some(self.pid.load(Ordering::SeqCst)).filter(|pid| *pid != 0).map(|pid| (pid, life, age))
    }
}

/// Who answers locally.
pub(super) enum Local {
    Running(Engine),
    Managed(FakeEngine),
}

/// A person of the soak.
pub(super) struct Somebody {
    pub(super) name: &'static str,
    pub(super) person: Person,
    pub(super) right: Right,
    pub(super) local: Local,
    /// The whole answer of their provider.
    pub(super) says: String,
}

/// Everything.
pub(super) struct Stage {
    pub(super) people: Vec<Somebody>,
    pub(super) admin: Person,
    pub(super) upstream: Engine,
    _dead: Refusing,
    pub(super) servers: Vec<Server>,
    pub(super) postgres: Option<Mutex<Postgres>>,
    /// All tokens that were ever seen, with names.
    pub(super) tokens: Mutex<Vec<(String, String)>>,
    /// Held by whoever makes trouble, so that somebody who has to know how things are can have it stop.
    pub(super) trouble: Mutex<()>,
    pub(super) is_over: AtomicBool,
    pub(super) tally: Tally,
}

impl Stage {
    pub(super) fn set(database: Database) -> anyhow::Result<Self> {
        let (servers, postgres) = servers(database)?;
        let first = &servers[0];
        let (upstream, dead) = (Engine::builder().text(CENTRAL).start(), Refusing::new());
        let mcpd = first.mcpd();
        mcpd.create_llm(CHAT, &upstream.url());
        mcpd.create_llm(DEAD, &format!("{}/v1", dead.url()));
        let admin = Person::new(&first.url, mcpd.admin_token())?;
        let mut tokens = vec![("the administrator's token".to_owned(), mcpd.admin_token().to_owned())];
        let mut people = Vec::new();
        for plan in plans() {
            mcpd.create_user(plan.name);
            let token = mcpd.token_for(plan.name);
            tokens.push((format!("the token of {}", plan.name), token.clone()));
            people.push(plan.settle(&first.url, &token)?);
        }
        for verb in ["view", "run"] {
            let both = [(verb, "llms", Some(CHAT)), (verb, "llms", Some(DEAD))];
            for name in people.iter().filter(|it| matches!(it.right, Right::Always)).map(|it| it.name) {
                mcpd.grant(&format!("{name}-may-{verb}"), name, &both);
            }
        }
        mcpd.grant("viewer", "gus", &[("view", "llms", Some(CHAT)), ("view", "llms", Some(DEAD))]);
        drop(mcpd);
        Ok(Self {
            people,
            admin,
            upstream,
            _dead: dead,
            servers,
            postgres: postgres.map(Mutex::new),
            tokens: Mutex::new(tokens),
            trouble: Mutex::default(),
            is_over: AtomicBool::new(false),
            tally: Tally::default(),
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    pub(super) fn calm(&self) -> MutexGuard<'_, ()> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a token, to be searched for.
    pub(super) fn watch(&self, label: String, token: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).push((label, token.to_owned()));
    }
}

fn servers(database: Database) -> anyhow::Result<(Vec<Server>, Option<Postgres>)> {
    match database {
        Database::Sqlite => Ok((vec![Server::new("mcpd-a", audited().sqlite().start())], None)),
        Database::Postgres => {
            let postgres =
                Postgres::start().context("there is no PostgreSQL: scripts/install-postgres brings it")?;
            let first = audited().on(&postgres).start();
            let second = audited().joining(&first).start();
            Ok((vec![Server::new("mcpd-a", first), Server::new("mcpd-b", second)], Some(postgres)))
        }
    }
}

/// No permission without an entry in the trail, so that each failover can be held against one.
fn audited() -> McpdBuilder {
    Mcpd::builder().arg("--audit").arg("required")
}

/// Who somebody is to be.
struct Plan {
    name: &'static str,
    right: Right,
    local: Local,
    more: &'static str,
}

/// Two with servers that run, two with engines that are started; of each pair the rights of one come and go. One whose
/// provider fails too, one without rights, and one who may see and not run.
fn plans() -> Vec<Plan> {
    let running = |name| {
        Local::Running(
            Engine::builder().text(format!("Here the laptop of {name} speaks, in words of its own.")).start(),
        )
    };
    let changing = || Right::Changing(Changes::default());
    let idle = "idleTimeoutMinutes: 0.05";
    let lasting = "idleTimeoutMinutes: 1";
    let with_worker = FakeEngine::vllm().worker(Worker::default());
    vec![
        Plan { name: "ana", right: Right::Always, local: running("ana"), more: "" },
        Plan { name: "ben", right: changing(), local: running("ben"), more: "" },
        Plan { name: "cleo", right: Right::Always, local: Local::Managed(FakeEngine::vllm()), more: idle },
        Plan { name: "dan", right: changing(), local: Local::Managed(with_worker), more: lasting },
        Plan { name: "eve", right: Right::Never, local: running("eve"), more: "" },
        Plan { name: "flo", right: Right::Always, local: running("flo"), more: "" },
        Plan { name: "gus", right: Right::Never, local: running("gus"), more: "" },
    ]
}

impl Plan {
    fn settle(self, server: &str, token: &str) -> anyhow::Result<Somebody> {
        let Self { name, right, local, more } = self;
        let person = Person::new(server, token)?;
        let llms = format!("[{CHAT}, {DEAD}]");
        let (entry, says) = match &local {
            Local::Running(engine) => (
                openai_entry("laptop", &llms, &engine.url()),
                format!("Here the laptop of {name} speaks, in words of its own."),
            ),
            Local::Managed(engine) => (engine.provider("laptop", &llms, more), MANAGED.to_owned()),
        };
        person.declare(&entry)?;
        Ok(Somebody { name, person, right, local, says })
    }
}
