//! An entry as it is written: its keys, and which of them go with which type. The schema that editors use is made of
//! the same.

use mcp_api::LlmName;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// The words for the types.
pub(in crate::providers_file) const KINDS: &[&str] = &[OPENAI, VLLM, LLAMACPP];
pub(super) const OPENAI: &str = "openai";
pub(super) const VLLM: &str = "vllm-managed";
pub(super) const LLAMACPP: &str = "llamacpp-managed";

/// A name or a list of names.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`failoverFor` is a name or a list of names")]
pub(super) enum OneOrMany {
    One(#[schemars(with = "LlmName")] String),
    Many(#[schemars(with = "Vec<LlmName>")] Vec<String>),
}

/// A text, which YAML also takes without quotes: `A: 1`, `B: true`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used: the parser reads a text")]
enum Scalar {
    Text(String),
    Number(f64),
    Switch(bool),
}

/// Every key of every type, in the order of the documentation.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::providers_file) struct Raw {
    /// Its name, unique in the file.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$"))]
    pub(super) name: String,
    /// What it is. `openai`: an OpenAI-compatible endpoint that already runs (Ollama, LM Studio, llama.cpp, vLLM).
    /// `vllm-managed`, `llamacpp-managed`: an engine that mcpctl starts and stops.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = KINDS))]
    pub(super) kind: String,
    /// The LLMs at the server for which it stands in: a name, or a list of names.
    pub(super) failover_for: Option<OneOrMany>,
    /// The model. openai: the endpoint's own name for it. vllm-managed: a Hugging Face id, or a folder.
    /// llamacpp-managed: a GGUF file.
    #[schemars(regex(pattern = r"\S"))]
    pub(super) model: String,
    /// The virtual environment whose `bin/vllm` is run; without it, `vllm` from PATH.
    #[schemars(regex(pattern = "^[~/]"))]
    pub(super) venv_path: Option<PathBuf>,
    /// The share of the GPU's memory that vLLM takes; its own default is 0.92.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub(super) gpu_memory_utilization: Option<f64>,
    /// The context window in tokens; without it, the model's own.
    #[schemars(range(min = 1))]
    pub(super) max_model_len: Option<u32>,
    /// Minutes without a request after which the engine stops; 0 is never.
    #[schemars(range(min = 0, max = 525_600), extend("default" = 15))]
    pub(super) idle_timeout_minutes: Option<f64>,
    /// How long a start may go without progress, in seconds.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 600))]
    pub(super) start_timeout_seconds: Option<u64>,
    /// Absent: a Unix socket in a private folder. 0: a free TCP port. Else that port. On this machine only.
    pub(super) port: Option<u16>,
    /// Variables for the engine.
    #[schemars(with = "Option<BTreeMap<String, Scalar>>")]
    pub(super) env: Option<BTreeMap<String, String>>,
    /// Arguments for the engine, one an entry.
    #[schemars(with = "Option<Vec<Scalar>>")]
    pub(super) extra_args: Option<Vec<String>>,
    /// The program; without it, `llama-server` from PATH.
    #[schemars(regex(pattern = "^[~/]"))]
    pub(super) binary_path: Option<PathBuf>,
    /// The context window in tokens; without it, the model's own.
    #[schemars(range(min = 1))]
    pub(super) context_size: Option<u32>,
    /// Its base, the part before `/chat/completions`, such as `http://127.0.0.1:1234/v1`.
    #[schemars(regex(pattern = "^[Hh][Tt][Tt][Pp][Ss]?:"))]
    pub(super) url: Option<String>,
    /// The name of the environment variable that holds its key; never the key itself.
    #[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub(super) api_key_env: Option<String>,
    /// The file that holds its key; yours alone (`chmod 600`).
    #[schemars(regex(pattern = "^[~/]"))]
    pub(super) api_key_file: Option<PathBuf>,
    /// The URL is not on this machine: prompts leave it.
    #[schemars(extend("default" = false))]
    pub(super) remote: Option<bool>,
}

/// A key that belongs to some types only.
pub(in crate::providers_file) struct Key {
    /// As it is written.
    pub(in crate::providers_file) name: &'static str,
    /// Whether an entry has it.
    pub(super) is_given: fn(&Raw) -> bool,
    /// The types that take it.
    pub(in crate::providers_file) kinds: &'static [&'static str],
}

const fn key(name: &'static str, kinds: &'static [&'static str], is_given: fn(&Raw) -> bool) -> Key {
    Key { name, is_given, kinds }
}

const MANAGED: &[&str] = &[VLLM, LLAMACPP];

/// All that do not belong to every type.
pub(in crate::providers_file) const KEYS: &[Key] = &[
    key("venvPath", &[VLLM], |raw| raw.venv_path.is_some()),
    key("gpuMemoryUtilization", &[VLLM], |raw| raw.gpu_memory_utilization.is_some()),
    key("maxModelLen", &[VLLM], |raw| raw.max_model_len.is_some()),
    key("idleTimeoutMinutes", MANAGED, |raw| raw.idle_timeout_minutes.is_some()),
    key("startTimeoutSeconds", MANAGED, |raw| raw.start_timeout_seconds.is_some()),
    key("port", MANAGED, |raw| raw.port.is_some()),
    key("env", MANAGED, |raw| raw.env.is_some()),
    key("extraArgs", MANAGED, |raw| raw.extra_args.is_some()),
    key("binaryPath", &[LLAMACPP], |raw| raw.binary_path.is_some()),
    key("contextSize", &[LLAMACPP], |raw| raw.context_size.is_some()),
    key("url", &[OPENAI], |raw| raw.url.is_some()),
    key("apiKeyEnv", &[OPENAI], |raw| raw.api_key_env.is_some()),
    key("apiKeyFile", &[OPENAI], |raw| raw.api_key_file.is_some()),
    key("remote", &[OPENAI], |raw| raw.remote.is_some()),
];
