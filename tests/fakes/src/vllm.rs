//! The real vLLM, for stories that only it can tell. It runs on the CPU, with a tiny model whose answers are known.
//!
//! Nothing here starts it: that is what mcpctl does.

use crate::llama::repository;
use std::{env, path::PathBuf};

/// Where a real vLLM is.
#[derive(Debug)]
pub struct Vllm;

impl Vllm {
    /// Its virtual environment: `$VLLM_VENV`, which `scripts/test vllm` sets. It is not looked for: on a small machine
    /// it starves every test that runs beside it. None without that: see [`crate::required`].
    pub fn venv() -> Option<PathBuf> {
        env::var_os("VLLM_VENV").filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// The tiny model: it answers each plain question with the same ten words, and `[forever]` with ticks until its
    /// context of 8192 tokens is full.
    pub fn model() -> PathBuf {
        repository().join("tests/engine/models/tiny")
    }
}
