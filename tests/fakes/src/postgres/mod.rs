//! The real PostgreSQL: a cluster of its own in a temporary folder, with the user `mcpd` and a database of that name.
//!
//! It listens on loopback, where only the random password opens it, and at a socket in a folder that only its own
//! user can enter, where nothing is asked. It writes for the sake of a crash of its processes, not of the machine:
//! nothing is synced to the disk.
//!
//! ```no_run
//! use fakes::{Mcpd, Postgres};
//! let Some(mut postgres) = Postgres::start() else { return fakes::required("PostgreSQL") };
//! let mcpd = Mcpd::builder().on(&postgres).start();
//! postgres.kill();
//! ```

mod postmaster;
mod programs;
mod shared;
mod template;

pub(crate) use shared::Database;

use crate::{Refusing, wait_until};
use postmaster::Postmaster;
use programs::Programs;
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// How long a standby may take to replay what its primary has written.
const REPLAY_LIMIT: Duration = Duration::from_secs(20);
/// How every cluster is run, besides its address.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
    "jit=off",
    "shared_buffers=16MB",
    "max_connections=200",
    "min_wal_size=4MB",
    "max_wal_size=64MB",
    "logging_collector=off",
    "log_connections=on",
];

/// The real server with its own data. Ended and waited for when it is dropped; shows its log if a test panics.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    /// The port is ours also while nothing listens there: it refuses then.
    port: Refusing,
    password: String,
    programs: Programs,
    postmaster: Option<Postmaster>,
}

impl Postgres {
    /// Starts one. None if this machine has no PostgreSQL: see [`crate::required`].
    pub fn start() -> Option<Self> {
        let programs = Programs::find()?;
        let dir = programs.folder();
        template::copy(&programs, &dir.path().join("data"));
        let mut postgres =
            Self { dir, port: Refusing::new(), password: random_word(), programs, postmaster: None };
        postgres.start_again();
        postgres.psql(&format!("ALTER ROLE mcpd PASSWORD '{}'", postgres.password));
        Some(postgres)
    }

    /// Says whether there is one on this machine.
    pub fn is_installed() -> bool {
        Programs::find().is_some()
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// The password of the user `mcpd`, which must be found nowhere.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The URL of the database `mcpd`, with the password.
    pub fn url(&self) -> String {
        self.url_at(self.addr(), "mcpd")
    }

    /// The URL of a database as seen through something that stands before it.
    pub fn url_at(&self, addr: SocketAddr, database: &str) -> String {
        format!("postgres://mcpd:{}@{addr}/{database}", self.password)
    }

    /// Makes an empty database and gives its URL.
    pub fn create_database(&self, name: &str) -> String {
        self.psql_in("postgres", &format!("CREATE DATABASE {name} OWNER mcpd"));
        self.url_at(self.addr(), name)
    }

    /// Does something in the database `mcpd` as the superuser, and gives the rows: one a line, `|` between columns.
    pub fn psql(&self, sql: &str) -> String {
        self.psql_in("mcpd", sql)
    }

    /// The same in another database.
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).unwrap_or_else(|error| panic!("psql: {error}"))
    }

    /// The same where it may fail: then what psql says.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.client("psql");
        let mut child = psql
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql can be run");
        // By stdin and not by argument: it may hold a password.
        let _it_may_not_connect = child.stdin.take().expect("it is piped").write_all(sql.as_bytes());
        let output = child.wait_with_output().expect("the child is ours");
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// `psql` as the user `mcpd` over TCP, at the address of something that stands before this one, or its own.
    pub fn session(&self, addr: SocketAddr) -> Command {
        let mut psql = self.programs.command("psql", self.dir.path());
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
        psql.arg(format!("postgres://mcpd@{addr}/mcpd?sslmode=disable&gssencmode=disable"));
        psql.env("PGPASSWORD", &self.password);
        psql
    }

    /// A program of PostgreSQL's, told where this cluster is.
    fn client(&self, name: &str) -> Command {
        let mut command = self.programs.command(name, self.dir.path());
        command.arg("--host").arg(self.dir.path()).args(["--port", &self.port().to_string()]);
        command.args(["--username", "postgres"]);
        command
    }

    /// The folder with its data and its log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The process id of its first process.
    pub fn pid(&self) -> u32 {
        self.postmaster.as_ref().expect("PostgreSQL runs").pid()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Ends it in an orderly way that waits for no client. Its port refuses from then on.
    pub fn stop(&mut self) {
        self.postmaster.take().expect("PostgreSQL runs").stop();
    }

    /// Ends all its processes the way a crash does. Its port refuses from then on.
    pub fn kill(&mut self) {
        self.postmaster.take().expect("PostgreSQL runs").kill();
    }

    /// Starts it on the same port and the same data after [`Postgres::stop`] or [`Postgres::kill`].
    pub fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    /// The same with other settings, of the form `name=value`.
    pub fn start_again_with(&mut self, settings: &[&str]) {
        assert!(self.postmaster.is_none(), "PostgreSQL runs");
        let mut command = self.programs.command("postgres", self.dir.path());
        command.arg("-D").arg(self.data()).arg("-k").arg(self.dir.path());
        command.args(["-p", &self.port().to_string()]);
        // The last word counts.
        for setting in SETTINGS.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        let log = File::options().create(true).append(true).open(self.log_file());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("the folder is writable"));
        self.postmaster = Some(Postmaster::start(command, &self.data(), || self.log()));
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Makes a standby that follows this one, and waits until it answers.
    #[must_use]
    pub fn replica(&self) -> Self {
        let dir = self.programs.folder();
        let mut copy = self.client("pg_basebackup");
        copy.arg("--pgdata").arg(dir.path().join("data"));
        copy.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        let output = copy.output().expect("pg_basebackup can be run");
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        let mut replica = Self {
            dir,
            port: Refusing::new(),
            password: self.password.clone(),
            programs: self.programs.clone(),
            postmaster: None,
        };
        replica.start_again();
        replica
    }

    /// Waits until this standby has replayed all that `primary` has written by now.
    pub fn catch_up_with(&self, primary: &Self) {
        let written = primary.psql("SELECT pg_current_wal_lsn()");
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        wait_until(REPLAY_LIMIT, "the standby has caught up", || self.psql(&replayed) == "t");
    }

    /// Holds this standby at what it has replayed, however much comes from its primary.
    pub fn pause_replay(&self) {
        self.psql("SELECT pg_wal_replay_pause()");
        let state = "SELECT pg_get_wal_replay_pause_state()";
        wait_until(REPLAY_LIMIT, "the replay is paused", || self.psql(state) == "paused");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(postmaster) = self.postmaster.take() {
            postmaster.end();
        }
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("---- log of PostgreSQL at {} ----\n{tail}\n---- end ----", self.addr());
        }
    }
}

/// 128 random bits as hexadecimal digits.
fn random_word() -> String {
    let mut random = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).expect("random bytes");
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}
