//! What is said about an answer, beside the answer.

use super::{
    Served,
    failure::{Record, Target},
    sinks::DocumentSink,
};
use crate::{
    chat::Answer,
    failover::{CallFailure, PrimaryState},
    render,
};
use mcp_api::LlmKey;
use serde_json::{Value, json};
use std::time::Duration;

/// The answer as a document.
pub(super) fn document(
    llm: &LlmKey,
    served: &Served,
    sink: &DocumentSink,
    records: &[Record],
    request_id: &str,
) -> Value {
    let answer: &Answer = &served.complete.answer;
    let failover = served.provider.is_some();
    let content = json!({
        "llm": llm.as_str(),
        "failover": failover,
        "route": if failover { "local" } else { "central" },
        "provider": served.provider,
        "model": served.model,
        "content": sink.content,
        "reasoning": (!sink.reasoning.is_empty()).then_some(&sink.reasoning),
        "toolCalls": answer.tool_calls,
        "finishReason": answer.finish_reason,
        "usage": answer.usage,
        "attempts": records,
        "requestId": request_id,
    });
    render::document("Inference", content)
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
            Some(format!("{} after {}{maybe_executed}", cause.told_of("central"), seconds(record.took)))
        }
        Target::Probe => Some(format!("permission for \"{llm}\" confirmed by the server in {millis} ms")),
        Target::Provider(_) => None,
    }
}

/// `0.4 s`.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
