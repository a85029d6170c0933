//! What is a piece of an answer, what is an error, and when an answer is whole.

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
        let chunk = format!(r#"{{"choices":[{{"delta":{{"content":"Par"}},"finish_reason":"{reason}"}}]}}"#);
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
    let (piece, _) = take(r#"{"choices":[{"delta":{"reasoning":"x","reasoning_content":"x"}}]}"#).unwrap();
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
    let chunk =
        format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{"function":{{"arguments":"{piece}"}}}}]}}}}]}}"#);
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

fn takes(data: &str) -> (Answer, Result<Option<Piece>, Fault>) {
    let mut answer = Answer::default();
    let taken = answer.take_event(&event(data));
    (answer, taken)
}

#[test]
fn what_has_come_is_counted_in_bytes_and_known_as_progress() {
    let mut answer = Answer::default();
    assert_eq!(answer.progress(), (0, false, false));
    for (data, progress, reasoned) in [
        (r#"{"choices":[{"delta":{"reasoning":"h\u00e4m"}}]}"#, (4, false, false), 4),
        (r#"{"choices":[{"delta":{"reasoning":"so","content":"yes"}}]}"#, (9, false, false), 6),
        (r#"{"choices":[{"delta":{"content":"","reasoning":""}}]}"#, (9, false, false), 6),
        (
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"find","arguments":"{"}}]}}]}"#,
            (16, false, false),
            6,
        ),
        (
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"find","arguments":"}}"}}]}}]}"#,
            (18, false, false),
            6,
        ),
        (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, (18, true, false), 6),
        (r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#, (18, true, true), 6),
    ] {
        answer.take_event(&event(data)).unwrap();
        assert_eq!((answer.progress(), answer.reasoned), (progress, reasoned), "{data}");
    }
}

#[test]
fn s07_tool_calls_are_bounded_in_number_and_in_all_their_bytes() {
    let call = |index| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{index}}}]}}}}]}}"#);
    assert!(takes(&call(TOOL_CALLS_MAX - 1)).1.is_ok());
    assert!(matches!(takes(&call(TOOL_CALLS_MAX)).1, Err(Fault::Unparsable(_))));

    // An id of 5 and a name of 7 bytes count like the arguments.
    let sized = |bytes: usize| {
        let arguments = "x".repeat(bytes - 5 - 7);
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"id":"call1","function":{{"name":"weather","arguments":"{arguments}"}}}}]}}}}]}}"#
        )
    };
    let more = r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"x"}}]}}]}"#;
    let (mut answer, taken) = takes(&sized(TOOL_CALL_BYTES_MAX));
    assert!(taken.is_ok(), "as much as there may be");
    assert!(matches!(answer.take_event(&event(more)), Err(Fault::Unparsable(_))), "one more in another call");
    assert!(matches!(takes(&sized(TOOL_CALL_BYTES_MAX + 1)).1, Err(Fault::Unparsable(_))));
    assert!(matches!(takes(&sized(TOOL_CALL_BYTES_MAX + 1000)).1, Err(Fault::Unparsable(_))));
}

#[test]
fn a_call_of_a_tool_is_whole_at_the_models_end_with_a_name_and_if_tools_were_offered() {
    let finished = |name: &str, reason: &str, offers_tools| {
        let data = format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"id":"c","function":{{"name":"{name}","arguments":"{{}}"}}}}]}},"finish_reason":"{reason}"}}]}}"#
        );
        takes(&data).0.check_finished(offers_tools)
    };
    for reason in ["stop", "tool_calls", "function_call"] {
        assert_eq!(finished("f", reason, true), Ok(()), "{reason}");
        assert!(
            matches!(finished("f", reason, false), Err(Fault::Unparsable(_))),
            "{reason}: none was offered"
        );
        assert!(matches!(finished("", reason, true), Err(Fault::Unparsable(_))), "{reason}: no name");
    }
    for reason in ["length", "content_filter", "other"] {
        assert!(matches!(finished("f", reason, true), Err(Fault::Cut(_))), "{reason}");
    }
    // Without a call, any reason is the end, and whether tools were offered does not matter.
    let text = |reason: &str| {
        takes(&format!(r#"{{"choices":[{{"delta":{{"content":"x"}},"finish_reason":"{reason}"}}]}}"#)).0
    };
    for offers_tools in [true, false] {
        assert_eq!(text("length").check_finished(offers_tools), Ok(()));
    }
}

#[test]
fn only_the_first_choice_is_the_answer() {
    let (answer, taken) = takes(
        r#"{"model":"m","choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"stop"},{"index":0,"delta":{"content":"a"}}]}"#,
    );
    assert_eq!(taken, Ok(Some(Piece { content: Some("a".into()), reasoning: None })));
    assert_eq!((answer.model.as_deref(), answer.finish_reason, answer.delivered), (Some("m"), None, 1));
    let (answer, taken) =
        takes(r#"{"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"stop"}]}"#);
    assert_eq!(taken, Ok(Some(Piece::default())));
    assert_eq!(answer, Answer::default());
}

#[test]
fn s05_an_error_keeps_its_text_and_the_number_of_its_code() {
    for (error, code, message) in [
        (r#"{"message":"boom","code":500}"#, Some(500), "boom"),
        (r#"{"message":"boom","code":"429"}"#, Some(429), "boom"),
        (r#"{"message":"boom","code":"busy"}"#, None, "boom"),
        (r#"{"message":"boom","code":null}"#, None, "boom"),
        (r#"{"code":503}"#, Some(503), "no text"),
    ] {
        let fault = Fault::ErrorEvent { code, message: message.into() };
        assert_eq!(takes(&format!(r#"{{"error":{error}}}"#)).1, Err(fault), "{error}");
    }
}
