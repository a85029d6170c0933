//! The real vLLM under mcpctl: what no double can vouch for.
//!
//! A start takes 20 to 60 s, so each test tells a whole story with one or a few of them. On a machine without vLLM all
//! of them are skipped; `scripts/test vllm` brings it. One vLLM runs at a time: two would starve each other, and every
//! other test beside them.

use crate::{
    engine_stage::{EngineStage, signal},
    support::{PROMPT, TEN_WORDS},
};
use fakes::{Canary, Exchange, Response, Vllm, alive, http::request_bytes, required, wait_until};
use rustix::{pipe::fcntl_setpipe_size, process::Signal};
use serde_json::Value;
use std::{
    env, fs,
    fs::File,
    io::Read,
    net::{SocketAddr, TcpListener},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// No start takes longer, even on a loaded machine: with four other jobs on two cores it was 90 s.
const START: Duration = Duration::from_mins(4);
/// What follows by itself within a second or two.
const SOON: Duration = Duration::from_secs(15);
/// The stages of a start in their order. Where two follow each other quickly, the first may not be seen.
const STAGES: [&str; 8] = [
    "starting vLLM",
    "reading the model's configuration",
    "starting the engine",
    "loading weights",
    "preparing memory",
    "warming up",
    "opening its endpoint",
    "ready after",
];
/// A prompt that the model answers for as long as it may: about 20 s.
const FOREVER: [&str; 5] = ["infer", "chat-prod", "[forever]", "--max-tokens", "8000"];
const SMALL: [&str; 5] = ["--enforce-eager", "--kv-cache-memory-bytes", "64M", "--max-num-seqs", "4"];
/// One process less, and no spinning for each other: on two cores the default layout stops everything else for
/// seconds while it answers.
const UNI: [&str; 2] = ["--distributed-executor-backend", "uni"];

/// How many processes a vLLM is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Its server and its engine.
    Uni,
    /// As it comes: a worker in a process of its own.
    Default,
}

/// The stage with the real vLLM as provider `laptop`.
struct Story {
    stage: EngineStage,
    venv: PathBuf,
    /// The next story begins when this one is over.
    _turn: File,
}

impl Story {
    /// None if this machine has no vLLM.
    fn new(more: &str) -> Option<Self> {
        Self::with(Layout::Uni, more, &SMALL)
    }

    fn with(layout: Layout, more: &str, args: &[&str]) -> Option<Self> {
        let venv = Vllm::venv()?;
        let turn = turn();
        let entry = entry(&venv, &Vllm::model(), layout, more, args);
        Some(Self { stage: EngineStage::new(&entry), venv, _turn: turn })
    }

    /// Declares the provider anew.
    fn declare(&self, model: &Path, more: &str, args: &[&str]) {
        self.stage.declare(&entry(&self.venv, model, Layout::Uni, more, args));
    }

    fn infer(&self) -> Asking {
        Asking::begin(&self.stage, &["infer", "chat-prod", PROMPT])
    }

    /// Asks and gets the ten words.
    fn answers(&self) -> Asked {
        let asked = self.infer().end(START);
        asked.assert_answered();
        asked
    }

    fn stop(&self, more: &[&str]) -> Asked {
        Asking::begin(&self.stage, &[&["providers", "stop"], more].concat()).end(START)
    }

    fn engine(&self) -> u32 {
        self.stage.pid_of("engine")
    }

    fn wait_for_phase(&self, phase: &str, limit: Duration) {
        wait_until(limit, phase, || self.stage.record()["state"]["phase"] == phase);
    }

    /// Everything that came of the last start.
    fn family(&self) -> Vec<u32> {
        family(&self.stage.record())
    }

    /// The process of vLLM that has given itself this name.
    fn named(&self, name: &str) -> u32 {
        let is_named = |pid: &u32| cmdline(*pid).starts_with(name.as_bytes());
        let found: Vec<_> = self.family().into_iter().filter(is_named).collect();
        assert_eq!(found.len(), 1, "processes called {name}: {found:?}");
        found[0]
    }

    fn ask_engine(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let endpoint = &self.stage.record()["endpoint"];
        let port = endpoint["tcp"].as_u64().map(|port| u16::try_from(port).unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], port.unwrap_or(80)));
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        let request = request_bytes(method, path, address, &headers, body.as_bytes());
        let exchange = match endpoint["unix"].as_str() {
            Some(socket) => Exchange::open_unix(Path::new(socket), &request),
            None => Exchange::open(address, &request),
        };
        exchange.expect("the engine answers").finish()
    }

    /// How many tokens of prompts the engine has ever got.
    fn prompt_tokens(&self) -> f64 {
        let metrics = self.ask_engine("GET", "/metrics", &[], "").text();
        let values = metrics.lines().filter(|line| line.starts_with("vllm:prompt_tokens_total"));
        let values: Vec<f64> = values.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(!values.is_empty(), "no such metric: {metrics}");
        values.iter().sum()
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        let record = self.stage.record();
        let stopped = self.stop(&["--all", "--now"]);
        let left: Vec<_> = family(&record).into_iter().map(|pid| (pid, text(&cmdline(pid)))).collect();
        if !thread::panicking() {
            assert_eq!(stopped.code, Some(0), "{stopped:?}");
            assert_eq!(left, [], "left by {stopped:?}");
        }
    }
}

/// Waits until no other test has a vLLM, in this process or another one.
fn turn() -> File {
    let program = env::current_exe().expect("a process knows its program");
    let folder = program.ancestors().nth(2).expect("it stands in a build folder");
    let file = File::create(folder.join("one-vllm-at-a-time")).expect("the build folder is writable");
    file.lock().expect("a lock");
    file
}

fn entry(venv: &Path, model: &Path, layout: Layout, more: &str, args: &[&str]) -> String {
    let uni = layout == Layout::Uni;
    let args = [if uni { &UNI[..] } else { &[] }, args].concat();
    let processes = if uni { "VLLM_ENABLE_V1_MULTIPROCESSING: \"0\", " } else { "" };
    let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "  - name: laptop\n    type: vllm-managed\n    failoverFor: chat-prod\n    model: {}\n    venvPath: {}\n    \
         env: {{ {processes}HF_HUB_OFFLINE: \"1\" }}\n    extraArgs: {args:?}\n{more}",
        model.display(),
        venv.display(),
    )
}

/// Everything that came of a start, found in other ways than mcpctl's: by its session, its mark or its output.
fn family(record: &Value) -> Vec<u32> {
    let session = record["engine"]["pid"].to_string();
    let mark = format!("MCPCTL_ENGINE={}", record["instance"].as_str().unwrap_or("none"));
    let pipe = format!("pipe:[{}]", record["pipe"]);
    let is_of = |pid: &u32| {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
        // After the name: state, parent, group, session.
        let its_session = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(3));
        let environment = fs::read(proc.join("environ")).unwrap_or_default();
        let writes = |fd| fs::read_link(proc.join(fd)).is_ok_and(|to| to == Path::new(&pipe));
        let is_marked = environment.split(|byte| *byte == 0).any(|it| it == mark.as_bytes());
        (its_session == Some(session.as_str()) || is_marked || writes("fd/1") || writes("fd/2"))
            && alive(*pid)
    };
    let entries = fs::read_dir("/proc").expect("there is a /proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_of).collect()
}

fn cmdline(pid: u32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn wait_until_gone(what: &str, record: &Value) {
    wait_until(SOON, what, || family(record).is_empty());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes that arrive from a child, collected by a thread.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Collected {
    fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                into.lock().unwrap().extend(&piece[..count]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        text(&self.bytes.lock().unwrap())
    }

    fn all(self) -> String {
        self.reader.join().expect("it only reads");
        text(&self.bytes.lock().unwrap())
    }
}

/// A command that runs.
struct Asking {
    child: Child,
    begun: Instant,
    /// Of which nobody reads on for now.
    held: Option<ChildStdout>,
    stdout: Option<Collected>,
    stderr: Collected,
}

impl Asking {
    fn begin(stage: &EngineStage, args: &[&str]) -> Self {
        let mut asking = Self::begin_held(stage, args);
        asking.stdout = asking.held.take().map(Collected::from);
        asking
    }

    /// A command whose answer nobody reads: it comes to a halt with its stream open.
    fn begin_held(stage: &EngineStage, args: &[&str]) -> Self {
        let mut command = stage.raw(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().expect("mcpctl can be run");
        let stdout = child.stdout.take().expect("a pipe");
        // Of a whole context that is a small part.
        fcntl_setpipe_size(&stdout, 4096).expect("the least size of a pipe");
        let stderr = Collected::from(child.stderr.take().expect("a pipe"));
        Self { child, begun, held: Some(stdout), stdout: None, stderr }
    }

    /// The answer of a held command has begun.
    fn wait_for_ticks(&mut self) {
        let mut ticks = [0; 9];
        let stdout = self.held.as_mut().expect("it is held");
        if let Err(error) = stdout.read_exact(&mut ticks) {
            panic!("no answer ({error}): {}", self.stderr.text());
        }
        assert_eq!(text(&ticks).trim_start().get(..4), Some("tick"));
    }

    fn wait_for_content(&mut self, words: &str) {
        let stdout = self.stdout.as_ref().expect("somebody reads");
        wait_until(START, words, || stdout.text().contains(words));
    }

    /// It has told of this stage or of a later one.
    fn wait_for_stage(&mut self, stage: &str) {
        let from = STAGES.iter().position(|it| *it == stage).expect("a stage");
        let (child, stderr) = (&mut self.child, &self.stderr);
        wait_until(START, stage, || {
            let lines = stderr.text();
            let told = STAGES[from..].iter().any(|stage| lines.contains(&format!("laptop: {stage}")));
            assert!(told || child.try_wait().unwrap().is_none(), "it ended before {stage}: {lines}");
            told
        });
    }

    /// Reads everything and waits for the end.
    fn end(mut self, limit: Duration) -> Asked {
        let stdout = self.stdout.take().or_else(|| self.held.take().map(Collected::from));
        let (deadline, begun) = (Instant::now() + limit, self.begun);
        let status = loop {
            match self.child.try_wait().expect("it is ours") {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    self.child.kill().expect("it is ours");
                    panic!("not within {limit:?}: {}", self.stderr.text());
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let took = begun.elapsed();
        let stdout = stdout.expect("it was piped").all();
        Asked { code: status.code(), signal: status.signal(), stdout, stderr: self.stderr.all(), took }
    }
}

/// A command that has ended.
#[derive(Debug)]
struct Asked {
    code: Option<i32>,
    signal: Option<i32>,
    stdout: String,
    stderr: String,
    /// Since it was begun.
    took: Duration,
}

impl Asked {
    fn assert_answered(&self) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(0), &*format!("{TEN_WORDS}\n")), "{self:?}");
    }

    /// It was cut in the middle of its answer.
    fn assert_cut(&self) {
        assert_eq!(self.code, Some(8), "{self:?}");
        assert!(self.stderr.contains("incomplete"), "{self:?}");
    }

    /// It told of a start from the beginning to the end, in the order of a start and nothing twice.
    fn assert_told_the_start(&self) {
        let lines = self.stderr.lines().filter_map(|line| line.strip_prefix("note: laptop: "));
        let place = |line: &str| STAGES.iter().position(|stage| line.starts_with(stage));
        let told: Vec<_> = lines.filter_map(place).collect();
        assert!(told.is_sorted_by(|a, b| a < b), "{}", self.stderr);
        assert!(told.len() > 2 && told.first() == Some(&0), "{}", self.stderr);
        assert_eq!(told.last(), Some(&(STAGES.len() - 1)), "{}", self.stderr);
    }
}

#[test]
fn e04_twenty_commands_start_one_vllm_that_is_kept_while_it_is_used_and_stops_when_it_is_not() {
    let idle = Duration::from_millis(4200);
    let Some(story) = Story::new("idleTimeoutMinutes: 0.07") else { return required("vLLM") };
    let crowd: Vec<_> = (0..20).map(|_| story.infer()).collect();
    let crowd: Vec<_> = crowd.into_iter().map(|asking| asking.end(START)).collect();
    crowd.iter().for_each(Asked::assert_answered);
    crowd.iter().for_each(Asked::assert_told_the_start);
    let first = &crowd[0];
    let (engine, record) = (story.engine(), story.stage.record());
    let second = story.answers();
    assert!(!second.stderr.contains("starting"), "{}", second.stderr);
    let (slow, quick) = (first.took, second.took);
    assert!(quick < slow / 5, "the first took {slow:?}, the second {quick:?}");

    // In use for longer than it may be idle: by the clock, because its speed depends on what else this machine does.
    let mut stream = Asking::begin(&story.stage, &FOREVER);
    stream.wait_for_content("tick");
    let open = Instant::now();
    wait_until(START, "more time than it may be idle", || open.elapsed() > idle + Duration::from_secs(2));
    assert!(stream.child.try_wait().unwrap().is_none(), "the stream was too short to show anything");
    assert_eq!(story.stage.record()["state"]["phase"], "ready", "it was stopped while a stream was open");
    assert_eq!((story.engine(), alive(engine)), (engine, true));
    signal(stream.child.id(), Signal::INT);
    assert_eq!(stream.end(SOON).signal, Some(Signal::INT.as_raw()));
    story.wait_for_phase("ended", idle + SOON);
    assert_eq!(family(&record), [0; 0]);
    let log = story.stage.log();
    assert_eq!((log.matches("mcpctl: starting").count(), log.matches("nobody used it").count()), (1, 1));
}

#[test]
fn e06_a_stop_ends_an_open_stream_within_its_limit() {
    let Some(story) = Story::new("") else { return required("vLLM") };
    let mut stream = Asking::begin_held(&story.stage, &FOREVER);
    stream.wait_for_ticks();
    let record = story.stage.record();
    let stop = story.stop(&["laptop", "--now"]);
    assert_eq!((stop.code, family(&record).len()), (Some(0), 0), "{stop:?}");
    assert!(stop.took < SOON, "{:?}", stop.took);
    stream.end(SOON).assert_cut();

    let mut stream = Asking::begin_held(&story.stage, &FOREVER);
    stream.wait_for_ticks();
    let record = story.stage.record();
    let stop = story.stop(&["laptop"]);
    assert_eq!((stop.code, family(&record).len()), (Some(0), 0), "{stop:?}");
    let drain = Duration::from_secs(30);
    assert!((drain..drain + SOON).contains(&stop.took), "{:?}", stop.took);
    stream.end(SOON).assert_cut();
}

#[test]
fn e06_a_leader_that_is_killed_leaves_nothing_and_the_next_command_starts_anew() {
    let Some(story) = Story::new("") else { return required("vLLM") };
    story.answers();
    let (first, record) = (story.engine(), story.stage.record());
    assert!(family(&record).len() > 1, "nothing could be orphaned");
    let sockets = PathBuf::from(record["scratch"].as_str().unwrap());
    assert!(fs::read_dir(&sockets).unwrap().count() > 0, "its processes talk by sockets that are elsewhere");
    signal(first, Signal::KILL);
    wait_until_gone("the collection of what the leader left", &record);
    wait_until(SOON, "the removal of its sockets", || !sockets.exists());
    let again = story.answers();
    assert!(again.stderr.contains("starting vLLM"), "{}", again.stderr);
    assert_ne!(story.engine(), first);
}

#[test]
fn e06_whichever_process_of_the_default_layout_is_killed_the_next_command_gets_its_answer() {
    let Some(story) = Story::with(Layout::Default, "", &SMALL) else { return required("vLLM") };
    // The leader: its engine and its worker would live on, and keep the memory.
    story.answers();
    let (engines, record) = (vec![story.engine()], story.stage.record());
    let orphans = [story.named("VLLM::EngineCore"), story.named("VLLM::Worker")];
    signal(story.engine(), Signal::KILL);
    wait_until_gone("the collection of orphans", &record);
    assert!(!orphans.into_iter().any(alive));

    // The engine: its server ends by itself a moment later, with exit code 0, and says 503 until then.
    story.answers();
    let engines = [engines, vec![story.engine()]].concat();
    signal(story.named("VLLM::EngineCore"), Signal::KILL);
    let again = story.answers();
    assert_eq!(again.stderr.matches("laptop: starting vLLM").count(), 1, "{}", again.stderr);
    assert!(!engines.contains(&story.engine()), "{engines:?}");

    // Leader and supervisor, so that nobody can collect: the next command finds what is left, renamed as it is.
    let record = story.stage.record();
    let orphans = [story.named("VLLM::EngineCore"), story.named("VLLM::Worker")];
    let supervisor = story.stage.pid_of("supervisor");
    signal(supervisor, Signal::STOP);
    signal(story.engine(), Signal::KILL);
    signal(supervisor, Signal::KILL);
    wait_until(SOON, "the end of the supervisor", || !alive(supervisor));
    assert!(orphans.into_iter().all(alive), "there was nothing to find");
    let status = Asking::begin(&story.stage, &["providers", "status", "laptop"]).end(SOON);
    assert!(status.stdout.contains("orphaned"), "{status:?}");
    story.answers();
    assert_eq!(family(&record), [0; 0]);
}

#[test]
fn g01_an_interrupted_command_and_a_stop_leave_no_vllm_that_loads() {
    let Some(story) = Story::new("") else { return required("vLLM") };
    let mut waiting = story.infer();
    waiting.wait_for_stage("reading the model's configuration");
    let record = story.stage.record();
    let stop = story.stop(&["laptop"]);
    assert_eq!((stop.code, family(&record).len()), (Some(0), 0), "{stop:?}");
    assert!(stop.took < SOON, "{:?}", stop.took);
    let stopped = waiting.end(SOON);
    assert_eq!((stopped.code, stopped.stdout.as_str()), (Some(7), ""), "{stopped:?}");
    assert!(stopped.stderr.contains("it was stopped"), "{stopped:?}");

    // From here on until it is ready vLLM hears no SIGTERM.
    let mut waiting = story.infer();
    waiting.wait_for_stage("starting the engine");
    let record = story.stage.record();
    assert!(family(&record).len() > 1, "the engine's process is not there");
    let begun = Instant::now();
    signal(waiting.child.id(), Signal::INT);
    let interrupted = waiting.end(SOON);
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?} to end", begun.elapsed());
    assert_eq!(interrupted.signal, Some(Signal::INT.as_raw()), "{interrupted:?}");
    wait_until_gone("the end of a start that nobody waits for", &record);
    story.wait_for_phase("ended", SOON);
    assert!(story.stage.log().contains("nobody waited for its start any more"), "{}", story.stage.log());
}

#[test]
fn p18_a_right_that_is_revoked_while_vllm_starts_keeps_the_prompt_from_it() {
    let Some(story) = Story::new("") else { return required("vLLM") };
    let mut asking = story.infer();
    asking.wait_for_stage("starting vLLM");
    story.stage.mcpd.delete_binding("dana-chat");
    let asked = asking.end(START);
    assert_eq!((asked.code, asked.stdout.as_str()), (Some(5), ""), "{asked:?}");
    assert!(asked.stderr.contains("ready after") && asked.stderr.contains("failover refused"), "{asked:?}");
    assert!(!story.stage.log().contains("POST /v1/chat/completions"), "{}", story.stage.log());
    assert!(story.prompt_tokens().abs() < 0.5, "the engine got a prompt");

    // The same engine, as soon as it is allowed again; and the counter counts.
    let engine = story.engine();
    let rights = [("view", "llms", Some("chat-prod")), ("run", "llms", Some("chat-prod"))];
    story.stage.mcpd.grant("dana-again", "dana@example.com", &rights);
    story.answers();
    assert_eq!(story.engine(), engine);
    assert!(story.prompt_tokens() > 0.5);
}

#[test]
fn k12_on_a_port_vllm_asks_for_a_key_that_nobody_can_read() {
    let Some(story) = Story::new("port: 0") else { return required("vLLM") };
    story.answers();
    let key = fs::read_to_string(story.stage.place().join("key")).unwrap();
    let supervisor = story.stage.pid_of("supervisor");
    let family = [story.family(), vec![supervisor]].concat();
    let seen: Vec<u8> = family.iter().flat_map(|pid| cmdline(*pid)).collect();
    assert!(text(&seen).contains("--port"), "the process list shows nothing: {}", text(&seen));
    let logs = Asking::begin(&story.stage, &["providers", "logs", "laptop"]).end(SOON);
    assert!(logs.stdout.contains("Starting vLLM server on http://127.0.0.1:"), "{}", logs.stdout);
    let (record, log) = (story.stage.record().to_string(), story.stage.log());
    let mut canary = Canary::new();
    canary.watch("the engine's key", key.trim());
    canary.sweep(
        &[],
        &[
            ("the process list", &seen),
            ("the log", log.as_bytes()),
            ("what providers logs shows", logs.stdout.as_bytes()),
            ("the record", record.as_bytes()),
        ],
    );
    let chat = r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":20}"#;
    let status =
        |headers: &[(&str, &str)]| story.ask_engine("POST", "/v1/chat/completions", headers, chat).status;
    let bearer = format!("Bearer {}", key.trim());
    assert_eq!(status(&[]), 401);
    assert_eq!(status(&[("authorization", "Bearer another")]), 401);
    assert_eq!(status(&[("authorization", &bearer)]), 200);
    assert_eq!(story.stop(&["laptop"]).code, Some(0));
    assert!(!story.stage.place().join("key").exists(), "the key of an engine that is gone");
}

#[test]
fn e07_what_can_be_known_before_is_told_before_vllm_starts() {
    let Some(story) = Story::new("") else { return required("vLLM") };
    let (model, taken) = (Vllm::model(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = taken.local_addr().unwrap().port();
    let empty = story.stage.dana.home().join("empty");
    fs::create_dir(&empty).unwrap();
    for (model, more, words) in [
        (Path::new("/nowhere/at/all"), String::new(), "there is no such folder"),
        (&empty, String::new(), "there is no config.json in this folder"),
        (&model, format!("port: {port}"), &*format!("port {port}")),
    ] {
        story.declare(model, &more, &SMALL);
        let asked = story.infer().end(START);
        assert_eq!(asked.code, Some(7), "{asked:?}");
        assert!(asked.stderr.contains(words), "{asked:?}");
        assert!(asked.took < Duration::from_secs(2), "{:?}", asked.took);
        assert_eq!((story.stage.record(), story.stage.log().as_str()), (Value::Null, ""), "it was started");
    }
}

#[test]
fn e07_why_vllm_did_not_start_is_told_in_its_own_words() {
    let Some(story) = Story::new("") else { return required("vLLM") };
    let model = Vllm::model();
    let unknown_flag = [&SMALL[..], &["--disable-log-requests"]].concat();
    let mut small_cache = SMALL;
    small_cache[2] = "64K";
    let broken = story.stage.dana.home().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("config.json"), "{ this is no JSON").unwrap();
    for (model, more, args, words) in [
        (
            &model,
            "",
            &unknown_flag[..],
            "it ended with exit code 2: vllm: error: unrecognized arguments: --disable-log-requests",
        ),
        (
            &model,
            "maxModelLen: 99999",
            &SMALL,
            "it ended with exit code 1: ModelConfig: User-specified max_model_len (99999) is greater than the derived",
        ),
        (
            &model,
            "",
            &small_cache,
            "it ended with exit code 1: ValueError: To serve at least one request with the model's max seq len (8192)",
        ),
        (&broken, "", &SMALL, "it ended with exit code 1: OSError: It looks like the config file at"),
    ] {
        story.declare(model, more, args);
        let asked = story.infer().end(START);
        assert_eq!((asked.code, asked.stdout.as_str()), (Some(7), ""), "{asked:?}");
        let told = format!("failover: provider \"laptop\" failed: vLLM did not start: {words}");
        assert!(asked.stderr.contains(&told), "{}", asked.stderr);
        assert!(!asked.stderr.contains("  File \""), "{}", asked.stderr);
        assert!(asked.stderr.contains("all of it: mcpctl providers logs laptop"), "{}", asked.stderr);
        assert_eq!(family(&story.stage.record()), [0; 0]);
    }
}
