//! What is measured side by side: the stub by itself, the programs that people trust, and mcpd.

mod gateways;
mod mcpd;
mod nginx;

pub(crate) use mcpd::{Audit, Database, post, tls};

use crate::{
    load::Target,
    process::{LOAD_CORE, Program, Used},
    stub::Model,
};
use anyhow::{Context, bail};
use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

/// How long a program may take to answer for the first time. The slowest one takes ten seconds.
const STARTING: Duration = Duration::from_secs(90);

/// Where everything is.
#[derive(Debug)]
pub(crate) struct Places {
    /// The programs of this repository, as they are released.
    pub(crate) programs: PathBuf,
    /// Programs of other people: `.tools`.
    pub(crate) tools: PathBuf,
    /// For this run; goes with it.
    pub(crate) work: tempfile::TempDir,
}

impl Places {
    pub(crate) fn new(tools: PathBuf) -> anyhow::Result<Self> {
        let own = env::current_exe()?;
        let programs = own.parent().context("this program has no folder")?.to_owned();
        Ok(Self { programs, tools, work: tempfile::Builder::new().prefix("mcp-bench-").tempdir()? })
    }

    /// A new folder for one program.
    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = tempfile::Builder::new().prefix(name).tempdir_in(self.work.path())?;
        Ok(folder.keep())
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A program of somebody else, if it is there.
    pub(crate) fn tool(&self, path: &str) -> Option<PathBuf> {
        Some(self.tools.join(path)).filter(|path| path.exists())
    }
}

/// What there is to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The stub, without anything between.
    Direct,
    /// nginx that only passes on.
    Nginx,
    /// nginx that asks first whether the token is right.
    NginxAuth,
    /// mcpd.
    Mcpd(Database, Audit),
    /// `LiteLLM`'s proxy, in Python.
    LiteLlm,
    /// Portkey's gateway, in Node.
    Portkey,
}

impl Kind {
    /// mcpd as it is by default.
    pub(crate) const MCPD: Self = Self::Mcpd(Database::Sqlite, Audit::All);

    /// All of them, in the order in which they are shown.
    pub(crate) const ALL: [Self; 8] = [
        Self::Direct,
        Self::Nginx,
        Self::NginxAuth,
        Self::MCPD,
        Self::Mcpd(Database::Sqlite, Audit::Refused),
        Self::Mcpd(Database::Postgres, Audit::All),
        Self::LiteLlm,
        Self::Portkey,
    ];

    /// Its name in tables and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::NginxAuth => "nginx-auth",
            Self::Mcpd(Database::Sqlite, Audit::All) => "mcpd",
            Self::Mcpd(Database::Sqlite, Audit::Refused) => "mcpd-refused",
            Self::Mcpd(Database::Postgres, Audit::All) => "mcpd-postgres",
            Self::Mcpd(Database::Postgres, Audit::Refused) => "mcpd-postgres-refused",
            Self::LiteLlm => "litellm",
            Self::Portkey => "portkey",
        }
    }

    /// Says whether one request of it takes so long that it is left out where there are many.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::LiteLlm | Self::Portkey)
    }
}

/// A system that answers.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    /// From the start of the program until it had answered for the first time.
    pub(crate) started_in: Duration,
    /// What it took before anybody asked anything, in KiB.
    pub(crate) idle_rss: u64,
    /// The version that it says it is.
    pub(crate) version: String,
    program: Option<Program>,
    /// What it cannot be without.
    _behind: Option<fakes::Postgres>,
}

impl System {
    /// The process to measure.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.program.as_ref().map(Program::pid)
    }

    /// Starts one; nothing if it is not on this machine.
    pub(crate) fn start(
        kind: Kind,
        places: &Places,
        stub: SocketAddr,
        models: &[Model],
    ) -> anyhow::Result<Option<Self>> {
        match kind {
            Kind::Direct => Ok(Some(Self {
                kind,
                target: Target::new(stub, ""),
                started_in: Duration::ZERO,
                idle_rss: 0,
                version: String::new(),
                program: None,
                _behind: None,
            })),
            Kind::Nginx => nginx::start(kind, places, stub, false),
            Kind::NginxAuth => nginx::start(kind, places, stub, true),
            Kind::Mcpd(database, audit) => mcpd::start(kind, places, stub, models, database, audit),
            Kind::LiteLlm => gateways::litellm(kind, places, stub, models),
            Kind::Portkey => gateways::portkey(kind, places, stub),
        }
    }

    /// With what it cannot be without.
    fn behind(self, postgres: Option<fakes::Postgres>) -> Self {
        Self { _behind: postgres, ..self }
    }

    /// A program that has just been started, once it answers.
    fn running(
        kind: Kind,
        mut program: Program,
        target: Target,
        version: String,
        began: Instant,
    ) -> anyhow::Result<Self> {
        let started_in = wait_until_it_answers(&mut program, target.address, began)
            .with_context(|| format!("{} does not start", kind.name()))?;
        // Whatever goes on after the first answer should be over before it counts as idle.
        sleep(Duration::from_millis(500));
        let idle_rss = Used::of(program.pid())?.rss;
        Ok(Self { kind, target, started_in, idle_rss, version, program: Some(program), _behind: None })
    }
}

/// The stub, on the core of the load.
pub(crate) fn stub(places: &Places) -> anyhow::Result<(Program, SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(env::current_exe()?);
    command.args(["stub", "--listen", &address.to_string()]);
    let mut program = Program::start(&command, LOAD_CORE, &places.work.path().join("stub.log"))?;
    wait_until_it_answers(&mut program, address, Instant::now())?;
    Ok((program, address))
}

/// An address that is free now.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Asks for anything until there is an answer of any kind; says when that was.
fn wait_until_it_answers(
    program: &mut Program,
    address: SocketAddr,
    began: Instant,
) -> anyhow::Result<Duration> {
    let asked = |request: &[u8]| -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(STARTING))?;
        stream.write_all(request)?;
        stream.read_exact(&mut [0; 1])
    };
    while asked(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").is_err() {
        program.must_live()?;
        if began.elapsed() > STARTING {
            bail!("no answer within {STARTING:?}");
        }
        sleep(Duration::from_millis(1));
    }
    Ok(began.elapsed())
}

/// What a program says when it is asked for its version: the first line of it that has a digit.
fn version(program: &Path, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else { return "unknown".to_owned() };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()));
    line.unwrap_or("unknown").trim().to_owned()
}
