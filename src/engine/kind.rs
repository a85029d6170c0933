//! What distinguishes the two engines, as data: everything else about their lives is the same.

use serde::{Deserialize, Serialize};

/// An engine that mcpctl can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// vLLM's `vllm serve`.
    Vllm,
    /// llama.cpp's `llama-server`.
    Llamacpp,
}

/// What is known of an engine.
#[derive(Debug)]
pub struct Traits {
    /// Its name in messages.
    pub title: &'static str,
    /// Its program on `PATH`.
    pub program: &'static str,
    /// The variable by which it takes the key of its API: a variable is not in the process list.
    pub key_variable: &'static str,
    /// What always stands in its environment unless the provider file says otherwise.
    pub environment: &'static [(&'static str, &'static str)],
    /// The variable by which it takes the folder for the sockets by which its processes talk to each other.
    pub scratch_variable: Option<&'static str>,
    /// A piece of a log line, and the stage that has begun when it appears. In the order of a start.
    pub stages: &'static [(&'static str, &'static str)],
    /// The metrics whose sum is the number of requests that it works on or that wait.
    pub busy: &'static [&'static str],
}

impl EngineKind {
    /// What is known of it. Log lines and metrics: vLLM 0.32.0 and llama.cpp build 11669, as they were seen.
    #[must_use]
    pub const fn traits(self) -> &'static Traits {
        match self {
            Self::Vllm => &Traits {
                title: "vLLM",
                program: "vllm",
                key_variable: "VLLM_API_KEY",
                // The second: where it has to name an address of this machine, even for itself, it takes loopback.
                environment: &[("VLLM_NO_USAGE_STATS", "1"), ("VLLM_HOST_IP", "127.0.0.1")],
                scratch_variable: Some("VLLM_RPC_BASE_PATH"),
                stages: &[
                    ("non-default args", "reading the model's configuration"),
                    ("Initializing a V1 LLM engine", "starting the engine"),
                    ("Starting to load model", "loading weights"),
                    ("Loading weights took", "preparing memory"),
                    ("for vLLM's torch.compile", "compiling"),
                    ("Capturing CUDA graphs", "capturing CUDA graphs"),
                    ("init engine (profile, create kv cache", "warming up"),
                    ("Starting vLLM server on", "opening its endpoint"),
                ],
                busy: &["vllm:num_requests_running", "vllm:num_requests_waiting"],
            },
            Self::Llamacpp => &Traits {
                title: "llama-server",
                program: "llama-server",
                key_variable: "LLAMA_API_KEY",
                environment: &[],
                scratch_variable: None,
                stages: &[("loading model", "loading weights"), ("model loaded", "opening its endpoint")],
                busy: &["llamacpp:requests_processing", "llamacpp:requests_deferred"],
            },
        }
    }

    /// The arguments that say where it listens and by which name it answers.
    #[must_use]
    pub fn endpoint_args(self, endpoint: &super::Endpoint, served: &str) -> Vec<String> {
        use super::Endpoint::{Tcp, Unix};
        let words: &[&str] = match (self, endpoint) {
            (Self::Vllm, Unix(path)) => &["--served-model-name", served, "--uds", &path.to_string_lossy()],
            (Self::Vllm, Tcp(port)) => {
                &["--served-model-name", served, "--host", "127.0.0.1", "--port", &port.to_string()]
            }
            // A host that ends with .sock is the path of a socket.
            (Self::Llamacpp, Unix(path)) => &["--alias", served, "--host", &path.to_string_lossy()],
            (Self::Llamacpp, Tcp(port)) => {
                &["--alias", served, "--host", "127.0.0.1", "--port", &port.to_string()]
            }
        };
        words.iter().map(ToString::to_string).collect()
    }
}
