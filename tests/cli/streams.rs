//! Answers that arrive in pieces: complete, or not an answer.

use crate::{
    scripts::{answer, close, reset, whole},
    support::{Scripted, TEN_WORDS, says},
};
use fakes::{Evild, Script, Step, wire};
use predicates::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

/// The primary plays this; the probe after it says no. What is left is the primary's own end.
fn denied_after(primary: Script) -> Scripted {
    Scripted::new(Evild::start([primary, answer(403, &[], "")]))
}

/// The primary plays this; the probe after it says yes.
fn permitted_after(primary: Script) -> Scripted {
    Scripted::new(Evild::start([primary, answer(200, &[], "")]))
}

/// An answer broke off after content: stdout is exactly what came, and nobody goes on with it.
fn assert_partial(scene: &Scripted, args: &[&str], stdout: &str, why: &str) {
    let told = says("the answer broke off after").and(says(why)).and(says("what was written is incomplete"));
    scene.dana.infer(args).code(8).stdout(stdout.to_owned()).stderr(told);
    assert_eq!((scene.central.connections(), scene.probes()), (1, 0), "after content nothing is asked");
    scene.assert_local_untouched();
}

/// Nothing of an answer came: the local provider may answer, and the document says how the primary ended.
fn assert_failed_over(scene: &Scripted, args: &[&str], outcome: &str) {
    let (code, document) = scene.dana.infer_json(args);
    assert_eq!((code, &document["content"]), (0, &"Hello from the laptop.".into()), "{document}");
    assert_eq!(document["attempts"][0]["outcome"], outcome);
    assert_eq!((scene.asked(), scene.probes(), scene.local.requests()), (2, 1, 1));
}

/// Not an answer of this protocol: nothing of it is shown, nobody is asked, nobody takes over.
fn assert_refused(scene: &Scripted, args: &[&str], why: &str) {
    let told = says("central sent no answer of this protocol").and(says(why));
    scene.dana.infer(args).code(7).stdout("").stderr(told);
    assert_eq!((scene.central.connections(), scene.probes()), (1, 0));
    scene.assert_local_untouched();
}

fn chunks(events: &[String]) -> Vec<u8> {
    events.iter().flat_map(|data| wire::chunk(&wire::event(data))).collect()
}

#[test]
fn s01_a_stream_that_is_cut_at_any_event_leaves_the_exact_prefix() {
    let events = wire::answer(TEN_WORDS);
    let words: Vec<_> = wire::words(TEN_WORDS).collect();
    for whole_events in 0..events.len() {
        let sent = [wire::sse_chunked_head(), chunks(&events[..whole_events])].concat();
        // The first event only says who speaks.
        let prefix = words[..whole_events.saturating_sub(1).min(words.len())].concat();
        if prefix.is_empty() {
            assert_failed_over(&permitted_after(close(whole(sent))), &[], "cut");
        } else {
            assert_partial(&denied_after(close(whole(sent))), &[], &prefix, "connection closed by central");
        }
    }
}

#[test]
fn s01_a_stream_that_is_cut_inside_an_event_leaves_the_events_before_it() {
    let events = [wire::content("Hel"), wire::content("lo.")];
    let second = wire::chunk(&wire::event(&events[1]));
    for bytes in 0..second.len() - 3 {
        let sent = [wire::sse_chunked_head(), chunks(&events[..1]), second[..bytes].to_vec()].concat();
        // The empty line that ends an event is inside it; the two bytes that end its chunk are not.
        assert_partial(&denied_after(close(whole(sent))), &[], "Hel", "connection closed");
    }
}

#[test]
fn s01_a_reset_in_the_middle_is_a_cut_and_no_way_to_the_local_model() {
    let gate = fakes::Gate::new();
    let sent = [wire::sse_chunked_head(), chunks(&[wire::content("Hello")])].concat();
    let script = reset(vec![Step::ReadRequest, Step::Send(sent), Step::WaitAt(gate.clone())]);
    let scene = denied_after(script);
    let mut run = scene.dana.raw(["infer", "chat-prod", "hi"]);
    let mut child =
        run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // What the kernel has not handed over is lost to a reset, so the first word has to be out before it.
    let mut word = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).unwrap();
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &word, output.stdout.as_slice()), (Some(8), b"Hello", &b""[..]));
    assert_eq!((scene.central.connections(), scene.local.connections()), (1, 0));
}

#[test]
fn s01_a_document_says_what_came_before_the_cut() {
    let sent = [wire::sse_chunked_head(), chunks(&wire::answer(TEN_WORDS)[..4])].concat();
    let scene = denied_after(close(whole(sent)));
    let (code, document) = scene.dana.infer_json(&[]);
    assert_eq!((code, &document["kind"], &document["exitCode"]), (8, &"Error".into(), &8.into()));
    assert_eq!(document["partialContent"], "The tiny model");
    let central = &document["attempts"][0];
    assert_eq!((&central["outcome"], &central["primaryState"]), (&"cut".into(), &"partial".into()));
    assert_eq!(document["attempts"].as_array().unwrap().len(), 1);
    scene.assert_local_untouched();
}

/// Both HTTP framings can end cleanly before the answer does, so that only the marker tells.
#[test]
fn s02_a_clean_end_without_the_marker_is_no_end() {
    let events = wire::answer(TEN_WORDS);
    let all_but_done = &events[..events.len() - 1];
    let by_close = wire::sse(all_but_done);
    let chunked = wire::sse_chunked(all_but_done);
    for sent in [by_close, chunked] {
        assert_partial(&denied_after(whole(sent)), &[], TEN_WORDS, "connection closed by central");
    }
    for sent in [wire::sse::<String>(&[]), wire::sse_chunked(&events[..1])] {
        assert_failed_over(&permitted_after(whole(sent)), &[], "cut");
    }
}

#[test]
fn s02_a_marker_without_a_reason_is_no_end() {
    let events = wire::answer(TEN_WORDS);
    let without_reason = [&events[..events.len() - 2], &events[events.len() - 1..]].concat();
    let scene = denied_after(whole(wire::sse_chunked(&without_reason)));
    assert_partial(&scene, &[], TEN_WORDS, "without a finish_reason");
    let only_done = permitted_after(whole(wire::sse_chunked(&[wire::DONE])));
    assert_failed_over(&only_done, &[], "cut");
}

#[test]
fn s03_a_body_that_is_shorter_than_its_framing_says_is_cut() {
    let first = wire::event(&wire::content("Hel"));
    let sse = ("content-type", "text/event-stream");
    let short_length = |body: &[u8]| [&wire::head(200, &[sse, ("content-length", "9999")]), body].concat();
    let short_chunk = |body: &[u8]| [&wire::sse_chunked_head(), &b"270f\r\n"[..], body].concat();
    for sent in [short_length(&first), short_chunk(&first)] {
        assert_partial(&denied_after(whole(sent)), &[], "Hel", "connection closed");
    }
    for sent in [short_length(b"data: {"), short_chunk(b"data: {"), short_length(b""), short_chunk(b"")] {
        assert_failed_over(&permitted_after(whole(sent)), &[], "cut");
    }
}

#[test]
fn s03_a_document_that_is_shorter_than_its_framing_says_is_nothing() {
    let document = wire::completion("Hello.", Some("stop")).to_string();
    let json = ("content-type", "application/json");
    let length = (document.len() + 1).to_string();
    // Even where what came is whole JSON.
    for body in [&document[..], &document[..document.len() / 2], ""] {
        let by_length = [&wire::head(200, &[json, ("content-length", &length)]), body.as_bytes()].concat();
        let chunked = wire::head(200, &[json, ("transfer-encoding", "chunked")]);
        let by_chunk = [&chunked, format!("{:x}\r\n", document.len()).as_bytes(), body.as_bytes()].concat();
        for sent in [by_length, by_chunk] {
            assert_failed_over(&permitted_after(close(whole(sent))), &["--no-stream"], "cut");
        }
    }
}

#[test]
fn s04_a_reset_after_the_head_is_an_outage_before_content() {
    for head in [wire::sse_head(), wire::sse_chunked_head(), wire::sse_chunked(&[wire::role()])] {
        for end in [reset, close] {
            assert_failed_over(&permitted_after(end(whole(head.clone()))), &[], "cut");
        }
    }
    let head = wire::head(200, &[("content-type", "application/json"), ("content-length", "99")]);
    assert_failed_over(&permitted_after(reset(whole(head))), &["--no-stream"], "cut");
}

fn error_stream(before: &[String], error: &Value, done: bool) -> Script {
    let mut events = before.to_vec();
    events.push(error.to_string());
    events.extend(done.then(|| wire::DONE.to_owned()));
    whole(wire::sse_chunked(&events))
}

/// Errors as servers write them: vLLM with a number and `[DONE]` after it, others as a string or with a word.
fn errors_of_the_engine() -> Vec<Value> {
    vec![
        wire::error("EngineCore encountered an issue", 500),
        json!({"error": "EngineCore encountered an issue"}),
        json!({"error": {"message": "EngineCore encountered an issue", "code": "engine_dead"}}),
        json!({"error": {"message": "EngineCore encountered an issue"}}),
        wire::error("EngineCore encountered an issue", 503),
        wire::error("EngineCore encountered an issue", 429),
    ]
}

#[test]
fn s05_an_error_event_before_content_is_an_outage() {
    for error in errors_of_the_engine() {
        for (before, done) in [(&[][..], false), (&[wire::role()], true)] {
            let scene = permitted_after(error_stream(before, &error, done));
            assert_failed_over(&scene, &[], "error_event");
        }
    }
}

#[test]
fn s05_an_error_event_that_blames_the_request_is_final() {
    for code in [400, 404, 413, 422] {
        let error = error_stream(&[], &wire::error("context too long", code), true);
        let scene = permitted_after(error);
        let told = says("central reported an error: context too long").and(says("no failover"));
        scene.dana.infer(&[]).code(9).stdout("").stderr(told);
        assert_eq!(scene.central.connections(), 1);
        scene.assert_local_untouched();
    }
}

#[test]
fn s05_an_error_event_after_content_makes_the_answer_partial_whatever_follows() {
    let before = [wire::role(), wire::content("The"), wire::content(" tiny")];
    let mut errors = errors_of_the_engine();
    errors.push(wire::error("EngineCore encountered an issue", 400));
    for error in errors {
        for done in [false, true] {
            let scene = denied_after(error_stream(&before, &error, done));
            assert_partial(&scene, &[], "The tiny", "EngineCore encountered an issue");
        }
    }
}

#[test]
fn s08_text_that_is_split_at_every_byte_arrives_whole() {
    let text = "Grüße, 漢字, 🦀 and e\u{301}: the end";
    let events = wire::answer(text);
    let by_byte = |bytes: Vec<u8>| {
        let drip = Step::Drip { bytes, size: 1, pause: Duration::ZERO };
        denied_after(vec![Step::ReadRequest, drip])
    };
    let lines = |end: &str, start: &str| {
        let body: String = events.iter().map(|data| format!("data: {data}{end}{end}")).collect();
        [wire::sse_head(), start.as_bytes().to_vec(), body.into_bytes()].concat()
    };
    // As chunks of one byte, too: each with its own head and end.
    let body: Vec<u8> = events.iter().flat_map(|data| wire::event(data)).collect();
    let tiny: Vec<u8> = body.iter().flat_map(|byte| wire::chunk(&[*byte])).collect();
    let in_tiny_chunks = [&wire::sse_chunked_head(), &tiny[..], wire::LAST_CHUNK].concat();
    for bytes in [
        lines("\n", ""),
        lines("\r\n", ""),
        lines("\r", ""),
        lines("\n", "\u{feff}"),
        lines("\r\n", ": hi\r\n\r\n"),
        in_tiny_chunks,
    ] {
        by_byte(bytes).dana.infer(&[]).code(0).stdout(format!("{text}\n")).stderr("");
    }
}

#[test]
fn s08_an_event_of_several_lines_is_one_event() {
    let spread = wire::content("Hello.").replace(r#","choices""#, ",\ndata:\"choices\"");
    assert!(spread.contains('\n'));
    let scene = denied_after(whole(wire::sse(&[spread, wire::finish("stop"), wire::DONE.to_owned()])));
    scene.dana.infer(&[]).code(0).stdout("Hello.\n").stderr("");
}

#[test]
fn s08_bytes_that_are_no_text_are_no_answer() {
    let bad = |before: &[String]| {
        let event =
            [b"data: {\"choices\":[{\"delta\":{\"content\":\"".as_slice(), b"\xff\xfe", b"\"}}]}\n\n"];
        denied_after(whole([wire::sse(before), event.concat()].concat()))
    };
    assert_refused(&bad(&[]), &[], "the text is not UTF-8");
    assert_partial(&bad(&[wire::content("Hel")]), &[], "Hel", "the text is not UTF-8");
}

#[test]
fn s09_what_is_no_stream_is_refused_and_not_shown() {
    let document = wire::completion("Hello.", Some("stop")).to_string();
    let events =
        String::from_utf8(wire::answer("Hello.").iter().flat_map(|e| wire::event(e)).collect()).unwrap();
    for (content_type, body) in [
        (Some("text/html"), "<h1>Please log in</h1>"),
        (Some("text/html"), &events),
        (Some("application/json"), &document),
        (Some("application/json"), r#"{"error":{"message":"x"}}"#),
        (Some("text/plain"), &events),
        (Some("text/event-streams"), &events),
        (None, &events),
    ] {
        let headers: Vec<_> = content_type.map(|value| ("content-type", value)).into_iter().collect();
        let scene = denied_after(answer(200, &headers, body));
        assert_refused(&scene, &[], &format!("content type {:?}", content_type.unwrap_or_default()));
    }
}

#[test]
fn s09_what_is_no_document_is_refused_and_not_shown() {
    let json = [("content-type", "application/json")];
    for body in ["", "[]", "null", "<h1>Please log in</h1>", "{\"choices\":7}"] {
        let scene = denied_after(answer(200, &json, body));
        assert_refused(&scene, &["--no-stream"], "");
    }
    let scene = denied_after(whole(wire::sse_chunked(&wire::answer("Hello."))));
    assert_refused(&scene, &["--no-stream"], "content type \"text/event-stream\"");
}
