//! The parts of the OpenAI chat API that are read, as vLLM, llama-server and OpenAI write them.
//!
//! Everything is optional here; what must be there is decided in [`super::answer`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A chunk of a stream, or a whole completion: the two differ in `delta` and `message`.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk {
    pub(super) model: Option<String>,
    pub(super) choices: Option<Vec<Choice>>,
    /// Decoration: whatever it is, it makes no answer incomplete.
    pub(super) usage: Option<serde_json::Value>,
    pub(super) error: Option<WireError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    pub(super) index: Option<u32>,
    /// Of a stream.
    pub(super) delta: Option<Delta>,
    /// Of a whole completion.
    pub(super) message: Option<Delta>,
    pub(super) finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Delta {
    pub(super) content: Option<String>,
    /// What the model says instead of an answer that it will not give.
    pub(super) refusal: Option<String>,
    /// vLLM says this, others the next one, some say both.
    pub(super) reasoning: Option<String>,
    pub(super) reasoning_content: Option<String>,
    pub(super) tool_calls: Option<Vec<ToolCallDelta>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolCallDelta {
    pub(super) index: Option<usize>,
    pub(super) id: Option<String>,
    pub(super) function: Option<FunctionDelta>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionDelta {
    pub(super) name: Option<String>,
    pub(super) arguments: Option<String>,
}

/// How many tokens went in and came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all(serialize = "camelCase"))]
pub struct Usage {
    /// Tokens of the prompt.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    #[serde(default)]
    pub completion_tokens: u64,
}

/// `error` is an object, or (vLLM's 401) a plain string.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum WireError {
    Text(String),
    Object { message: Option<String>, code: Option<serde_json::Value> },
}

impl WireError {
    pub(super) fn message(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Object { message, .. } => message.as_deref(),
        }
    }

    pub(super) fn code(&self) -> Option<String> {
        match self {
            Self::Text(_) | Self::Object { code: None | Some(serde_json::Value::Null), .. } => None,
            Self::Object { code: Some(serde_json::Value::String(code)), .. } => Some(code.clone()),
            Self::Object { code: Some(other), .. } => Some(other.to_string()),
        }
    }

    pub(super) fn number(&self) -> Option<u16> {
        self.code().and_then(|code| code.parse().ok())
    }
}

/// The body of an error answer.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorDocument {
    pub(super) error: WireError,
}
