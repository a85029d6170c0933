//! What a managed entry may say about its model, its arguments and its environment. Nothing here goes through a
//! shell; what is refused is what the engine would misread, or what would run other code than it seems.

use super::{Check, Managed, Raw, is_variable};
use crate::yaml::Problem;
use std::collections::BTreeMap;

/// Flags that mcpctl gives itself, with what to do instead.
type OwnFlags = &'static [(&'static str, &'static str)];

const ON_THIS_MACHINE: &str = "an engine listens on this machine only";
const KEY_PORT: &str = "use the key `port`; without it the engine has a Unix socket";
const KEY_MODEL: &str = "use the key `model`";
const RANDOM_NAME: &str = "each start has a random name, by which it is known to be ours";
const RANDOM_KEY: &str = "each start has a random key, which nobody has to know";

pub(super) const VLLM_FLAGS: OwnFlags = &[
    ("--host", ON_THIS_MACHINE),
    ("--port", KEY_PORT),
    ("--uds", KEY_PORT),
    ("--served-model-name", RANDOM_NAME),
    ("--api-key", RANDOM_KEY),
    ("--model", KEY_MODEL),
];
pub(super) const LLAMACPP_FLAGS: OwnFlags = &[
    ("--host", ON_THIS_MACHINE),
    ("--port", KEY_PORT),
    ("--alias", RANDOM_NAME),
    ("-a", RANDOM_NAME),
    ("--api-key", RANDOM_KEY),
    ("--api-key-file", RANDOM_KEY),
    ("--model", KEY_MODEL),
    ("-m", KEY_MODEL),
];

/// Variables that change which code a program runs, before its own first line.
const LOADERS: &[&str] =
    &["LD_PRELOAD", "LD_AUDIT", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT"];
const OWN_VARIABLES: &[&str] = &["VLLM_API_KEY", "LLAMA_API_KEY"];

const IDLE_MINUTES_MAX: f64 = 525_600.0;
const START_SECONDS_MAX: u64 = 86_400;

impl Check<'_> {
    /// What both kinds have.
    pub(super) fn managed(&mut self, raw: Raw, own_flags: OwnFlags) -> Managed {
        let idle_timeout_minutes = raw.idle_timeout_minutes.unwrap_or(15.0);
        if !(0.0..=IDLE_MINUTES_MAX).contains(&idle_timeout_minutes) {
            self.wrong("idleTimeoutMinutes", "minutes are from 0 (never) to 525600 (a year)");
        }
        let start_timeout_seconds = raw.start_timeout_seconds.unwrap_or(600);
        if !(1..=START_SECONDS_MAX).contains(&start_timeout_seconds) {
            self.wrong("startTimeoutSeconds", "seconds are from 1 to 86400 (a day)");
        }
        let (env, extra_args) = (raw.env.unwrap_or_default(), raw.extra_args.unwrap_or_default());
        self.env(&env);
        for (i, argument) in extra_args.iter().enumerate() {
            if let Some((message, label)) = wrong_argument(argument, i == 0, own_flags) {
                self.wrong_with_label(&format!("extraArgs[{i}]"), message, label);
            }
        }
        Managed { idle_timeout_minutes, start_timeout_seconds, port: raw.port, env, extra_args }
    }

    /// A folder or a Hugging Face id.
    pub(super) fn vllm_model(&mut self, model: &str) -> Option<String> {
        if model.starts_with(['/', '~']) {
            return self.model_path(model, "give an absolute path, or one that starts with ~/");
        }
        if model.starts_with("./") || model.starts_with("../") || matches!(model, "." | "..") {
            self.wrong_with_label(
                "model",
                "a relative path means something else in every folder",
                "give an absolute path, or one that starts with ~/",
            );
            return None;
        }
        if !is_model_id(model) {
            self.wrong_with_label(
                "model",
                "this is neither a Hugging Face id nor a path",
                "an id is like Qwen/Qwen3-8B; a path starts with / or ~/",
            );
            return None;
        }
        Some(model.to_owned())
    }

    /// A GGUF file.
    pub(super) fn gguf(&mut self, model: &str) -> Option<String> {
        self.model_path(model, "give the GGUF file's absolute path, or one that starts with ~/")
    }

    fn model_path(&mut self, model: &str, advice: &str) -> Option<String> {
        let full = self.full_path(model.as_ref()).and_then(|full| full.into_os_string().into_string().ok());
        if full.is_none() {
            self.wrong("model", advice);
        }
        full
    }

    fn env(&mut self, env: &BTreeMap<String, String>) {
        for (name, value) in env {
            let wrong = if !is_variable(name) {
                ("a name of a variable has letters, digits and _ only".into(), "")
            } else if LOADERS.contains(&name.as_str()) {
                (
                    format!("`{name}` changes which code the engine runs"),
                    "install what it needs beside it, such as in its venv",
                )
            } else if OWN_VARIABLES.contains(&name.as_str()) {
                (format!("mcpctl sets `{name}` itself"), RANDOM_KEY)
            } else if name.starts_with("MCPCTL_") {
                ("variables that begin with MCPCTL_ are mcpctl's own".into(), "leave it out")
            } else if value.contains('\0') {
                ("a value cannot hold a NUL".into(), "")
            } else {
                continue;
            };
            // A key such as `1` has no place of its own.
            let place = self.key(&format!("env.{name}")).max(self.key("env"));
            self.problems.push(Problem::new(place, wrong.0).with_label(wrong.1));
        }
    }
}

/// What is wrong with one argument; its value may be a secret in the wrong place, so it is not repeated.
fn wrong_argument(argument: &str, first: bool, own_flags: OwnFlags) -> Option<(String, &'static str)> {
    if argument.is_empty() {
        return Some(("an argument must not be empty".into(), "leave it out"));
    }
    if argument.contains(['\0', '\n', '\r']) {
        return Some(("an argument is one line".into(), "a folded or quoted text may hide a line break"));
    }
    if !argument.starts_with('-') {
        let wrong = || ("the first argument is a flag".into(), "it begins with -, such as --enforce-eager");
        return first.then(wrong);
    }
    let flag = argument.split('=').next().unwrap_or_default();
    let name = flag.split_whitespace().next().unwrap_or_default().replace('_', "-");
    if name == "--" {
        return Some(("a bare -- ends all flags".into(), "leave it out"));
    }
    // vLLM takes _ for -, and the beginning of a flag for the flag.
    let means = |own: &str| name == own || (name.starts_with("--") && own.starts_with(&name));
    if let Some((own, label)) = own_flags.iter().find(|(own, _)| means(own)) {
        return Some((format!("mcpctl sets `{own}` itself"), label));
    }
    let two = flag.starts_with("--") && flag.contains(char::is_whitespace);
    two.then(|| {
        ("a flag and its value in one".into(), r#"write it as two entries: ["--max-model-len", "4096"]"#)
    })
}

/// `org/name` or `name`, for a GGUF repository with `:` and the quantisation.
fn is_model_id(model: &str) -> bool {
    let (id, quantisation) = match model.split_once(':') {
        Some((id, quantisation)) => (id, Some(quantisation)),
        None => (model, None),
    };
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            && !part.contains("..")
    };
    id.split('/').count() <= 2 && id.split('/').chain(quantisation).all(is_part)
}
