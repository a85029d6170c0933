//! OpenAI's SDK through mcpd with the real vLLM behind it. Alone on the machine: see `scripts/test vllm`.

use super::{WORDS, sdk::Sdk};
use crate::cases::USES_CHAT;
use fakes::{Exchange, Mcpd, Refusing, Vllm, http::request_bytes, required, wait_until};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use std::{
    fs::File,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// How long it may take to be ready: a minute on two cores, most of it for imports.
const START: Duration = Duration::from_mins(5);

/// One with the tiny model. All of its processes are killed when it is dropped.
struct Engine {
    server: Child,
    addr: SocketAddr,
    home: TempDir,
}

impl Engine {
    fn start(venv: &Path) -> Self {
        let home = TempDir::new().unwrap();
        let log = File::create(home.path().join("log")).unwrap();
        let addr = Refusing::new().addr();
        let mut command = Command::new(venv.join("bin/vllm"));
        command
            .arg("serve")
            .arg(Vllm::model())
            .args(["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", &addr.port().to_string()])
            .args(["--enforce-eager", "--kv-cache-memory-bytes", "64M", "--max-num-seqs", "4"])
            .args(["--distributed-executor-backend", "uni"])
            .args(["--enable-auto-tool-choice", "--tool-call-parser", "hermes"])
            // This model would write blanks for ever where a schema lets it.
            .args([
                "--structured-outputs-config",
                r#"{"backend": "xgrammar", "disable_any_whitespace": true}"#,
            ])
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs([("VLLM_NO_USAGE_STATS", "1"), ("VLLM_HOST_IP", "127.0.0.1"), ("HF_HUB_OFFLINE", "1")])
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        let mut engine = Self { server: command.spawn().unwrap(), addr, home };
        wait_until(START, "vLLM is ready", || {
            assert!(engine.server.try_wait().unwrap().is_none(), "vLLM ended:\n{}", engine.log());
            engine.is_ready()
        });
        engine
    }

    fn is_ready(&self) -> bool {
        let request = request_bytes("GET", "/health", self.addr, &[], b"");
        Exchange::open(self.addr, &request).is_ok_and(|answer| answer.status == 200)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.server);
        let _already_gone = kill_process_group(group, Signal::KILL);
        self.server.wait().unwrap();
    }
}

#[test]
fn openais_sdk_works_unchanged_with_the_real_vllm() {
    let Some(venv) = Vllm::venv() else { return required("vLLM") };
    let Some(sdk) = Sdk::new() else { return required("OpenAI SDK") };
    let engine = Engine::start(&venv);
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &format!("http://{}/v1", engine.addr));
    let dana = mcpd.user_with("dana", USES_CHAT);
    let call = json!({"name": "get_weather", "arguments": {"city": "Oslo"}});
    let stories = [
        ("chat", json!({"text": WORDS, "tokens": 12})),
        ("async_stream", json!({"text": WORDS})),
        (
            "tools",
            json!({"name": "get_weather", "arguments": {"city": "Oslo"}, "finish": "tool_calls",
                "text": "It rains in Oslo, so take an umbrella!"}),
        ),
        ("tools_stream", call),
        ("schema", json!({"answer": "yes"})),
        ("responses", json!({"text": WORDS})),
        ("responses_stream", json!({"text": WORDS, "last": "response.completed"})),
        ("models", json!({"ids": ["chat"]})),
    ];
    let names: Vec<_> = stories.iter().map(|(name, _)| *name).collect();
    for ((name, wanted), outcome) in stories.iter().zip(sdk.plays(&mcpd, &dana, "chat", &names)) {
        assert_eq!(outcome, *wanted, "{name}");
    }
    let others = sdk.plays(&mcpd, &dana, "chat", &["completion", "completion_stream", "embeddings"]);
    assert_eq!((&others[0]["tokens"], &others[0]["text"]), (&json!(4), &others[1]["text"]));
    // A model for chats has no vectors.
    assert_eq!(others[2]["code"], "upstream_unsupported", "{others:?}");
}
