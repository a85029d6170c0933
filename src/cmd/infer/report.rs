//! What is said about an answer, beside the answer.

use super::{
    Served,
    events::{Answering, End},
    outlet::Outlet,
    record::{Record, Target},
};
use crate::{
    chat::{Answer, ToolCall, Usage},
    failover::{CallFailure, PrimaryState},
    render::Document,
};
use mcp_api::LlmKey;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// A complete answer, and who gave it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inference<'a> {
    /// The LLM, as it was asked for.
    llm: &'a str,
    #[serde(flatten)]
    answering: Answering<'a>,
    /// The model that answered, as the server or the provider file calls it; null if nobody told.
    model: Option<&'a str>,
    /// The text.
    content: &'a str,
    /// The model's reasoning; null if there is none, or with `--reasoning hide`.
    reasoning: Option<&'a str>,
    /// The calls of tools that the model asks for.
    tool_calls: &'a [ToolCall],
    /// Why the model stopped: `stop`, `length`, `tool_calls`, `content_filter` or a word of the server's.
    finish_reason: Option<&'a str>,
    /// Tokens in and out; null if nobody told.
    usage: Option<Usage>,
    /// What was tried, in order.
    attempts: &'a [Record],
    /// The `x-request-id` of all calls of this run.
    request_id: &'a str,
}

impl Document for Inference<'_> {
    const KIND: &'static str = "Inference";
}

impl<'a> Inference<'a> {
    /// What `outlet` has kept, with everything about it.
    pub(super) fn new(
        llm: &'a LlmKey,
        served: &'a Served,
        outlet: &'a Outlet,
        records: &'a [Record],
        request_id: &'a str,
    ) -> Self {
        let answer: &Answer = &served.complete.answer;
        Self {
            llm: llm.as_str(),
            answering: served.answering(),
            model: served.model.as_deref(),
            content: outlet.content(),
            reasoning: outlet.reasoning(),
            tool_calls: &answer.tool_calls,
            finish_reason: answer.finish_reason.as_deref(),
            usage: answer.usage,
            attempts: records,
            request_id,
        }
    }
}

/// The last event of a complete answer.
pub(super) fn end<'a>(llm: &'a LlmKey, served: &'a Served, request_id: &'a str) -> End<'a> {
    let answer = &served.complete.answer;
    End {
        llm: llm.as_str(),
        answering: served.answering(),
        model: served.model.as_deref(),
        finish_reason: answer.finish_reason.as_deref(),
        usage: answer.usage,
        duration_ms: millis(served.took),
        first_content_ms: served.complete.first_content.map(millis),
        request_id,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a reader of a complete answer should know before relying on it.
pub(super) fn warning(answer: &Answer, finish_reason: &str, max_tokens: Option<u32>) -> Option<String> {
    match finish_reason {
        "stop" | "tool_calls" | "function_call" if answer.delivered == 0 => {
            Some("the answer is empty".into())
        }
        "stop" | "tool_calls" | "function_call" => None,
        "length" => {
            let limit =
                max_tokens.map_or("the limit of the model".into(), |max| format!("--max-tokens {max}"));
            Some(format!(
                "the answer reached {limit} and is truncated (finish_reason: length); --strict makes this exit 8"
            ))
        }
        "content_filter" => Some("a content filter cut the answer (finish_reason: content_filter)".into()),
        other => Some(format!("the answer ended for an unknown reason (finish_reason: {other})")),
    }
}

/// Who answered, with how many tokens, in which time.
pub(super) fn usage(llm: &LlmKey, served: &Served) -> String {
    let who = served
        .provider
        .as_ref()
        .map_or("central".into(), |provider| format!("local provider \"{provider}\""));
    let model = served.model.as_deref().unwrap_or("model not told");
    let tokens = served.complete.answer.usage.map_or(String::new(), |usage| {
        format!("{} tokens in, {} out, ", usage.prompt_tokens, usage.completion_tokens)
    });
    let first = served.complete.first_content.unwrap_or(served.took);
    let (first, total) = (first.as_secs_f64(), served.took.as_secs_f64());
    format!("{llm}, {who} ({model}), {tokens}first token {first:.2} s, total {total:.2} s")
}

/// What led to a failover, a line for each thing that was tried.
pub(super) fn told(record: &Record, cause: &CallFailure, llm: &LlmKey) -> Option<String> {
    let millis = record.took.as_millis();
    match record.target {
        Target::Central => {
            let maybe_executed = match cause.primary_state() {
                PrimaryState::Unknown => "; it may still carry out the request",
                PrimaryState::NotExecuted | PrimaryState::Partial => "",
            };
            Some(format!("{}{maybe_executed}", cause.told_of("central").after(record.took)))
        }
        Target::Probe => Some(format!("permission for \"{llm}\" confirmed by the server in {millis} ms")),
        Target::Provider(_) => None,
    }
}
