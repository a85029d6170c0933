//! The program that plays a managed engine: each fault on the real program.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a double that cannot be started fails the test"
)]

use fakes::{Exchange, FakeEngine, Hang, Refusing, Response, Worker, alive, http::request_bytes, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    net::{SocketAddr, TcpStream},
    ops::Deref,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

const TEN_WORDS: &str = "The tiny model answers with exactly these ten plain words.";
const SOON: Duration = Duration::from_secs(20);

/// An engine that was started on a port.
struct Running {
    engine: FakeEngine,
    child: Child,
    addr: SocketAddr,
    _port: Refusing,
}

impl Deref for Running {
    type Target = FakeEngine;

    fn deref(&self) -> &FakeEngine {
        &self.engine
    }
}

fn with_tcp(engine: &FakeEngine, addr: SocketAddr) -> Command {
    let mut command = command(engine);
    command.args(["--host", "127.0.0.1", "--port", &addr.port().to_string()]);
    command
}

fn command(engine: &FakeEngine) -> Command {
    let mut command = engine.command();
    if engine.program().ends_with("vllm") {
        command.arg("serve").arg(engine.model()).args(["--served-model-name", "tiny", "--enforce-eager"]);
    } else {
        command.arg("--model").arg(engine.model()).args(["--alias", "tiny", "--metrics", "--jinja"]);
    }
    let log = File::options().create(true).append(true).open(engine.notes().join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command
}

impl Running {
    fn start(engine: FakeEngine) -> Self {
        Self::start_with(engine, |command| command)
    }

    fn start_with(engine: FakeEngine, more: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let port = Refusing::new();
        let child = more(&mut with_tcp(&engine, port.addr())).spawn().unwrap();
        let running = Self { addr: port.addr(), engine, child, _port: port };
        assert_eq!(running.wait_for_starts(running.starts().len().max(1)), running.starts()[0]);
        running
    }

    fn ready(engine: FakeEngine) -> Self {
        let running = Self::start(engine);
        running.wait_until_ready();
        running
    }

    fn wait_until_ready(&self) {
        wait_until(SOON, "a ready engine", || {
            self.get("/v1/models").is_ok_and(|answer| answer.status == 200)
        });
    }

    /// Once more, on the same port.
    fn restart(&mut self) {
        let before = self.starts().len();
        self.child = with_tcp(&self.engine, self.addr).spawn().unwrap();
        assert_eq!(self.wait_for_starts(before + 1), self.child.id());
        self.wait_until_ready();
    }

    fn get(&self, path: &str) -> io::Result<Response> {
        Ok(Exchange::open(self.addr, &request_bytes("GET", path, self.addr, &[], b""))?.finish())
    }

    fn chat(&self, prompt: &str, stream: bool) -> io::Result<Exchange> {
        Exchange::open(self.addr, &self.question(prompt, stream))
    }

    fn question(&self, prompt: &str, stream: bool) -> Vec<u8> {
        let messages = json!([{"role": "user", "content": prompt}]);
        let body = json!({"model": "tiny", "stream": stream, "messages": messages}).to_string();
        request_bytes("POST", "/v1/chat/completions", self.addr, &[], body.as_bytes())
    }

    /// Sends a question, for an answer that will not come.
    fn ask(&self, prompt: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.addr).unwrap();
        io::Write::write_all(&mut socket, &self.question(prompt, true)).unwrap();
        socket
    }

    fn in_flight(&self, metric: &str) -> String {
        let text = self.get("/metrics").unwrap().text();
        let line = text.lines().find(|line| line.starts_with(metric)).expect("the metric exists");
        line.rsplit_once(' ').unwrap().1.to_owned()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.notes().join("log")).unwrap()
    }

    fn term(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

fn words_in(events: &[String]) -> String {
    let events = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    events
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(ToOwned::to_owned))
        .collect()
}

#[test]
fn both_engines_answer_like_real_ones() {
    for (engine, metric, none) in [
        (FakeEngine::vllm(), "vllm:num_requests_running", "0.0"),
        (FakeEngine::llama(), "llamacpp:requests_processing", "0"),
    ] {
        let running = Running::ready(engine);
        assert_eq!(running.get("/health").unwrap().status, 200);
        let models: Value = running.get("/v1/models").unwrap().json();
        assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("tiny")));
        assert_eq!(running.in_flight(metric), none);
        assert_eq!(words_in(&running.chat("hi", true).unwrap().finish().events()), TEN_WORDS);
        let whole: Value = running.chat("hi", false).unwrap().finish().json();
        assert_eq!(whole["choices"][0]["message"]["content"], TEN_WORDS);
        assert_eq!(running.chats().len(), 2);
        assert_eq!(running.chats()[0]["messages"][0]["content"], "hi");
    }
}

#[test]
fn a_unix_socket_serves_too_and_one_that_is_there_already_ends_the_start() {
    for (engine, option) in [(FakeEngine::vllm(), "--uds"), (FakeEngine::llama(), "--host")] {
        let socket = engine.notes().join("e.sock");
        let mut child = command(&engine).arg(option).arg(&socket).spawn().unwrap();
        let request = request_bytes("GET", "/health", ([127, 0, 0, 1], 1).into(), &[], b"");
        let ask = || Ok::<_, io::Error>(Exchange::open_unix(&socket, &request)?.finish().status);
        wait_until(SOON, "a ready engine", || ask().is_ok_and(|status| status == 200));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(socket.exists(), "a real one leaves its socket behind");
        let second = command(&engine).arg(option).arg(&socket).status().unwrap();
        assert_eq!(second.code(), Some(1));
    }
}

#[test]
fn a_gate_holds_the_start_and_each_engine_is_then_as_silent_as_it_really_is() {
    let vllm = Running::start(FakeEngine::vllm().gated());
    wait_until(SOON, "the last stage", || vllm.log().contains("init engine (profile"));
    assert_eq!(vllm.get("/health").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(!vllm.log().contains("Application startup complete."));
    vllm.open_gate();
    vllm.wait_until_ready();
    wait_until(SOON, "the log of the start", || vllm.log().contains("Application startup complete."));

    let llama = Running::start(FakeEngine::llama().gated());
    wait_until(SOON, "503", || llama.get("/health").is_ok_and(|answer| answer.status == 503));
    let refusal = llama.chat("hi", false).unwrap().finish();
    assert!(refusal.status == 503 && refusal.text().contains("Loading model"));
    llama.open_gate();
    llama.wait_until_ready();
    wait_until(SOON, "the log of the start", || llama.log().contains("listening on"));
}

#[test]
fn what_it_was_given_is_in_the_notes() {
    let running = Running::start_with(FakeEngine::vllm(), |c| c.env("MARK", "1").arg("--max-num-seqs=4"));
    assert_eq!(running.starts(), [running.child.id()]);
    assert_eq!(running.environment()["MARK"], "1");
    assert_eq!(running.argument("--served-model-name").as_deref(), Some("tiny"));
    assert!(running.arguments().contains(&"--max-num-seqs=4".to_owned()));
    assert!(fs::read_link(format!("/proc/{}/exe", running.child.id())).unwrap() == running.program());
    running.wait_until_ready();
    drop(running.ask("canary"));
    running.wait_for_chats(1);
    assert!(String::from_utf8_lossy(&running.requests()).contains("canary"));
}

#[test]
fn a_key_is_demanded_where_one_is_set() {
    for (engine, variable, metrics) in
        [(FakeEngine::vllm(), "VLLM_API_KEY", 200), (FakeEngine::llama(), "LLAMA_API_KEY", 401)]
    {
        let running = Running::start_with(engine.printing_key(), |c| c.env(variable, "k-1"));
        wait_until(SOON, "a ready engine", || running.get("/health").is_ok_and(|a| a.status == 200));
        assert_eq!(running.get("/v1/models").unwrap().status, 401);
        assert_eq!(running.get("/metrics").unwrap().status, metrics);
        assert_eq!(running.chat("hi", true).unwrap().finish().status, 401);
        let with_key = [("authorization", "Bearer k-1")];
        let request = request_bytes("GET", "/v1/models", running.addr, &with_key, b"");
        assert_eq!(Exchange::open(running.addr, &request).unwrap().finish().status, 200);
        assert_eq!(running.log().matches("k-1").count(), 1);
        let silent = Running::start_with(FakeEngine::vllm(), |c| c.env(variable, "k-1"));
        wait_until(SOON, "a ready engine", || silent.log().contains("Application startup complete."));
        assert!(!silent.log().contains("k-1"));
    }
}

#[test]
fn a_start_fails_when_it_was_told_to() {
    let mut at_once =
        Running::start(FakeEngine::vllm().failing_at_start(2, &["vllm serve: error: it's bad"]));
    assert_eq!(at_once.wait().code(), Some(2));
    assert_eq!(at_once.log(), "vllm serve: error: it's bad\n");

    let mut late =
        Running::start(FakeEngine::llama().gated().failing_after_stages(1, &["E no memory"]).once());
    assert!(alive(late.child.id()));
    late.open_gate();
    assert_eq!(late.wait().code(), Some(1));
    assert!(late.log().contains("loading model") && late.log().ends_with("E no memory\n"));
    late.restart();
}

#[test]
fn a_typo_in_the_settings_and_an_address_that_is_taken_end_it() {
    let engine = FakeEngine::vllm();
    let typo = command(&engine).args(["--uds", "/nowhere"]).env("FAKE_ENGINE", r#"{"fial":1}"#).status();
    assert!(!typo.unwrap().success());
    let peer = Running::ready(FakeEngine::llama());
    let mut second = with_tcp(&engine, peer.addr).spawn().unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(1));
    assert!(fs::read_to_string(engine.notes().join("log")).unwrap().contains("Address already in use"));
}

#[test]
fn a_file_ends_it_with_the_code_that_was_ordered() {
    let mut running = Running::ready(FakeEngine::vllm().exiting(7));
    running.tell_exit();
    assert_eq!(running.wait().code(), Some(7));
}

#[test]
fn it_never_gets_ready_and_chatters_or_not() {
    let chatting = Running::start(FakeEngine::llama().hanging(Hang::Load).chattering());
    wait_until(SOON, "chatter", || chatting.log().matches("still loading").count() > 1);
    assert_eq!(chatting.get("/health").unwrap().status, 503);
    let silent = Running::start(FakeEngine::llama().hanging(Hang::Load).quiet());
    wait_until(SOON, "503", || silent.get("/health").is_ok_and(|answer| answer.status == 503));
    assert_eq!(silent.log(), "");
}

#[test]
fn a_hanging_chat_is_counted_and_a_restart_cures_it() {
    let mut running = Running::ready(FakeEngine::vllm().hanging(Hang::Chat).once());
    let client = running.ask("hi");
    running.wait_for_chats(1);
    assert_eq!(running.get("/health").unwrap().status, 200);
    let metric = "vllm:num_requests_running";
    wait_until(SOON, "a chat in flight", || running.in_flight(metric) == "1.0");
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(client);
    wait_until(SOON, "none in flight", || running.in_flight(metric) == "0.0");

    running.child.kill().unwrap();
    running.wait();
    running.restart();
    assert_eq!(words_in(&running.chat("hi", true).unwrap().finish().events()), TEN_WORDS);
}

#[test]
fn health_hangs_or_gets_ill() {
    let hanging = Running::ready(FakeEngine::vllm().hanging(Hang::Health));
    let mut client = TcpStream::connect(hanging.addr).unwrap();
    io::Write::write_all(&mut client, &request_bytes("GET", "/health", hanging.addr, &[], b"")).unwrap();
    wait_until(SOON, "the request", || String::from_utf8_lossy(&hanging.requests()).contains("/health"));
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(hanging.chat("hi", true).unwrap().finish().status, 200);

    let ill = Running::ready(FakeEngine::vllm().health(503));
    assert_eq!(ill.get("/health").unwrap().status, 200);
    ill.break_health();
    assert_eq!(ill.get("/health").unwrap().status, 503);
}

#[test]
fn another_model_than_asked_for_may_be_served() {
    let running = Running::ready(FakeEngine::vllm().serving("other"));
    assert!(running.get("/v1/models").unwrap().text().contains(r#""id":"other""#));
    assert_eq!(running.chat("hi", false).unwrap().finish().status, 404);
}

#[test]
fn sigterm_ends_a_good_engine_with_its_workers_and_may_be_ignored() {
    let mut good = Running::ready(FakeEngine::vllm().worker(Worker::default()));
    good.term();
    assert_eq!(good.wait().code(), Some(0));
    assert_eq!(good.signals(), ["SIGTERM"]);
    let worker = good.workers()[0];
    wait_until(SOON, "the end of its worker", || !alive(worker));

    let mut deaf = Running::start(FakeEngine::vllm().gated().ignoring_term());
    deaf.term();
    wait_until(SOON, "the signal", || deaf.signals() == ["SIGTERM"]);
    deaf.open_gate();
    deaf.wait_until_ready();
    deaf.child.kill().unwrap();
    assert_eq!(deaf.wait().signal(), Some(9));
}

#[test]
fn sigterm_with_an_open_stream_may_hang_until_the_client_goes() {
    let mut running = Running::ready(FakeEngine::vllm().hanging_on_term_with_stream());
    let mut stream = running.chat("[forever]", true).unwrap();
    stream.read_until("tick");
    running.term();
    wait_until(SOON, "a closed port", || {
        running.get("/health").is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    running.term();
    wait_until(SOON, "both signals", || running.signals().len() == 2);
    assert!(alive(running.child.id()));
    drop(stream);
    assert_eq!(running.wait().code(), Some(0));
}

/// The numbers of its process group and its session. They are 0 in a container that joined those of a process outside,
/// so `getsid` is no way to ask: rustix takes 0 for a fault of the kernel and panics.
fn group_and_session(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    fields.split_ascii_whitespace().skip(2).take(2).map(str::to_owned).collect()
}

#[test]
fn workers_are_what_they_were_ordered_to_be_and_outlive_a_killed_leader() {
    let workers = [
        Worker::default(),
        Worker { setsid: true, ..Worker::default() },
        Worker { rename: true, ..Worker::default() },
        Worker { close_output: true, setsid: true, rename: true },
    ];
    let engine = workers.into_iter().fold(FakeEngine::vllm(), FakeEngine::worker);
    let mut running = Running::ready(engine);
    let pids = running.workers();
    let leader = running.child.id();
    for (pid, worker) in pids.iter().zip(workers) {
        let proc = format!("/proc/{pid}");
        let read = |name: &str| fs::read_to_string(Path::new(&proc).join(name)).unwrap();
        let same = group_and_session(*pid) == group_and_session(leader);
        assert_eq!(same, !worker.setsid, "{worker:?}");
        assert_eq!(read("cmdline") == "VLLM::EngineCore\0", worker.rename, "{worker:?}");
        assert_eq!(read("environ").is_empty(), worker.rename, "{worker:?}");
        let closed = fs::read_link(format!("{proc}/fd/2")).unwrap() == Path::new("/dev/null");
        assert_eq!(closed, worker.close_output, "{worker:?}");
    }
    running.child.kill().unwrap();
    running.wait();
    assert!(pids.iter().all(|pid| alive(*pid)));
    drop(running);
    wait_until(SOON, "the end of the workers", || !pids.iter().any(|pid| alive(*pid)));
}

#[test]
fn it_listens_everywhere_if_told() {
    let running = Running::ready(FakeEngine::vllm().listening_everywhere());
    let port = running.everywhere().unwrap();
    assert!(TcpStream::connect(("127.0.0.2", port)).is_ok());
}

#[test]
fn it_dies_in_the_middle_of_the_nth_answer() {
    let mut running = Running::ready(FakeEngine::vllm().dying_in_chat(2).once());
    assert!(running.chat("hi", true).unwrap().finish().complete);
    let cut = running.chat("hi", true).unwrap().finish();
    assert!(!cut.complete);
    assert_eq!(words_in(&cut.events()), "The tiny model");
    assert_eq!(running.wait().signal(), Some(9));
    running.restart();
    for _ in 0..2 {
        assert!(running.chat("hi", true).unwrap().finish().complete);
    }
}

#[test]
fn an_answer_that_has_begun_waits_in_its_middle_for_the_gate() {
    let running = Running::ready(FakeEngine::llama().pausing_in_chat());
    let mut stream = running.chat("hi", true).unwrap();
    let begun = stream.read_until("model");
    assert!(!begun.contains("answers"));
    assert_eq!(running.in_flight("llamacpp:requests_processing"), "1");
    running.open_chat_gate();
    let rest = stream.finish();
    assert!(rest.complete && rest.text().ends_with("data: [DONE]\n\n"));
}

#[test]
fn an_engine_whose_worker_was_killed_may_end_as_if_all_were_well() {
    let workers = FakeEngine::vllm().worker(Worker::default()).worker(Worker::default());
    let mut running = Running::ready(workers.ending_with_worker());
    let pids = running.workers();
    kill_process(Pid::from_raw(pids[1].cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(running.wait().code(), Some(0));
    wait_until(SOON, "the end of the other one", || !alive(pids[0]));
}

#[test]
fn a_chat_makes_as_much_noise_as_was_ordered() {
    let running = Running::ready(FakeEngine::llama().noisy(10_000));
    let before = running.log().len();
    assert!(running.chat("hi", true).unwrap().finish().complete);
    assert!((10_000..12_000).contains(&(running.log().len() - before)));
}

#[test]
fn the_entry_of_a_provider_file_carries_the_settings() {
    let engine = FakeEngine::llama().failing_at_start(1, &["it's broken"]);
    let entry = engine.provider("laptop", "chat-prod", "idleTimeoutMinutes: 0.02\nstartTimeoutSeconds: 5");
    let lines: Vec<_> = entry.lines().collect();
    assert_eq!(lines[..3], ["  - name: laptop", "    type: llamacpp-managed", "    failoverFor: chat-prod"]);
    assert_eq!(lines[4], format!("    binaryPath: {}", engine.program().display()));
    assert_eq!(lines[5..8], ["    idleTimeoutMinutes: 0.02", "    startTimeoutSeconds: 5", "    env:"]);
    assert!(lines[8].starts_with("      FAKE_ENGINE: '{") && lines[8].contains("it''s broken"));
    assert!(FakeEngine::vllm().provider("a", "b", "").contains("    venvPath: /"));
}

#[test]
fn nothing_is_left_when_it_goes() {
    let mut running = Running::ready(FakeEngine::vllm().ignoring_term());
    let stranger = Command::new("sleep").arg("60").spawn().unwrap();
    let (Running { engine, child, .. }, mut stranger) = (&mut running, stranger);
    let pid = child.id();
    drop(std::mem::replace(engine, FakeEngine::vllm()));
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(!alive(pid) && alive(stranger.id()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
