//! An LLM as the registry knows it.

use crate::{FailoverPolicy, Labels, LlmId, LlmName, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the server reads the upstream's key. The key itself is never stored and never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum ApiKeyRef {
    /// The name of an environment variable of the server.
    Env(String),
    /// The absolute path of a file that the server can read.
    File(String),
}

fn enabled() -> bool {
    true
}

/// What an administrator says about an LLM: the body of `POST` and `PUT`, and the document `kind: Llm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LlmSpec {
    /// Its name, unique among the LLMs and not of the shape of an id. It cannot be changed.
    pub name: LlmName,
    /// Words by which you find it again, as with `get -l` and `apply --prune -l`. They grant nothing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What the upstream speaks, such as `openai`, `vllm` or `ollama`; all of them the `OpenAI` chat API.
    #[serde(rename = "type")]
    pub kind: String,
    /// The upstream's base, such as `http://10.0.0.5:8000/v1`. Another scheme, host or port drops the key reference,
    /// unless it is named anew by somebody who may use the key.
    pub url: String,
    /// The upstream's name for the model.
    pub model: String,
    /// Where the server reads the upstream's key. The key itself is never stored and never shown. To set it needs
    /// `run` on the resource `secrets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_ref: Option<ApiKeyRef>,
    /// Whether anybody can run it.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Whether a local provider may stand in when the server's way to the LLM is down.
    #[serde(default)]
    pub failover: FailoverPolicy,
    /// The context window, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
}

/// An LLM as the server shows it to one caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Llm {
    /// Given by the server, never re-used.
    pub id: LlmId,
    /// Its name, unique among the LLMs.
    pub name: LlmName,
    /// Words by which it is found again.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What the upstream speaks.
    #[serde(rename = "type")]
    pub kind: String,
    /// The upstream's base.
    pub url: String,
    /// The upstream's name for the model.
    pub model: String,
    /// Where the server reads the upstream's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_ref: Option<ApiKeyRef>,
    /// Whether anybody can run it.
    pub enabled: bool,
    /// Whether a local provider may stand in.
    pub failover: FailoverPolicy,
    /// The context window, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
    /// What this caller may do with it.
    #[serde(default)]
    pub verbs: Vec<Verb>,
    /// After a change only: what whoever made it should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
}

impl From<Llm> for LlmSpec {
    /// What an administrator would say to have it so.
    fn from(llm: Llm) -> Self {
        Self {
            name: llm.name,
            labels: llm.labels,
            display_name: llm.display_name,
            kind: llm.kind,
            url: llm.url,
            model: llm.model,
            api_key_ref: llm.api_key_ref,
            enabled: llm.enabled,
            failover: llm.failover,
            context_length: llm.context_length,
        }
    }
}

/// The answer of the list: only what the caller may view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LlmList {
    /// In the order of their names.
    pub items: Vec<Llm>,
}
