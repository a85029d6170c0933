//! One entry of the provider file.

mod keys;
mod managed;

pub(super) use keys::{KEYS, KINDS, Raw};

use crate::{
    http,
    registry::Named,
    yaml::{self, Place, Places, Problem},
};
use keys::OneOrMany;
use mcp_api::{LlmName, name::check_name};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use url::Url;

/// The longest name or path of a model, in bytes. A report of a failover names it, and is to fit into what is kept of one
/// ([`crate::journal`]) however many of its characters have to be escaped there.
const MODEL_MAX: usize = 2048;

/// A provider, as far as it can be checked without touching anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Its name, unique in the file.
    pub name: String,
    /// The LLMs it stands in for.
    pub failover_for: Vec<LlmName>,
    /// Its own name for the model; for a managed engine also the absolute path of a file or folder.
    pub model: String,
    /// What it is and how it is reached.
    pub kind: Kind,
    /// The line of its entry.
    pub line: usize,
}

impl Named for Provider {
    fn name(&self) -> &str {
        &self.name
    }
}

/// What a provider is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// An OpenAI-compatible endpoint that already runs.
    OpenAi(OpenAi),
    /// A vLLM that mcpctl starts and stops.
    VllmManaged(Vllm),
    /// A `llama-server` that mcpctl starts and stops.
    LlamacppManaged(Llamacpp),
}

impl Kind {
    /// The word in the file.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::OpenAi(_) => keys::OPENAI,
            Self::VllmManaged(_) => keys::VLLM,
            Self::LlamacppManaged(_) => keys::LLAMACPP,
        }
    }
}

/// An endpoint that already runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAi {
    /// Its base, such as `http://127.0.0.1:1234/v1`.
    pub url: Url,
    /// Where its key comes from.
    pub api_key: Option<ApiKey>,
    /// Prompts leave this machine.
    pub remote: bool,
}

/// Where a provider's key comes from; never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKey {
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
}

/// What the managed engines have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Managed {
    /// Minutes without a request after which it stops; 0 is never.
    pub idle_timeout_minutes: f64,
    /// How long a start may go without progress, in seconds.
    pub start_timeout_seconds: u64,
    /// Absent: a Unix socket; 0: a free TCP port.
    pub port: Option<u16>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// Added to its command line.
    pub extra_args: Vec<String>,
}

/// A managed vLLM.
#[derive(Debug, Clone, PartialEq)]
pub struct Vllm {
    /// What all managed engines have.
    pub managed: Managed,
    /// The virtual environment whose `bin/vllm` is run; absent: `vllm` from PATH.
    pub venv: Option<PathBuf>,
    /// The share of GPU memory, 0 to 1.
    pub gpu_memory_utilization: Option<f64>,
    /// The context window, in tokens.
    pub max_model_len: Option<u32>,
}

/// A managed `llama-server`.
#[derive(Debug, Clone, PartialEq)]
pub struct Llamacpp {
    /// What all managed engines have.
    pub managed: Managed,
    /// The program; absent: `llama-server` from PATH.
    pub binary: Option<PathBuf>,
    /// The context window, in tokens.
    pub context_size: Option<u32>,
}

struct Check<'a> {
    path: &'a str,
    places: &'a Places,
    home: Option<&'a Path>,
    problems: Vec<Problem>,
}

/// Checks one entry; gives all of its problems.
pub(super) fn check(
    raw: Raw,
    path: &str,
    places: &Places,
    home: Option<&Path>,
) -> Result<Provider, Vec<Problem>> {
    let mut check = Check { path, places, home, problems: Vec::new() };
    if let Err(error) = check_name(&raw.name) {
        check.wrong("name", error.to_string());
    }
    let model = check.model(&raw);
    for key in KEYS.iter().filter(|key| (key.is_given)(&raw)) {
        if !key.kinds.contains(&raw.kind.as_str()) && KINDS.contains(&raw.kind.as_str()) {
            let message = format!("`{}` does not go with type {}", key.name, raw.kind);
            let problem = Problem::new(check.key(key.name), message);
            check.problems.push(problem.with_label(format!("it is for {}", key.kinds.join(" and "))));
        }
    }
    let failover_for = check.failover_for(raw.failover_for.as_ref());
    let (name, line) = (raw.name.clone(), places.value(path).line);
    match (check.kind(raw), model) {
        (Some(kind), Some(model)) if check.problems.is_empty() => {
            Ok(Provider { name, failover_for, model, kind, line })
        }
        _ => Err(check.problems),
    }
}

impl Check<'_> {
    fn value(&self, key: &str) -> Place {
        self.places.value(&format!("{}.{key}", self.path))
    }

    fn key(&self, key: &str) -> Place {
        self.places.key(&format!("{}.{key}", self.path))
    }

    fn wrong(&mut self, key: &str, message: impl Into<String>) {
        self.wrong_with_label(key, message, "");
    }

    fn wrong_with_label(&mut self, key: &str, message: impl Into<String>, label: &str) {
        let problem = Problem::new(self.value(key), message);
        self.problems.push(problem.with_label(label));
    }

    fn model(&mut self, raw: &Raw) -> Option<String> {
        if raw.model.trim().is_empty() {
            self.wrong("model", "a model must not be empty");
            return None;
        }
        if raw.model.len() > MODEL_MAX {
            self.wrong("model", format!("a model must not be longer than {MODEL_MAX} bytes"));
            return None;
        }
        match raw.kind.as_str() {
            "vllm-managed" => self.vllm_model(&raw.model),
            "llamacpp-managed" => self.gguf(&raw.model),
            _ => Some(raw.model.clone()),
        }
    }

    fn failover_for(&mut self, given: Option<&OneOrMany>) -> Vec<LlmName> {
        let (names, list) = match given {
            None => return Vec::new(),
            Some(OneOrMany::One(name)) => (std::slice::from_ref(name), false),
            Some(OneOrMany::Many(names)) => (&names[..], true),
        };
        let mut parsed = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let key = if list { format!("failoverFor[{i}]") } else { "failoverFor".into() };
            match name.parse::<LlmName>() {
                Ok(name) => parsed.push(name),
                Err(error) => self.wrong(&key, error.to_string()),
            }
        }
        parsed
    }

    fn kind(&mut self, raw: Raw) -> Option<Kind> {
        match raw.kind.as_str() {
            "openai" => self.openai(raw).map(Kind::OpenAi),
            "vllm-managed" => {
                let gpu_memory_utilization = raw.gpu_memory_utilization;
                if gpu_memory_utilization.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
                    self.wrong("gpuMemoryUtilization", "a share of memory is above 0 and at most 1");
                }
                let (venv, max_model_len) = (self.path("venvPath", raw.venv_path.clone()), raw.max_model_len);
                self.tokens("maxModelLen", max_model_len);
                let managed = self.managed(raw, managed::VLLM_FLAGS);
                Some(Kind::VllmManaged(Vllm { managed, venv, gpu_memory_utilization, max_model_len }))
            }
            "llamacpp-managed" => {
                let (binary, context_size) =
                    (self.path("binaryPath", raw.binary_path.clone()), raw.context_size);
                self.tokens("contextSize", context_size);
                let managed = self.managed(raw, managed::LLAMACPP_FLAGS);
                Some(Kind::LlamacppManaged(Llamacpp { managed, binary, context_size }))
            }
            other => {
                let label = match yaml::nearest(other, KINDS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("expected one of: {}", KINDS.join(", ")),
                };
                let problem = Problem::new(self.value("type"), format!("unknown type `{other}`"));
                self.problems.push(problem.with_label(label));
                None
            }
        }
    }

    fn tokens(&mut self, key: &str, tokens: Option<u32>) {
        if tokens == Some(0) {
            self.wrong(key, "a context window has at least 1 token");
        }
    }

    fn openai(&mut self, raw: Raw) -> Option<OpenAi> {
        let Some(text) = raw.url else {
            let problem = Problem::new(self.places.value(self.path), "a provider of type openai needs `url`");
            self.problems.push(problem.with_label("such as url: http://127.0.0.1:1234/v1"));
            return None;
        };
        let remote = raw.remote.unwrap_or(false);
        let url = self.url(&text, remote)?;
        let api_key = match (raw.api_key_env, raw.api_key_file) {
            (Some(_), Some(_)) => {
                self.wrong("apiKeyFile", "give `apiKeyEnv` or `apiKeyFile`, not both");
                None
            }
            // The value is not repeated: it may be a key that was put in the wrong place.
            (Some(name), None) if !is_variable(&name) => {
                self.wrong("apiKeyEnv", "this is the name of an environment variable, never the key itself");
                None
            }
            (Some(name), None) => Some(ApiKey::Env(name)),
            (None, Some(file)) => self.path("apiKeyFile", Some(file)).map(ApiKey::File),
            (None, None) => None,
        };
        Some(OpenAi { url, api_key, remote })
    }

    fn url(&mut self, text: &str, remote: bool) -> Option<Url> {
        let wrong = match Url::parse(text) {
            Err(error) => format!("not a URL: {error}"),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                "a URL here is http:// or https://".into()
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "a URL must not hold a password; use `apiKeyEnv` or `apiKeyFile`".into()
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                "a base URL has no ? and no #".into()
            }
            Ok(url) if !http::is_loopback(&url) && !remote => {
                let problem = Problem::new(self.value("url"), "this URL is not on this machine");
                self.problems.push(
                    problem
                        .with_label("prompts would leave it: say `remote: true` beside it if you mean that"),
                );
                return None;
            }
            Ok(url) => return Some(url),
        };
        self.wrong("url", wrong);
        None
    }

    /// Absolute, with `~` for the home folder: the file must mean the same from every folder.
    fn path(&mut self, key: &str, path: Option<PathBuf>) -> Option<PathBuf> {
        let full = self.full_path(&path?);
        if full.is_none() {
            self.wrong(key, "give an absolute path, or one that starts with ~/");
        }
        full
    }

    fn full_path(&self, path: &Path) -> Option<PathBuf> {
        let full = match (path.strip_prefix("~"), self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.to_owned(),
        };
        let plain = !full.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control);
        (full.is_absolute() && plain).then_some(full)
    }
}

fn is_variable(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}
