//! A program that plays a managed engine, `vllm serve` or `llama-server`, and what a test sees of it.
//!
//! The test installs it in a folder of its own, tells it by the `env:` of a provider how to fail, and reads what it
//! noted. It serves what [`Engine`](crate::Engine) serves.
//!
//! ```no_run
//! let engine = fakes::FakeEngine::vllm().gated();
//! let file = format!("providers:\n{}", engine.provider("laptop", "chat-prod", "idleTimeoutMinutes: 0.02"));
//! // ... mcpctl starts it ...
//! let pid = engine.wait_for_start();
//! engine.open_gate();
//! assert_eq!(engine.environment()["HF_HUB_OFFLINE"], "1");
//! # drop(file);
//! assert!(fakes::alive(pid));
//! ```

mod command_line;
mod listener;
mod log;
mod notes;
mod observe;
mod orders;
mod processes;
mod program;
mod serve;
mod settings;
mod worker;

pub use processes::alive;
pub use program::play;
pub use settings::{Hang, Worker};

use crate::program::find;
use settings::{Settings, VARIABLE};
use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// An installed engine with its model, and all its faults to come. When it is dropped, so is every process of it.
pub struct FakeEngine {
    dir: TempDir,
    kind: Kind,
    settings: Settings,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Vllm,
    Llama,
}

impl FakeEngine {
    /// A virtual environment with `bin/vllm`, and the folder of a model.
    pub fn vllm() -> Self {
        Self::install(Kind::Vllm)
    }

    /// A `llama-server`, and a model in one file.
    pub fn llama() -> Self {
        Self::install(Kind::Llama)
    }

    fn install(kind: Kind) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let notes = dir.path().join("notes");
        let engine =
            Self { kind, settings: Settings { folder: Some(notes.clone()), ..Settings::default() }, dir };
        make_folder(&notes);
        match kind {
            Kind::Vllm => {
                let info = engine.venv().join("lib/python3.11/site-packages/vllm-0.32.0.dist-info");
                make_file(&info.join("METADATA"), b"Metadata-Version: 2.4\nName: vllm\nVersion: 0.32.0\n");
                make_file(&engine.venv().join("pyvenv.cfg"), b"version = 3.11.2\n");
                make_file(&engine.model().join("config.json"), br#"{"architectures": ["LlamaForCausalLM"]}"#);
            }
            Kind::Llama => make_file(&engine.model(), b"GGUF\x03\0\0\0"),
        }
        make_folder(engine.program().parent().expect("it stands in a folder"));
        copy_program(&engine.program());
        engine
    }

    /// The virtual environment: the `venvPath` of a provider.
    pub fn venv(&self) -> PathBuf {
        self.dir.path().join("venv")
    }

    /// The program: the `binaryPath` of a provider, where it is a `llama-server`.
    pub fn program(&self) -> PathBuf {
        match self.kind {
            Kind::Vllm => self.venv().join("bin/vllm"),
            Kind::Llama => self.dir.path().join("bin/llama-server"),
        }
    }

    /// The model: a folder, or a file.
    pub fn model(&self) -> PathBuf {
        self.dir.path().join(match self.kind {
            Kind::Vllm => "model",
            Kind::Llama => "model.gguf",
        })
    }

    /// An entry of a provider file, as it stands below `providers:`. `more` are lines of the entry, as many as wanted.
    pub fn provider(&self, name: &str, llm: &str, more: &str) -> String {
        let (kind, key, path) = match self.kind {
            Kind::Vllm => ("vllm-managed", "venvPath", self.venv()),
            Kind::Llama => ("llamacpp-managed", "binaryPath", self.program()),
        };
        let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
        format!(
            "  - name: {name}\n    type: {kind}\n    failoverFor: {llm}\n    model: {}\n    {key}: {}\n\
             {more}    env:\n      {VARIABLE}: '{}'\n",
            self.model().display(),
            path.display(),
            self.settings.json().replace('\'', "''"),
        )
    }

    /// The program with its settings and nothing else in its environment; the arguments are still to come.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command.env_clear().env(VARIABLE, self.settings.json());
        command
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        // First the program, so that nobody starts it once more.
        let _already_gone = fs::remove_file(self.program());
        processes::kill_all(&self.program());
    }
}

/// Not by this process: a child that another thread starts meanwhile would hold the copy open for writing, and nobody
/// could run it.
fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(find("mcp-fakes", "fake-engine")).arg(to).status();
    assert!(copied.expect("cp can be run").success(), "no copy at {}", to.display());
    set_mode(to, 0o755);
}

fn make_folder(path: &Path) {
    DirBuilder::new().recursive(true).mode(0o755).create(path).expect("the folder is writable");
}

fn make_file(path: &Path, bytes: &[u8]) {
    make_folder(path.parent().expect("a file stands in a folder"));
    fs::write(path, bytes).expect("the folder is writable");
    set_mode(path, 0o644);
}

/// The umask of whoever runs the tests must not matter.
fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the file is ours");
}
