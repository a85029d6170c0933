//! An entry of the provider file, as commands show it.

use crate::{
    http,
    providers_file::{ApiKey, Kind, Managed, Provider},
    render::Document,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// Prompts leave this machine.
pub(super) fn is_remote(provider: &Provider) -> bool {
    match &provider.kind {
        Kind::OpenAi(spec) => !http::is_loopback(&spec.url),
        Kind::VllmManaged(_) | Kind::LlamacppManaged(_) => false,
    }
}

/// Where it is reached, as declared.
pub(super) fn endpoint(provider: &Provider) -> String {
    match &provider.kind {
        Kind::OpenAi(spec) if is_remote(provider) => {
            format!("{} (remote: prompts leave this machine)", spec.url)
        }
        Kind::OpenAi(spec) => spec.url.to_string(),
        Kind::VllmManaged(spec) => managed_endpoint(&spec.managed),
        Kind::LlamacppManaged(spec) => managed_endpoint(&spec.managed),
    }
}

fn managed_endpoint(managed: &Managed) -> String {
    match managed.port {
        None => "unix socket".into(),
        Some(0) => "a free port of 127.0.0.1".into(),
        Some(port) => format!("127.0.0.1:{port}"),
    }
}

/// A provider as the file declares it. Values of its environment are left out: they may be secrets.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cmd) struct ProviderDocument {
    /// Its name, unique in the file.
    name: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// The model that it is asked for.
    model: String,
    /// The LLMs it stands in for.
    failover_for: Vec<String>,
    /// The line of the file where it begins, from 1 on.
    line: usize,
    #[serde(flatten)]
    more: More,
}

impl Document for ProviderDocument {
    const KIND: &'static str = "Provider";
}

/// What only providers of one type have.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum More {
    OpenAi(OpenAiMore),
    Vllm(VllmMore),
    Llamacpp(LlamacppMore),
}

/// An endpoint that already runs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OpenAiMore {
    /// Its base URL.
    url: String,
    /// It is on another machine: prompts leave this one.
    remote: bool,
    /// Where its key is.
    api_key: Option<KeyPlace>,
}

/// Where a key is; never the key itself.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum KeyPlace {
    /// In this variable.
    Env(String),
    /// In this file.
    File(PathBuf),
}

/// A vLLM that mcpctl starts and stops.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct VllmMore {
    #[serde(flatten)]
    managed: ManagedMore,
    /// The virtual environment whose `bin/vllm` is run; null: `vllm` from `PATH`.
    venv_path: Option<PathBuf>,
    /// The share of the GPU's memory that it takes; null: vLLM's own default.
    gpu_memory_utilization: Option<f64>,
    /// The context window in tokens; null: the model's own.
    max_model_len: Option<u32>,
}

/// A llama-server that mcpctl starts and stops.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LlamacppMore {
    #[serde(flatten)]
    managed: ManagedMore,
    /// The program; null: `llama-server` from `PATH`.
    binary_path: Option<PathBuf>,
    /// The context window in tokens; null: the model's own.
    context_size: Option<u32>,
}

/// What both engines have.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ManagedMore {
    /// Minutes without a request after which it stops; 0: never.
    idle_timeout_minutes: f64,
    /// For how many seconds a start may show no progress.
    start_timeout_seconds: u64,
    /// Where it listens, in words.
    endpoint: String,
    /// The names of the variables that it is given.
    env: Vec<String>,
    /// How many further arguments it is given.
    extra_args: usize,
}

impl ProviderDocument {
    pub(super) fn of(provider: &Provider) -> Self {
        Self {
            name: provider.name.clone(),
            kind: provider.kind.as_str().into(),
            model: provider.model.clone(),
            failover_for: provider.failover_for.iter().map(ToString::to_string).collect(),
            line: provider.line,
            more: match &provider.kind {
                Kind::OpenAi(spec) => More::OpenAi(OpenAiMore {
                    url: spec.url.to_string(),
                    remote: is_remote(provider),
                    api_key: spec.api_key.as_ref().map(|key| match key {
                        ApiKey::Env(name) => KeyPlace::Env(name.clone()),
                        ApiKey::File(path) => KeyPlace::File(path.clone()),
                    }),
                }),
                Kind::VllmManaged(spec) => More::Vllm(VllmMore {
                    managed: ManagedMore::of(&spec.managed),
                    venv_path: spec.venv.clone(),
                    gpu_memory_utilization: spec.gpu_memory_utilization,
                    max_model_len: spec.max_model_len,
                }),
                Kind::LlamacppManaged(spec) => More::Llamacpp(LlamacppMore {
                    managed: ManagedMore::of(&spec.managed),
                    binary_path: spec.binary.clone(),
                    context_size: spec.context_size,
                }),
            },
        }
    }
}

impl ManagedMore {
    fn of(managed: &Managed) -> Self {
        Self {
            idle_timeout_minutes: managed.idle_timeout_minutes,
            start_timeout_seconds: managed.start_timeout_seconds,
            endpoint: managed_endpoint(managed),
            env: managed.env.keys().cloned().collect(),
            extra_args: managed.extra_args.len(),
        }
    }
}
