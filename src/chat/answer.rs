//! When an answer is complete: a `finish_reason` was seen, `[DONE]` arrived, and no `error` event came.
//!
//! No I/O here: the pieces are fed in, what they mean comes out.

use super::wire::{Chunk, Delta, ToolCallDelta, Usage};
use crate::{failover::Fault, sse::Event};
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
mod tests {
    use super::*;
    use crate::{
        captures,
        sse::{Event, Events},
    };

    fn event(data: &str) -> Event {
        Event { is_error: false, data: data.to_owned() }
    }

    /// Feeds a captured stream; gives the text and what `[DONE]` or the end made of it.
    fn replay(engine: &str, capture: &str) -> (String, Result<Answer, Fault>) {
        let body = captures::body(engine, capture);
        let mut events = Events::new(&body[..]);
        let (mut answer, mut text) = (Answer::default(), String::new());
        while let Some(event) = events.next_event().unwrap() {
            match answer.take_event(&event) {
                Ok(Some(piece)) => text.push_str(&piece.content.unwrap_or_default()),
                Ok(None) => return (text, answer.check_finished(true).map(|()| answer)),
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
        answer.take_event(&event(r#"{"choices":[{"index":0,"delta":{"content":"Par"}}]}"#)).unwrap();
        assert_eq!(answer.take_event(&event("[DONE]")), Ok(None));
        assert!(matches!(answer.check_finished(true), Err(Fault::Cut(_))));
    }

    #[test]
    fn s05_an_engine_that_gives_up_gives_no_answer() {
        for reason in ["abort", "error"] {
            let mut answer = Answer::default();
            let chunk =
                format!(r#"{{"choices":[{{"delta":{{"content":"Par"}},"finish_reason":"{reason}"}}]}}"#);
            assert!(matches!(answer.take_event(&event(&chunk)), Err(Fault::ErrorEvent { .. })), "{reason}");
            assert_eq!(answer.delivered, 3);
        }
        let mut answer = Answer::default();
        answer.take_event(&event(r#"{"choices":[{"delta":{"content":"Par"},"finish_reason":""}]}"#)).unwrap();
        assert!(answer.check_finished(true).is_err(), "an empty reason is none");
    }

    #[test]
    fn odd_but_harmless_pieces_are_taken() {
        let take = |text: &str| {
            let mut answer = Answer::default();
            answer.take_event(&event(text)).map(|piece| (piece.unwrap(), answer))
        };
        let (piece, _) =
            take(r#"{"choices":[{"delta":{"reasoning":"x","reasoning_content":"x"}}]}"#).unwrap();
        assert_eq!(piece.reasoning.as_deref(), Some("x"));
        let whole = r#"{"choices":[{"index":null,"message":{"content":"hi","reasoning":null,"reasoning_content":null},"finish_reason":"stop"}]}"#;
        assert_eq!(take(whole).unwrap().0.content.as_deref(), Some("hi"));
        let odd_usage = r#"{"choices":null,"usage":{"prompt_tokens":1,"completion_tokens":null}}"#;
        assert_eq!(take(odd_usage).unwrap().1.usage, None);
        let refused = take(r#"{"choices":[{"delta":{"content":null,"refusal":"I will not."}}]}"#).unwrap();
        assert_eq!(refused.0.content.as_deref(), Some("I will not."));
        let call = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{}"}}]}}]}"#;
        let (_, mut answer) = take(call).unwrap();
        answer.take_event(&event(call)).unwrap();
        let wanted = ToolCall { id: "c1".into(), name: "f".into(), arguments: "{}{}".into() };
        assert_eq!(answer.tool_calls, [wanted]);
    }

    #[test]
    fn s07_tool_calls_are_bounded() {
        let piece = "x".repeat(500_000);
        let chunk = format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"function":{{"arguments":"{piece}"}}}}]}}}}]}}"#
        );
        let mut answer = Answer::default();
        let bounded = (0..20).any(|_| matches!(answer.take_event(&event(&chunk)), Err(Fault::Unparsable(_))));
        assert!(bounded);
    }

    #[test]
    fn s05_an_event_named_error_is_one_whatever_it_holds() {
        for data in [r#"{"message":"boom","code":500}"#, "boom", r#"{"error":{"message":"boom"}}"#] {
            let named = Event { is_error: true, data: data.to_owned() };
            assert!(matches!(Answer::default().take_event(&named), Err(Fault::ErrorEvent { .. })), "{data}");
        }
    }

    #[test]
    fn s05_an_error_may_be_a_string() {
        let fault = Answer::default().take_event(&event(r#"{"error":"Unauthorized"}"#));
        assert_eq!(fault, Err(Fault::ErrorEvent { code: None, message: "Unauthorized".into() }));
    }

    #[test]
    fn s11_deep_nesting_and_odd_numbers_are_errors_not_crashes() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let call = |index| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{index}}}]}}}}]}}"#);
        for text in [deep, call("4294967296"), call("-1"), call("1e999"), "{}[".into(), "null".into()] {
            assert!(
                matches!(Answer::default().take_event(&event(&text)), Err(Fault::Unparsable(_))),
                "{}",
                &text[..9.min(text.len())]
            );
        }
    }
}
