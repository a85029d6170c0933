//! The world in which the sessions of `docs/sessions.md` are played: a real mcpd with three LLMs, a real llama-server
//! behind it, and the home of dana, who has another one on her machine.

use crate::sessions::Told;
use fakes::{Engine, FakeEngine, Fault, LlamaServer, Mcpd};
use mcp_api::{FailoverPolicy, Subject, SubjectKind};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
};
use tempfile::TempDir;

/// What the pages call the server.
const SERVER: &str = "https://mcpd.example.com";
const DANA: &str = "dana@example.com";

pub(crate) struct World {
    mcpd: Mcpd,
    upstream: LlamaServer,
    /// A double that takes the place of the model server where an answer has to break off at a known byte.
    cutting: Engine,
    /// A double of vLLM that says what the real one says on a GPU that is too small.
    vllm: FakeEngine,
    home: TempDir,
}

impl World {
    /// As it is before a session begins. None if this machine has no `llama-server`.
    pub(crate) fn before(session: usize) -> Option<Self> {
        let upstream = LlamaServer::start_with(&["--alias", "gpt-5-mini"])?;
        let mcpd = Mcpd::start();
        for (name, model) in
            [("chat-prod", "gpt-5-mini"), ("code-prod", "qwen3-coder"), ("legal-review", "gpt-5")]
        {
            let mut spec = Mcpd::llm_spec(name, &upstream.url());
            model.clone_into(&mut spec.model);
            if name == "legal-review" {
                spec.failover = FailoverPolicy::Forbidden;
            }
            mcpd.create_llm_from(&spec);
        }
        mcpd.create_user(DANA);
        let run = |llm| ("run", "llms", Some(llm));
        mcpd.grant("dana-view", DANA, &[("view", "llms", None)]);
        mcpd.grant("dana-chat", DANA, &[run("chat-prod")]);
        mcpd.grant("dana-code", DANA, &[run("code-prod")]);
        let oom = "CUDA out of memory: tried to allocate 1.71 GiB";
        let world = Self {
            mcpd,
            upstream,
            cutting: Engine::builder().model("gpt-5-mini").start(),
            vllm: FakeEngine::vllm().failing_at_start(1, &[oom]),
            home: tempfile::tempdir().unwrap(),
        };
        world.furnish();
        if session > 1 {
            world.log_in();
        }
        Some(world)
    }

    /// Dana's home: her models, her provider file, and what she works on.
    fn furnish(&self) {
        let home = self.home.path();
        for folder in [".config/mcpctl", "models", "run"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        for folder in [".config", ".config/mcpctl", "run"] {
            fs::set_permissions(home.join(folder), fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::copy(LlamaServer::model(), home.join("models/qwen3-8b.gguf")).unwrap();
        symlink(self.vllm.model(), home.join("models/qwen3-coder")).unwrap();
        let subject = Subject { kind: SubjectKind::User, name: DANA.parse().unwrap() };
        let month = 30 * 24 * 3600 + 60;
        let token = self.mcpd.token_of(subject, Some(month));
        self.write("token.txt", &format!("{token}\n"));
        self.write("incident.md", "Two of six API nodes lost power at 09:12.\n");
        let model = self.vllm.model().display().to_string();
        let gpu_2 = self.vllm.provider("gpu-2", "code-prod", "").replace(&model, "~/models/qwen3-coder");
        let program = LlamaServer::program().unwrap();
        self.write(
            ".config/mcpctl/providers.yaml",
            &format!(
                "providers:\n  - name: qwen-box\n    type: llamacpp-managed\n    failoverFor: chat-prod\n    \
                 model: ~/models/qwen3-8b.gguf\n    binaryPath: {}\n{gpu_2}",
                program.display()
            ),
        );
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.home.path().join(path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn log_in(&self) {
        self.does(&format!("mcpctl config set-context prod --server {SERVER}"));
        self.does("mcpctl auth login --token-stdin < token.txt");
    }

    /// Types a line that works.
    fn does(&self, line: &str) {
        let told = self.types(line);
        assert_eq!(told.code, 0, "{}", told.err);
    }

    /// Who answers for `chat-prod` from now on.
    fn send_to(&self, url: &str) {
        self.mcpd.patch_llm("chat-prod", &serde_json::from_value(json!({ "url": url })).unwrap());
    }

    /// What a stage direction says.
    pub(crate) fn direct(&mut self, direction: &str) {
        match direction {
            "the model server behind mcpd dies; the engine of qwen-box runs" => {
                self.does("mcpctl providers start qwen-box");
                self.upstream.kill();
            }
            "the model server dies in the middle of an answer" => {
                self.cutting.set_fault(Fault::CutAfter(5));
                self.send_to(&self.cutting.url());
            }
            "the model server is back" => self.send_to(&self.upstream.url()),
            "mcpd is down" => {
                self.mcpd.kill();
            }
            "the right to run code-prod is taken away" => self.mcpd.delete_binding("dana-code"),
            "somebody writes failoverfor into the provider file" => {
                let path = self.home.path().join(".config/mcpctl/providers.yaml");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(path, text.replacen("failoverFor", "failoverfor", 1)).unwrap();
            }
            other => panic!("nobody knows how to play: {other}"),
        }
    }

    /// Dana types a line.
    pub(crate) fn types(&self, line: &str) -> Told {
        let programs = PathBuf::from(env!("CARGO_BIN_EXE_mcpctl"));
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", programs.parent().unwrap().display());
        let line = line.replace(SERVER, &self.mcpd.url());
        let done = Command::new("timeout")
            .args(["60", "bash", "-o", "pipefail", "-c", &line])
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home.path())
            .env("XDG_RUNTIME_DIR", self.home.path().join("run"))
            .env("USER", "dana")
            .current_dir(self.home.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let (out, err) = (self.page(&done.stdout), self.page(&done.stderr));
        Told { out, err, code: done.status.code().expect("it ends by itself") }
    }

    /// What was printed, with the names that the pages use.
    fn page(&self, text: &[u8]) -> String {
        let text = String::from_utf8_lossy(text);
        let (url, addr) = (self.mcpd.url(), self.mcpd.addr().to_string());
        let home = self.home.path().to_str().unwrap();
        aligned(&text.replace(&url, SERVER).replace(&addr, "mcpd.example.com:443").replace(home, "~"))
    }
}

/// Tables whose cells have got shorter, with their columns under their titles again.
fn aligned(text: &str) -> String {
    let is_title =
        |line: &str| line.contains("  ") && line.chars().all(|c| c.is_ascii_uppercase() || c == ' ');
    if !text.lines().next().is_some_and(is_title) {
        return text.to_owned();
    }
    let cells = |line: &'_ str| -> Vec<String> {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let rows: Vec<_> = text.lines().map(cells).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let line = |row: &Vec<String>| {
        let padded = row.iter().enumerate().map(|(column, cell)| format!("{cell:0$}  ", width(column)));
        format!("{}\n", padded.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}

impl Drop for World {
    fn drop(&mut self) {
        let told = self.types("mcpctl providers stop --all --now");
        if !std::thread::panicking() {
            assert_eq!(told.code, 0, "{}", told.err);
        }
    }
}
