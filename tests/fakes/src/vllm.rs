//! The real vLLM, for stories that only it can tell. It runs on the CPU, with a tiny model whose answers are known.
//!
//! Nothing here starts it: that is what mcpctl does.

use crate::llama::repository;
use std::{env, path::PathBuf};

/// Where a real vLLM is.
#[derive(Debug)]
pub struct Vllm;

impl Vllm {
    /// Its virtual environment: `$VLLM_VENV`, else the one that `scripts/install-vllm-cpu` made in the project. None
    /// if this machine has none: see [`crate::required`].
    pub fn venv() -> Option<PathBuf> {
        let installed = repository().join(".tools/vllm");
        // Half an installation would only be noticed by a start that fails.
        let is_whole = |venv: &PathBuf| {
            let mut files = venv.read_dir().into_iter().flatten().flatten();
            files.any(|file| file.file_name().to_string_lossy().starts_with(".complete-"))
        };
        let given = env::var_os("VLLM_VENV").filter(|path| !path.is_empty());
        given.map(PathBuf::from).or_else(|| Some(installed).filter(is_whole))
    }

    /// The tiny model: it answers each plain question with the same ten words, and `[forever]` with ticks until its
    /// context of 8192 tokens is full.
    pub fn model() -> PathBuf {
        repository().join("tests/engine/models/tiny")
    }
}
