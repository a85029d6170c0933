//! mcpctl beside the commands that people use: curl, `llm` and aichat, each asking the same server the same question.

use crate::{
    process::LOAD_CORE,
    results::{Results, median, megabytes},
    stub::Model,
    systems::{Kind, Places, System, post, tls},
};
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    io::Read,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use wait4::Wait4;

/// Medians of one command, or of several that were run one after the other.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figures {
    pub(crate) wall_ms: f64,
    pub(crate) cpu_ms: f64,
    /// From the start to the first byte on stdout.
    pub(crate) first_ms: f64,
    /// The most memory that one of them took.
    pub(crate) rss_mb: f64,
    pub(crate) runs: usize,
}

/// One run.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    wall: Duration,
    cpu: Duration,
    first: Duration,
}

/// Commands that are run one after the other to get one answer.
#[derive(Debug)]
struct Way {
    name: String,
    commands: Vec<Command>,
    /// What each of them may end with: curl calls that fail are a part of a failover.
    may_fail: bool,
    /// How many times fewer than the others: those of Python take a second.
    seldom: usize,
}

/// What is asked.
const QUESTION: &str = "Who are you?";

/// What the others are measured by.
const CURL: &str = "/usr/bin/curl";

/// Where everything for these commands is.
struct Scene<'a> {
    places: &'a Places,
    home: PathBuf,
    http: SocketAddr,
    https: SocketAddr,
    token: String,
    https_token: String,
    stub: SocketAddr,
    authorities: PathBuf,
}

/// Measures all of them, in turn.
pub(crate) fn measure(
    places: &Places,
    stub: SocketAddr,
    runs: usize,
    results: &mut Results,
) -> anyhow::Result<()> {
    if !Path::new(CURL).exists() {
        eprintln!("!!! no {CURL}: commands are not measured");
        return Ok(());
    }
    let plain_model = Model::PLAIN;
    let failing = Model { status: 503, ..Model::PLAIN };
    let models = [plain_model, failing];
    let plain = System::start(Kind::MCPD, places, stub, &models)?.context("mcpd")?;
    let (secure, authorities) = tls(places, stub, &models)?;
    let home = home(places)?;
    let dead = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let llm = json!({"name": "dead", "type": "openai", "url": format!("http://{dead}/v1"), "model": "x"});
    post(plain.target.address, &plain.target.token, "/api/v1/llms", &llm.to_string())?;
    let scene = Scene {
        places,
        home,
        http: plain.target.address,
        https: secure.target.address,
        token: plain.target.token.clone(),
        https_token: secure.target.token.clone(),
        stub,
        authorities,
    };
    scene.declare_providers(&[("one", "dead"), ("two", &failing.to_string())])?;
    let ways = scene.ways(&plain_model.to_string(), &failing.to_string())?;
    let mut seen: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for round in 0..runs {
        for way in &ways {
            if round % way.seldom == 0 {
                seen.entry(way.name.clone()).or_default().push(way.run()?);
            }
        }
    }
    for way in &ways {
        let memory = way.memory()?;
        if let Some(runs) = seen.get(&way.name) {
            results.commands.insert(way.name.clone(), figures(runs, memory));
        }
    }
    Ok(())
}

fn figures(runs: &[Run], memory: u64) -> Figures {
    let of = |metric: fn(&Run) -> f64| median(runs.iter().map(metric)).unwrap_or(f64::NAN);
    Figures {
        wall_ms: of(|run| run.wall.as_secs_f64() * 1e3),
        cpu_ms: of(|run| run.cpu.as_secs_f64() * 1e3),
        first_ms: of(|run| run.first.as_secs_f64() * 1e3),
        rss_mb: megabytes(memory),
        runs: runs.len(),
    }
}

/// A home with nothing in it, which nobody else can write to.
fn home(places: &Places) -> anyhow::Result<PathBuf> {
    let home = places.work.path().join("home");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(home.join(".config/mcpctl"))?;
    Ok(home)
}

impl Scene<'_> {
    fn declare_providers(&self, all: &[(&str, &str)]) -> anyhow::Result<()> {
        let providers: Vec<_> = all
            .iter()
            .map(|(name, llm)| {
                json!({"name": name, "type": "openai", "failoverFor": llm, "url": format!("http://{}/v1", self.stub),
                       "model": Model::PLAIN.to_string()})
            })
            .collect();
        let text = json!({"providers": providers}).to_string();
        Ok(fs::write(self.home.join(".config/mcpctl/providers.yaml"), text)?)
    }

    fn ways(&self, plain: &str, failing: &str) -> anyhow::Result<Vec<Way>> {
        let way = |name: &str, commands: Vec<Command>| Way {
            name: name.to_owned(),
            commands,
            may_fail: false,
            seldom: 1,
        };
        let mut ways = vec![
            way("http mcpctl", vec![self.mcpctl(&self.http_url(), plain, &["--no-stream"])]),
            way("http curl", vec![self.curl(&self.http_url(), plain, false)]),
            way("stream mcpctl", vec![self.mcpctl(&self.http_url(), plain, &[])]),
            way("stream curl", vec![self.curl(&self.http_url(), plain, true)]),
            way("https mcpctl", vec![self.mcpctl(&self.https_url(), plain, &["--no-stream"])]),
            way("https curl", vec![self.curl(&self.https_url(), plain, false)]),
        ];
        for (case, llm) in [("refused", "dead"), ("503", failing)] {
            ways.push(way(
                &format!("{case} mcpctl"),
                vec![self.mcpctl(&self.http_url(), llm, &["--no-stream"])],
            ));
            let three = vec![self.curl(&self.http_url(), llm, false), self.curl_head(llm), self.curl_local()];
            ways.push(Way { may_fail: true, ..way(&format!("{case} curl"), three) });
        }
        for way in &ways {
            for command in &way.commands {
                let program =
                    command.get_args().nth(2).map(Path::new).context("a command without a program")?;
                ensure!(program.exists(), "{} is missing", program.display());
            }
        }
        if let Some(llm) = self.places.tool("peers/bin/llm") {
            ways.push(Way { seldom: 10, ..way("http llm", vec![self.llm(&llm, plain)?]) });
        }
        if let Some(aichat) = self.places.tool("peers/bin/aichat") {
            ways.push(way("http aichat", vec![self.aichat(&aichat, plain)?]));
        }
        Ok(ways)
    }

    /// The token that is good at a server.
    fn token(&self, server: &str) -> &str {
        if server.starts_with("https") { &self.https_token } else { &self.token }
    }

    fn http_url(&self) -> String {
        format!("http://{}", self.http)
    }

    fn https_url(&self) -> String {
        format!("https://localhost:{}", self.https.port())
    }

    /// A command with nothing of this machine's environment.
    fn command(&self, program: &Path) -> Command {
        // On the core of the load, as all commands: the server has the other one.
        let mut command = Command::new("/usr/bin/taskset");
        command.args(["-c", &LOAD_CORE.to_string()]).arg(program);
        command.env_clear().env("HOME", &self.home).env("PATH", "/usr/bin:/bin");
        command.env("SSL_CERT_FILE", &self.authorities);
        command
    }

    fn mcpctl(&self, server: &str, llm: &str, more: &[&str]) -> Command {
        let mut command = self.command(&self.places.program("mcpctl"));
        command.args(["infer", llm, QUESTION]).args(more);
        command.env("MCPCTL_SERVER", server).env("MCPCTL_TOKEN", self.token(server));
        command
    }

    fn curl(&self, server: &str, llm: &str, stream: bool) -> Command {
        let mut command = self.command(Path::new(CURL));
        let body = json!({"messages": [{"role": "user", "content": QUESTION}], "stream": stream});
        command.args(["-sS", "-N", "-H", &format!("Authorization: Bearer {}", self.token(server))]);
        command.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
        command.arg(format!("{server}/api/v1/llms/{llm}/infer"));
        command
    }

    fn curl_head(&self, llm: &str) -> Command {
        let mut command = self.command(Path::new(CURL));
        command.args(["-sS", "-I", "-H", &format!("Authorization: Bearer {}", self.token)]);
        command.arg(format!("{}/api/v1/llms/{llm}", self.http_url()));
        command
    }

    fn curl_local(&self) -> Command {
        let mut command = self.command(Path::new(CURL));
        let model = Model::PLAIN.to_string();
        let body = json!({"messages": [{"role": "user", "content": QUESTION}], "model": model});
        command.args(["-sS", "-H", "Content-Type: application/json", "-d", &body.to_string()]);
        command.arg(format!("http://{}/v1/chat/completions", self.stub));
        command
    }

    fn llm(&self, program: &Path, llm: &str) -> anyhow::Result<Command> {
        let folder = self.home.join("llm");
        fs::create_dir_all(&folder)?;
        let models = format!(
            "- model_id: bench\n  model_name: {llm}\n  api_base: {}/v1\n  api_key_name: bench\n",
            self.http_url()
        );
        fs::write(folder.join("extra-openai-models.yaml"), models)?;
        let mut command = self.command(program);
        command.env("LLM_USER_PATH", &folder);
        command.args(["prompt", "-m", "bench", "--key", &self.token, "--no-log", "--no-stream", QUESTION]);
        Ok(command)
    }

    fn aichat(&self, program: &Path, llm: &str) -> anyhow::Result<Command> {
        let folder = self.home.join("aichat");
        fs::create_dir_all(&folder)?;
        let config = format!(
            "model: bench:{llm}\nstream: false\nsave: false\nclients:\n- type: openai-compatible\n  name: bench\n  api_base: {}/v1\n  \
             api_key: {}\n  models:\n  - name: {llm}\n",
            self.http_url(),
            self.token
        );
        fs::write(folder.join("config.yaml"), config)?;
        let mut command = self.command(program);
        command.env("AICHAT_CONFIG_DIR", &folder).args(["--no-stream", QUESTION]);
        Ok(command)
    }
}

impl Way {
    fn run(&self) -> anyhow::Result<Run> {
        let mut all = Run::default();
        let began = Instant::now();
        for command in &self.commands {
            let mut child =
                again(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
            let mut output = child.stdout.take().context("stdout")?;
            let mut said = vec![0; 1];
            let got = output.read(&mut said)?;
            let first = began.elapsed();
            said.truncate(got);
            output.read_to_end(&mut said)?;
            let mut errors = String::new();
            child.stderr.take().context("stderr")?.read_to_string(&mut errors)?;
            let ended = child.wait4()?;
            let is_good = ended.status.success() && got > 0;
            ensure!(
                is_good || self.may_fail,
                "{}: {} {}{errors}",
                self.name,
                ended.status,
                String::from_utf8_lossy(&said)
            );
            all.cpu += ended.rusage.utime + ended.rusage.stime;
            all.first = first;
        }
        all.wall = began.elapsed();
        Ok(all)
    }

    /// The most memory that one of them takes, in KiB.
    fn memory(&self) -> anyhow::Result<u64> {
        let mut most = 0;
        for command in &self.commands {
            let mut once = Command::new(env::current_exe()?);
            once.arg("once").arg("--").arg(command.get_program()).args(command.get_args());
            once.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
            let said = once.output()?;
            ensure!(said.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&said.stderr));
            most = most.max(String::from_utf8(said.stdout)?.trim().parse()?);
        }
        Ok(most)
    }
}

/// Runs a command and says on stdout how much memory it took at most, in KiB. A program of its own, because a process
/// begins with the most that its parent has had, and this one has little.
pub(crate) fn once(command: &[OsString]) -> anyhow::Result<u64> {
    let [program, arguments @ ..] = command else { bail!("no command") };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child.wait4()?.rusage.maxrss / 1024)
}

/// The same command, to be started once more.
fn again(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args()).env_clear();
    copy.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    copy
}
