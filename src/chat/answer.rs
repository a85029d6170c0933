//! When an answer is complete: a `finish_reason` was seen, `[DONE]` arrived, and no `error` event came.
//!
//! No I/O here: the pieces are fed in, what they mean comes out.

use super::wire::{Chunk, Delta, ToolCallDelta, Usage};
use crate::{failover::Fault, sabotage, sse::Event};
use schemars::JsonSchema;
use serde::Serialize;

/// The largest number of parallel tool calls that is believed.
const TOOL_CALLS_MAX: usize = 256;
/// The largest size of all tool calls together, in bytes.
const TOOL_CALL_BYTES_MAX: usize = 4 << 20;
/// Reasons to end by which an engine says that it gave up.
const GAVE_UP: &[&str] = &["abort", "error"];

/// Reasons to end after which a call of a tool is whole.
const ENDS_OF_CALLS: &[&str] = &["stop", "tool_calls", "function_call"];

/// One call of a tool that the model asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ToolCall {
    /// The call's id.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// Its arguments: JSON as text, as the model wrote it.
    pub arguments: String,
}

/// What is known of an answer beside its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The model that the server says has answered.
    pub model: Option<String>,
    /// Why it ended.
    pub finish_reason: Option<String>,
    /// Tokens in and out.
    pub usage: Option<Usage>,
    /// Calls of tools.
    pub tool_calls: Vec<ToolCall>,
    /// Bytes of content, reasoning and tool calls so far.
    pub delivered: u64,
    /// Those of reasoning among them.
    pub reasoned: u64,
}

/// What one piece says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// More of the text.
    pub content: Option<String>,
    /// More of the reasoning.
    pub reasoning: Option<String>,
}

impl Answer {
    /// Takes one event. `Ok(None)` is `[DONE]`.
    pub fn take_event(&mut self, event: &Event) -> Result<Option<Piece>, Fault> {
        if event.data.trim() == "[DONE]" {
            return Ok(None);
        }
        match self.take_json(&event.data) {
            Ok(_) | Err(Fault::Unparsable(_)) if event.is_error => {
                Err(Fault::ErrorEvent { code: None, message: event.data.clone() })
            }
            taken => taken.map(Some),
        }
    }

    /// How far the answer has come; what leaves it unchanged brought nothing.
    #[must_use]
    pub fn progress(&self) -> (u64, bool, bool) {
        (self.delivered, self.finish_reason.is_some(), self.usage.is_some())
    }

    /// Takes a chunk, or a whole completion.
    pub fn take_json(&mut self, text: &str) -> Result<Piece, Fault> {
        let chunk: Chunk =
            serde_json::from_str(text).map_err(|error| Fault::Unparsable(error.to_string()))?;
        if let Some(error) = chunk.error {
            let message = error.message().unwrap_or("no text").to_owned();
            return Err(Fault::ErrorEvent { code: error.number(), message });
        }
        self.model = chunk.model.or(self.model.take());
        self.usage = chunk.usage.and_then(|usage| serde_json::from_value(usage).ok()).or(self.usage);
        // With `n` > 1 the first choice is the answer; the others would be mixed into it.
        let mut choices = chunk.choices.into_iter().flatten();
        let Some(choice) = choices.find(|choice| choice.index.unwrap_or(0) == 0) else {
            return Ok(Piece::default());
        };
        // Some servers write an empty reason on every chunk.
        let reason = choice.finish_reason.filter(|reason| !reason.is_empty());
        let piece = self.take_delta(choice.delta.or(choice.message).unwrap_or_default())?;
        if let Some(reason) = &reason
            && GAVE_UP.contains(&reason.as_str())
        {
            return Err(Fault::ErrorEvent { code: None, message: format!("the engine gave up ({reason})") });
        }
        self.finish_reason = reason.or(self.finish_reason.take());
        Ok(piece)
    }

    fn take_delta(&mut self, delta: Delta) -> Result<Piece, Fault> {
        for call in delta.tool_calls.into_iter().flatten() {
            self.take_tool_call(call)?;
        }
        let piece = Piece {
            content: first_text([delta.content, delta.refusal]),
            reasoning: first_text([delta.reasoning, delta.reasoning_content]),
        };
        let bytes = [&piece.content, &piece.reasoning].into_iter().flatten().map(String::len).sum::<usize>();
        self.delivered += bytes as u64;
        self.reasoned += piece.reasoning.as_ref().map_or(0, String::len) as u64;
        Ok(piece)
    }

    fn take_tool_call(&mut self, delta: ToolCallDelta) -> Result<(), Fault> {
        let index = delta.index.unwrap_or(0);
        if index >= TOOL_CALLS_MAX {
            return Err(Fault::Unparsable(format!("tool call number {index}")));
        }
        if self.tool_calls.len() <= index {
            self.tool_calls.resize_with(index + 1, ToolCall::default);
        }
        let call = &mut self.tool_calls[index];
        let function = delta.function;
        let (name, arguments) = function.map_or((None, None), |function| (function.name, function.arguments));
        // Some servers repeat id and name with every piece of the arguments.
        for (field, given) in [(&mut call.id, delta.id), (&mut call.name, name)] {
            if field.is_empty() {
                *field = given.unwrap_or_default();
                self.delivered += field.len() as u64;
            }
        }
        let more = arguments.unwrap_or_default();
        self.delivered += more.len() as u64;
        call.arguments.push_str(&more);
        let size: usize =
            self.tool_calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum();
        if size > TOOL_CALL_BYTES_MAX {
            return Err(Fault::Unparsable(format!("tool calls of more than {TOOL_CALL_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    /// Called at `[DONE]`, or at the end of a body that is no stream: is it whole?
    ///
    /// A call of a tool is whole if the model came to its end, has a name, and is one of a tool that was offered: a
    /// program that is handed a call will do what it says.
    pub fn check_finished(&self, offers_tools: bool) -> Result<(), Fault> {
        let Some(reason) = &self.finish_reason else {
            if sabotage::NO_REASON_IS_OK {
                return Ok(());
            }
            return Err(Fault::Cut("the answer was ended without a finish_reason".into()));
        };
        if self.tool_calls.is_empty() {
            return Ok(());
        }
        if !offers_tools {
            return Err(Fault::Unparsable("it calls a tool, and none was offered".into()));
        }
        if !ENDS_OF_CALLS.contains(&reason.as_str()) {
            return Err(Fault::Cut(format!(
                "a call of a tool was ended too early (finish_reason: {reason})"
            )));
        }
        if self.tool_calls.iter().any(|call| call.name.is_empty()) {
            return Err(Fault::Unparsable("it calls a tool without a name".into()));
        }
        Ok(())
    }
}

fn first_text<const N: usize>(texts: [Option<String>; N]) -> Option<String> {
    texts.into_iter().flatten().find(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
