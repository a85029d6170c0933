//! When an answer is complete: a `finish_reason` was seen, `[DONE]` arrived, and no `error` event came.
//!
//! No I/O here: the pieces are fed in, what they mean comes out.

use super::wire::{Chunk, Delta, ToolCallDelta, Usage};
use crate::failover::Fault;
use serde::Serialize;

/// The largest number of parallel tool calls that is believed.
const TOOL_CALLS_MAX: usize = 256;

/// One call of a tool that the model asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
    /// Takes the data of one event. `Ok(None)` is `[DONE]`.
    pub fn take_event(&mut self, data: &str) -> Result<Option<Piece>, Fault> {
        if data.trim() == "[DONE]" {
            return Ok(None);
        }
        self.take_json(data).map(Some)
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
        self.usage = chunk.usage.or(self.usage);
        // With `n` > 1 the first choice is the answer; the others would be mixed into it.
        let Some(choice) = chunk.choices.into_iter().find(|choice| choice.index == 0) else {
            return Ok(Piece::default());
        };
        self.finish_reason = choice.finish_reason.or(self.finish_reason.take());
        self.take_delta(choice.delta.unwrap_or_default())
    }

    fn take_delta(&mut self, delta: Delta) -> Result<Piece, Fault> {
        for call in delta.tool_calls.into_iter().flatten() {
            self.take_tool_call(call)?;
        }
        let piece = Piece {
            content: delta.content.filter(|text| !text.is_empty()),
            reasoning: delta.reasoning.filter(|text| !text.is_empty()),
        };
        let bytes = [&piece.content, &piece.reasoning].into_iter().flatten().map(String::len).sum::<usize>();
        self.delivered += bytes as u64;
        Ok(piece)
    }

    fn take_tool_call(&mut self, delta: ToolCallDelta) -> Result<(), Fault> {
        if delta.index >= TOOL_CALLS_MAX {
            return Err(Fault::Unparsable(format!("tool call number {}", delta.index)));
        }
        if self.tool_calls.len() <= delta.index {
            self.tool_calls.resize_with(delta.index + 1, ToolCall::default);
        }
        let call = &mut self.tool_calls[delta.index];
        let function = delta.function;
        let (name, arguments) = function.map_or((None, None), |function| (function.name, function.arguments));
        for (field, more) in
            [(&mut call.id, delta.id), (&mut call.name, name), (&mut call.arguments, arguments)]
        {
            let more = more.unwrap_or_default();
            self.delivered += more.len() as u64;
            field.push_str(&more);
        }
        Ok(())
    }

    /// Called at `[DONE]`, or at the end of a body that is no stream: is it whole?
    pub fn check_finished(&self) -> Result<(), Fault> {
        if self.finish_reason.is_some() {
            Ok(())
        } else {
            Err(Fault::Cut("the answer was ended without a finish_reason".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{captures, sse::Events};

    /// Feeds a captured stream; gives the text and what `[DONE]` or the end made of it.
    fn replay(engine: &str, capture: &str) -> (String, Result<Answer, Fault>) {
        let body = captures::body(engine, capture);
        let mut events = Events::new(&body[..]);
        let (mut answer, mut text) = (Answer::default(), String::new());
        while let Some(event) = events.next_event().unwrap() {
            match answer.take_event(&event.data) {
                Ok(Some(piece)) => text.push_str(&piece.content.unwrap_or_default()),
                Ok(None) => return (text, answer.check_finished().map(|()| answer)),
                Err(fault) => return (text, Err(fault)),
            }
        }
        (text, Err(Fault::Cut("end".into())))
    }

    const TEN_WORDS: &str = "The tiny model answers with exactly these ten plain words.";

    #[test]
    fn real_streams_of_both_engines_are_complete() {
        for engine in ["vllm", "llama-server"] {
            let (text, answer) = replay(engine, "03-chat-stream-usage");
            let answer = answer.unwrap();
            assert_eq!((text.as_str(), answer.finish_reason.as_deref()), (TEN_WORDS, Some("stop")));
            assert_eq!(answer.usage, Some(Usage { prompt_tokens: 23, completion_tokens: 12 }), "{engine}");
            assert_eq!(answer.delivered, TEN_WORDS.len() as u64);
        }
    }

    #[test]
    fn real_tool_calls_of_both_engines_are_put_together() {
        for engine in ["vllm", "llama-server"] {
            let (text, answer) = replay(engine, "61-tools-auto-stream");
            let answer = answer.unwrap();
            let [call] = &answer.tool_calls[..] else { panic!("{engine}: {answer:?}") };
            assert_eq!((text.as_str(), call.name.as_str()), ("", "get_weather"), "{engine}");
            let arguments: serde_json::Value = serde_json::from_str(&call.arguments).unwrap();
            assert_eq!(arguments, serde_json::json!({ "city": "Oslo" }));
            assert!(answer.delivered > 0, "a tool call is a part of an answer");
        }
    }

    #[test]
    fn s05_an_engine_that_dies_in_a_stream_gives_no_answer_although_done_follows() {
        let (text, answer) = replay("vllm", "71-stream-when-engine-dies");
        assert!(text.starts_with(" tick tock"), "{text}");
        assert!(matches!(answer, Err(Fault::ErrorEvent { code: Some(500), .. })), "{answer:?}");
    }

    #[test]
    fn s01_a_stream_that_is_cut_gives_no_answer() {
        let (text, answer) = replay("vllm", "70-stream-cut-by-sigkill");
        assert!(text.contains("tick tock"));
        assert!(matches!(answer, Err(Fault::Cut(_))));
    }

    #[test]
    fn done_without_a_finish_reason_is_no_answer() {
        let mut answer = Answer::default();
        answer.take_event(r#"{"choices":[{"index":0,"delta":{"content":"Par"}}]}"#).unwrap();
        assert_eq!(answer.take_event("[DONE]"), Ok(None));
        assert!(matches!(answer.check_finished(), Err(Fault::Cut(_))));
    }

    #[test]
    fn s05_an_error_may_be_a_string() {
        let fault = Answer::default().take_event(r#"{"error":"Unauthorized"}"#);
        assert_eq!(fault, Err(Fault::ErrorEvent { code: None, message: "Unauthorized".into() }));
    }

    #[test]
    fn s11_deep_nesting_and_odd_numbers_are_errors_not_crashes() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let call = |index| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{index}}}]}}}}]}}"#);
        for text in [deep, call("4294967296"), call("-1"), call("1e999"), "{}[".into(), "null".into()] {
            assert!(
                matches!(Answer::default().take_event(&text), Err(Fault::Unparsable(_))),
                "{}",
                &text[..9.min(text.len())]
            );
        }
    }
}
