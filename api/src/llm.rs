//! An LLM as the registry knows it.

use crate::{FailoverPolicy, LlmId, LlmName, Verb};
use serde::{Deserialize, Serialize};

/// Where the server reads the upstream's key. The key itself is never stored and never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum ApiKeyRef {
    /// An environment variable of the server.
    Env(String),
    /// A file that the server can read.
    File(String),
}

fn enabled() -> bool {
    true
}

/// What an administrator says about an LLM: the body of `POST` and `PUT`, and the document `kind: Llm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LlmSpec {
    /// Its name, unique.
    pub name: LlmName,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What the upstream speaks, such as `openai`, `vllm` or `ollama`; all of them the `OpenAI` chat API.
    #[serde(rename = "type")]
    pub kind: String,
    /// The upstream's base, such as `http://10.0.0.5:8000/v1`.
    pub url: String,
    /// The upstream's name for the model.
    pub model: String,
    /// Where its key comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_ref: Option<ApiKeyRef>,
    /// Off means that nobody can run it.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Whether a local provider may stand in.
    #[serde(default)]
    pub failover: FailoverPolicy,
    /// The context window, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
}

/// A partial change: the body of `PATCH`. Absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LlmPatch {
    /// See [`LlmSpec::display_name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// See [`LlmSpec::kind`].
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// See [`LlmSpec::url`]. Another scheme, host or port drops the key reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// See [`LlmSpec::model`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// See [`LlmSpec::api_key_ref`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_ref: Option<ApiKeyRef>,
    /// See [`LlmSpec::enabled`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// See [`LlmSpec::failover`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<FailoverPolicy>,
    /// See [`LlmSpec::context_length`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
}

/// An LLM as the server shows it to one caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Llm {
    /// Given by the server, never re-used.
    pub id: LlmId,
    /// See [`LlmSpec`] for the fields that an administrator sets.
    pub name: LlmName,
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
    /// Where its key comes from.
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
    /// Of the answer to `POST` only: what the caller should know about what was just made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
}

/// The answer of the list: only what the caller may view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LlmList {
    /// In the order of their names.
    pub items: Vec<Llm>,
}
