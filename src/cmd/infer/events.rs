//! `infer -o jsonl`: what happens, as it happens, one document a line.

use super::record::Record;
use crate::{
    chat::{ToolCall, Usage},
    render::{self, Document, Format},
};
use schemars::JsonSchema;
use serde::Serialize;
use std::io::{self, Write};

/// One thing that happened during an inference; `type` says what. The last line is either `end`, and then the answer
/// is complete, or a document of kind `Error`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum InferenceEvent<'a> {
    /// The question is complete; nobody has been asked yet.
    Start {
        /// The LLM, as it was asked for.
        llm: &'a str,
        /// The `x-request-id` of all calls of this run.
        request_id: &'a str,
    },
    /// Somebody was asked, and this is how that ended.
    Attempt(&'a Record),
    /// Who answers. Comes before the first piece of the answer.
    Answering(Answering<'a>),
    /// More of the text.
    Content {
        /// The piece; never empty.
        text: &'a str,
    },
    /// More of the model's reasoning.
    Reasoning {
        /// The piece; never empty.
        text: &'a str,
    },
    /// A call of a tool that the model asks for, complete.
    ToolCall(&'a ToolCall),
    /// The answer is complete.
    End(End<'a>),
}

/// Who gives an answer.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answering<'a> {
    /// A local provider answers in the server's place.
    pub(super) failover: bool,
    /// By which way the answer comes.
    pub(super) route: Way,
    /// The local provider; null if the server answers.
    pub(super) provider: Option<&'a str>,
}

impl<'a> Answering<'a> {
    /// A local provider, or without one the server.
    pub(super) fn of(provider: Option<&'a str>) -> Self {
        let route = if provider.is_some() { Way::Local } else { Way::Central };
        Self { failover: provider.is_some(), route, provider }
    }
}

/// By which way an answer comes.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Way {
    /// Through the server.
    Central,
    /// From a local provider.
    Local,
}

/// How a complete answer ended, and who gave it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct End<'a> {
    /// The LLM, as it was asked for.
    pub(super) llm: &'a str,
    #[serde(flatten)]
    pub(super) answering: Answering<'a>,
    /// The model that answered, as the server or the provider file calls it; null if nobody told.
    pub(super) model: Option<&'a str>,
    /// Why the model stopped: `stop`, `length`, `tool_calls`, `content_filter` or a word of the server's.
    pub(super) finish_reason: Option<&'a str>,
    /// Tokens in and out; null if nobody told.
    pub(super) usage: Option<Usage>,
    /// From the question to the end of the answer.
    pub(super) duration_ms: u64,
    /// From the question to the first piece of the answer; null if that is empty.
    pub(super) first_content_ms: Option<u64>,
    /// The `x-request-id` of all calls of this run.
    pub(super) request_id: &'a str,
}

impl Document for InferenceEvent<'_> {
    const KIND: &'static str = "InferenceEvent";
}

impl InferenceEvent<'_> {
    /// Writes it as a line that is out when this returns.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(render::document_text(&render::envelope(self), Format::Jsonl).as_bytes())?;
        out.flush()
    }
}
