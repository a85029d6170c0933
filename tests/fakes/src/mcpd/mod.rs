//! The real server as a child process, with a database, a folder and a port of its own.
//!
//! ```no_run
//! use fakes::{Engine, Mcpd};
//! let engine = Engine::start();
//! let mcpd = Mcpd::start();
//! mcpd.create_llm("chat", &engine.url());
//! let token = mcpd.user_with("dana", &[("view", "llms", Some("chat")), ("run", "llms", Some("chat"))]);
//! let answer = mcpd.request("GET", "/api/v1/llms/chat", Some(&token), &[], b"");
//! assert_eq!(answer.status, 200);
//! ```

mod admin;
mod storage;

pub use admin::Grant;

use crate::{Exchange, Postgres, Refusing, Response, http::request_bytes, program};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env,
    fs::DirBuilder,
    io::{self, BufRead, BufReader, Read, Write},
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use storage::Storage;
use tempfile::TempDir;

/// How long a server may take to say that it listens.
const START_LIMIT: Duration = Duration::from_secs(30);
/// What it says then, before its address.
const READY: &str = "mcpd listening on ";

/// The real server. Killed and waited for when it is dropped; shows its log if a test panics.
pub struct Mcpd {
    settings: McpdBuilder,
    dir: TempDir,
    addr: SocketAddr,
    admin_token: String,
    logs: Logs,
    life: Life,
}

enum Life {
    Running(Child),
    /// The port stays ours, and refuses connections.
    Stopped(#[expect(dead_code, reason = "held, so that the port stays ours")] Refusing),
}

/// How a server is to be started.
#[derive(Debug, Clone, Default)]
pub struct McpdBuilder {
    args: Vec<String>,
    env: Vec<(String, String)>,
    storage: Storage,
    /// The token of the administrator that another server has made in the same database.
    administered: Option<String>,
    hosts: Option<PathBuf>,
}

impl McpdBuilder {
    /// One more argument of `mcpd serve`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// A variable of its environment, which has nothing but `PATH`, `HOME`, `MCPD_UPSTREAM_ALLOW` with the loopback,
    /// and a high `MCPD_FAILED_LOGINS_PER_MINUTE` otherwise.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Has it resolve names by this file, as `/etc/hosts`, which can change while it runs. See [`Mcpd::can_have_hosts`].
    #[must_use]
    pub fn hosts(mut self, file: impl Into<PathBuf>) -> Self {
        self.hosts = Some(file.into());
        self
    }

    /// Keeps everything in a file in the data folder, whatever `MCPCTL_TEST_DATABASE` says.
    #[must_use]
    pub fn sqlite(mut self) -> Self {
        self.storage = Storage::File;
        self
    }

    /// Keeps everything in the database `mcpd` of this cluster.
    #[must_use]
    pub fn on(self, postgres: &Postgres) -> Self {
        self.on_url(postgres.url())
    }

    /// Keeps everything in the database at a URL, which stays out of the command line.
    #[must_use]
    pub fn on_url(mut self, url: impl Into<String>) -> Self {
        self.storage = Storage::Url(url.into());
        self
    }

    /// One more server for what `first` serves: the same database, and the administrator that is there already.
    #[must_use]
    pub fn joining(mut self, first: &Mcpd) -> Self {
        self.storage = first.settings.storage.clone();
        self.administered = Some(first.admin_token.clone());
        assert!(!matches!(self.storage, Storage::File), "two servers cannot share a file");
        self
    }

    /// The database has an administrator already, and this is a token of theirs.
    #[must_use]
    pub fn administered_by(mut self, token: impl Into<String>) -> Self {
        self.administered = Some(token.into());
        self
    }

    /// Runs `mcpd` with these arguments to its end, on a database that is there, and nothing else: no administrator is
    /// made, and it must not be one that goes on for ever.
    pub fn run(self, args: &[&str]) -> Output {
        let dir = folder();
        let (subcommand, rest) = args.split_first().expect("a subcommand");
        run_to_end(self.command(subcommand, dir.path()).args(rest))
    }

    /// Bootstraps an administrator, starts the server and waits until it listens.
    pub fn start(mut self) -> Mcpd {
        self.storage = self.storage.made();
        let dir = folder();
        let logs = Logs::default();
        let admin_token = self.administered.clone().unwrap_or_else(|| bootstrap(&self, dir.path()));
        let free_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, addr) = serve(&self, dir.path(), free_port, &logs);
        Mcpd { settings: self, dir, addr, admin_token, logs, life: Life::Running(child) }
    }

    fn command(&self, subcommand: &str, dir: &Path) -> Command {
        let mut command = match &self.hosts {
            None => Command::new(path_of_program()),
            Some(hosts) => {
                let mut command = Command::new("unshare");
                let mount = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
                command
                    .args(["--map-root-user", "--mount", "sh", "-c", mount])
                    .arg(hosts)
                    .arg(path_of_program());
                command
            }
        };
        command
            .arg(subcommand)
            .arg("--data-dir")
            .arg(dir.join("data"))
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            // Only there when coverage is measured.
            .envs(env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)))
            .env("HOME", dir)
            // Upstreams in tests are on this machine. A test that is about what may be reached says it itself.
            .env("MCPD_UPSTREAM_ALLOW", "127.0.0.0/8,::1/128")
            // Many a test is about logins that fail, and all of them come from one address.
            .env("MCPD_FAILED_LOGINS_PER_MINUTE", "1000000")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(dir)
            .stdin(Stdio::null());
        self.storage.tell(&mut command, &dir.join("data"));
        command
    }
}

impl Mcpd {
    /// Starts one with an administrator and nothing else. Its database is a file, or one in a PostgreSQL that the tests
    /// of this process share, as `MCPCTL_TEST_DATABASE` says.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// For arguments, environment and a database that the test chooses.
    pub fn builder() -> McpdBuilder {
        McpdBuilder::default()
    }

    /// Says whether this machine lets a program have an `/etc/hosts` of its own: by a namespace of mounts.
    pub fn can_have_hosts() -> bool {
        let mut tried = Command::new("unshare");
        tried.args(["--map-root-user", "--mount", "mount", "--bind", "/etc/hosts", "/etc/hosts"]);
        tried.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address as the base of a URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The token of the administrator that `mcpd bootstrap` made.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// The folder with its database and everything else that it writes.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The URL of its database. It may hold a password.
    pub fn database_url(&self) -> String {
        self.settings.storage.url(&self.data_dir())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        match &self.life {
            Life::Running(child) => child.id(),
            Life::Stopped(_) => panic!("mcpd does not run"),
        }
    }

    /// Everything that it wrote to stdout and stderr so far, restarts included.
    pub fn logs(&self) -> String {
        self.logs.text()
    }

    /// Sends one request on a connection of its own and reads the whole answer. JSON is assumed of a body.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.open(method, path, token, headers, body).expect("mcpd answers").finish()
    }

    /// Sends one request and reads the head of the answer only. Dropping the exchange hangs up.
    pub fn open(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Exchange> {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            all.push(("content-type", "application/json"));
        }
        Exchange::open(self.addr, &request_bytes(method, path, self.addr, &all, body))
    }

    /// Sends these very bytes and reads to the end of the connection, for requests that no client would write.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = std::net::TcpStream::connect(self.addr).expect("mcpd listens");
        stream.set_read_timeout(Some(START_LIMIT)).expect("the option is known");
        // It may refuse before it has read all; what it says then is what the test looks at.
        let _refused_early = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _reset_after_answer = stream.read_to_end(&mut answer);
        answer
    }

    /// Runs another `mcpd` on the same database to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        let (subcommand, rest) = args.split_first().expect("a subcommand");
        run_to_end(self.settings.command(subcommand, self.dir.path()).args(rest))
    }

    /// Asks it to end with SIGTERM, so that it drains, and waits until it is gone. Its port refuses from then on.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends it at once, the way a crash does.
    pub fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Sends a signal and does not wait.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(self.pid()), signal).expect("the process is ours");
    }

    /// Waits until it has ended by itself or by a signal.
    pub fn wait(&mut self) -> ExitStatus {
        let Life::Running(child) = &mut self.life else { panic!("mcpd does not run") };
        let status = child.wait().expect("the child is ours");
        self.logs.complete();
        self.life = Life::Stopped(Refusing::at(self.addr.port()));
        status
    }

    /// Starts it again on the same port and the same data, after a stop if it still runs.
    pub fn restart(&mut self) {
        if let Life::Running(_) = self.life {
            self.stop();
        }
        let (child, addr) = serve(&self.settings, self.dir.path(), self.addr, &self.logs);
        assert_eq!(addr, self.addr, "mcpd listens where it was told to");
        self.life = Life::Running(child);
    }
}

impl Drop for Mcpd {
    fn drop(&mut self) {
        if let Life::Running(child) = &mut self.life {
            let _already_ended = child.kill();
            let _waited = child.wait();
            self.logs.complete();
        }
        if thread::panicking() {
            eprintln!("---- log of mcpd at {} ----\n{}---- end ----", self.addr, self.logs.text());
        }
    }
}

fn folder() -> TempDir {
    let dir = TempDir::new().expect("a temporary folder");
    // As an operator would make it: mcpd refuses a folder that others can read.
    DirBuilder::new().mode(0o700).create(dir.path().join("data")).expect("the folder is writable");
    dir
}

/// What it says is little: it fits into the pipes.
fn run_to_end(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("mcpd can be run");
    let deadline = Instant::now() + START_LIMIT;
    while child.try_wait().expect("the child is ours").is_none() {
        if Instant::now() > deadline {
            let _ends_now = child.kill();
            let output = child.wait_with_output().expect("the child is ours");
            panic!("mcpd goes on for ever: {output:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("the child is ours")
}

/// Makes the first administrator and gives the token.
fn bootstrap(settings: &McpdBuilder, dir: &Path) -> String {
    let mut command = settings.command("bootstrap", dir);
    let output = command.args(["--admin", "admin"]).output().expect("mcpd can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "mcpd bootstrap: {}\n{stderr}", output.status);
    let token = String::from_utf8(output.stdout).expect("a token is ASCII").trim().to_owned();
    assert!(
        token.starts_with("mcpd_") && !token.contains(char::is_whitespace),
        "stdout is the token only\n{stderr}"
    );
    token
}

/// Starts the server and waits for its line.
fn serve(settings: &McpdBuilder, dir: &Path, at: SocketAddr, logs: &Logs) -> (Child, SocketAddr) {
    let mut command = settings.command("serve", dir);
    command
        .args(["--listen", &at.to_string()])
        .args(&settings.args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("mcpd can be run");
    logs.drain_stderr(child.stderr.take().expect("it is piped"));
    let ready = logs.drain_stdout(child.stdout.take().expect("it is piped"));
    let Ok(addr) = ready.recv_timeout(START_LIMIT) else {
        let _already_ended = child.kill();
        let status = child.wait().expect("the child is ours");
        logs.complete();
        panic!("mcpd did not say {READY:?} within {START_LIMIT:?} ({status}):\n{}", logs.text());
    };
    (child, addr)
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed()).expect("a child has an id")
}

/// What the server writes, read all the time so that it never waits for a full pipe.
#[derive(Clone, Default)]
struct Logs {
    bytes: Arc<Mutex<Vec<u8>>>,
    readers: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Logs {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Waits until all that an ended server wrote is here.
    fn complete(&self) {
        let readers = std::mem::take(&mut *self.readers.lock().unwrap());
        for reader in readers {
            reader.join().expect("reading does not fail");
        }
    }

    fn drain_stderr(&self, stderr: ChildStderr) {
        self.drain(stderr, |_| {});
    }

    /// Gives the address as soon as the server has said it; hangs up if the server ends before.
    fn drain_stdout(&self, stdout: ChildStdout) -> mpsc::Receiver<SocketAddr> {
        let (tell, told) = mpsc::channel();
        self.drain(stdout, move |line| {
            if let Some((_, addr)) = line.trim().strip_prefix(READY).and_then(|url| url.split_once("://")) {
                let _nobody_waits = tell.send(addr.parse().expect("an address and a port"));
            }
        });
        told
    }

    fn drain(&self, from: impl Read + Send + 'static, mut on_line: impl FnMut(&str) + Send + 'static) {
        let bytes = Arc::clone(&self.bytes);
        let reader = thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                bytes.lock().unwrap().extend_from_slice(&line);
                on_line(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        self.readers.lock().unwrap().push(reader);
    }
}

/// `$MCPD_BIN`; else the one beside the test.
fn path_of_program() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| env::var_os("MCPD_BIN").map_or_else(|| program::find("mcpd", "mcpd"), PathBuf::from))
}
