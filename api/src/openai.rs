//! What `OpenAI`'s clients expect of a server, as far as mcpd says it itself: models, and how a stream of
//! `/v1/responses` ends that was cut. Everything else passes through.

use crate::{ErrorBody, ErrorCode, ErrorDetail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer of `GET /v1/models`: the LLMs that the caller may view and that are switched on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelList {
    /// Always `list`.
    pub object: String,
    /// In the order of their names.
    pub data: Vec<Model>,
}

impl ModelList {
    /// A list of these.
    #[must_use]
    pub fn new(data: Vec<Model>) -> Self {
        Self { object: "list".to_owned(), data }
    }
}

/// An LLM, as `OpenAI`'s clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Model {
    /// What requests name as `model`: the name of the LLM.
    pub id: String,
    /// Always `model`.
    pub object: String,
    /// When the LLM was described to this server, in seconds since 1970.
    pub created: i64,
    /// Always `mcpd`.
    pub owned_by: String,
    /// How many tokens prompt and answer may have together, if the administrator has said so. vLLM's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_model_len: Option<u32>,
}

/// The last event of a stream of `/v1/responses` that was cut: `event: error`.
///
/// It is said twice: on its top level as `OpenAI`'s protocol has it, and under `error` for its SDKs, which raise an
/// exception only for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseError {
    /// Always `error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// See [`ErrorCode`].
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: String,
    /// Always null: no parameter of the request is at fault.
    pub param: Option<String>,
    /// How many events came before it.
    pub sequence_number: u64,
    /// The error, as everywhere else.
    pub error: ErrorDetail,
}

impl ResponseError {
    /// The event that says `body` after so many others.
    #[must_use]
    pub fn new(ErrorBody { error }: ErrorBody, events_before: u64) -> Self {
        Self {
            kind: "error".to_owned(),
            code: error.code,
            message: error.message.clone(),
            param: None,
            sequence_number: events_before,
            error,
        }
    }
}
