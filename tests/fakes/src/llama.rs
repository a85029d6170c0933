//! The real engine: llama.cpp's `llama-server` on a tiny model, ready in a fraction of a second.
//!
//! The model answers each plain question with the same ten words, and a prompt with `[forever]` with ticks.

use crate::{Exchange, Refusing, http::request_bytes, wait_until};
use std::{
    env,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// How long it may take to load half a megabyte. It takes 0.2 s on a quiet machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The real `llama-server`. Killed and waited for when it is dropped.
pub struct LlamaServer {
    child: Child,
    addr: SocketAddr,
    dir: TempDir,
    args: Vec<String>,
    /// While it is dead, its port stays ours.
    reserved: Option<Refusing>,
}

impl LlamaServer {
    /// Starts one on a free loopback port. None if this machine has no `llama-server`: see [`crate::required`].
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts one with more arguments.
    pub fn start_with(args: &[&str]) -> Option<Self> {
        let program = Self::program()?;
        let dir = TempDir::new().expect("a temporary folder");
        // The port is ours until the engine binds it, which the options of both sockets allow.
        let reserved = Refusing::new();
        let addr = reserved.addr();
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let child = run(&program, addr, &args, dir.path());
        let mut server = Self { child, addr, dir, args, reserved: Some(reserved) };
        server.wait_until_ready();
        Some(server)
    }

    /// Starts it again, on the same port, after [`LlamaServer::kill`].
    pub fn restart(&mut self) {
        let program = Self::program().expect("it was there before");
        self.child = run(&program, self.addr, &self.args, self.dir.path());
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        wait_until(START_LIMIT, "llama-server is ready", || {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                panic!("llama-server ended with {status}:\n{}", self.log());
            }
            self.get("/health").is_some()
        });
        self.reserved = None;
    }

    /// `$LLAMA_SERVER`, else the one that `scripts/install-llama-server` put into the project, else one on `PATH`.
    pub fn program() -> Option<PathBuf> {
        let installed = repository().join(".tools/llama/llama-server");
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path).map(|dir| dir.join("llama-server"));
        env::var_os("LLAMA_SERVER")
            .map(PathBuf::from)
            .or_else(|| std::iter::once(installed).chain(on_path).find(|program| program.is_file()))
    }

    /// The tiny model as a GGUF file, for tests that start an engine themselves.
    pub fn model() -> PathBuf {
        repository().join("tests/engine/models/tiny.gguf")
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base of its API, `http://127.0.0.1:PORT/v1`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How often it ran the model, by its own count: moves with every prompt that reaches it, once a token.
    pub fn decodes(&self) -> u64 {
        self.metric("llamacpp:n_decode_total ")
    }

    /// Whether it works on a prompt, by its own count.
    pub fn is_busy(&self) -> bool {
        self.metric("llamacpp:requests_processing ") > 0
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").expect("it was started with --metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.parse().ok()).expect("the metric exists")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).expect("the log is ours")
    }

    /// Ends it at once, the way a crash does.
    pub fn kill(&mut self) {
        let _already_ended = self.child.kill();
        self.child.wait().expect("the child is ours");
        self.reserved = Some(Refusing::at(self.addr.port()));
    }

    /// The body of a 200; none for everything else.
    fn get(&self, path: &str) -> Option<String> {
        let answer =
            Exchange::open(self.addr, &request_bytes("GET", path, self.addr, &[], b"")).ok()?.finish();
        (answer.status == 200).then(|| answer.text())
    }
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("---- log of llama-server at {} ----\n{}---- end ----", self.addr, self.log());
        }
    }
}

fn run(program: &Path, addr: SocketAddr, args: &[String], dir: &Path) -> Child {
    let log =
        File::options().create(true).append(true).open(dir.join("log")).expect("the folder is writable");
    Command::new(program)
        .arg("--model")
        .arg(LlamaServer::model())
        .args(["--alias", "tiny", "--jinja", "--metrics", "--host", "127.0.0.1", "--port"])
        .arg(addr.port().to_string())
        .args(args)
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file has clones"))
        .stderr(log)
        .spawn()
        .expect("llama-server can be run")
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the package stands two folders deep")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_engine_says_its_ten_words_and_counts() {
        let Some(server) = LlamaServer::start() else { return crate::required("llama-server") };
        let before = server.decodes();
        let body = br#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":30}"#;
        let request = request_bytes("POST", "/v1/chat/completions", server.addr(), &[], body);
        let answer: serde_json::Value = Exchange::open(server.addr(), &request).unwrap().finish().json();
        let words = "The tiny model answers with exactly these ten plain words.";
        assert_eq!(answer["choices"][0]["message"]["content"], words);
        assert!(server.decodes() > before);
    }
}
