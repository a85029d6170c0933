//! Answers that begin well: before their first content, in the middle, and at their end.

use super::{
    super::axes::{Form, Kind, Phase},
    CENTRAL, Effect, Primary, SLOW, SOME, after_request, first_words, piece, pieces, primary, script,
};
use fakes::{Step, wire};

pub(super) fn before_content() -> Vec<Primary> {
    let of = |kind, which: &str, effect, steps| {
        primary(Phase::BeforeContent, kind, which, effect, after_request(steps))
    };
    let begun = || Step::Send([wire::sse_chunked_head(), piece(&wire::role())].concat());
    let unframed = || Step::Send(wire::sse_head());
    let event = |data: &str| Step::Send(piece(data));
    let end = || Step::Send(wire::LAST_CHUNK.to_vec());
    let error = |code| wire::error("the engine is gone", code).to_string();
    let mut rows = vec![
        of(Kind::Reset, "after-head", Effect::Outage, vec![begun(), Step::Reset]),
        of(Kind::Cut, "in-chunks", Effect::Outage, vec![begun(), Step::Close]),
        of(Kind::Cut, "unframed", Effect::Outage, vec![unframed(), Step::Close]),
        of(Kind::Cut, "clean-end", Effect::Outage, vec![begun(), end()]),
        of(Kind::Cut, "done-without-reason", Effect::Outage, vec![begun(), event(wire::DONE), end()]),
        of(Kind::Garbage, "no-json", Effect::Final(7), vec![begun(), event("{\"choices\": [")]),
        of(Kind::Status, "error-500", Effect::Outage, vec![begun(), event(&error(500))]),
        of(Kind::Status, "error-400", Effect::Final(9), vec![begun(), event(&error(400))]),
        of(
            Kind::Html,
            "in-a-stream",
            Effect::Outage,
            vec![unframed(), Step::Send(b"<html>\n\n</html>\n\n".to_vec()), Step::CloseWrite],
        ),
    ];
    let silent = [
        of(Kind::Hang, "after-head", Effect::Outage, vec![begun(), Step::Hang]),
        of(
            Kind::Drip,
            "comments",
            Effect::Outage,
            vec![
                begun(),
                Step::Repeat(vec![Step::Send(wire::chunk(b": still here\n\n")), Step::Pause(SLOW)]),
            ],
        ),
    ];
    rows.extend(silent.map(|row| Primary { silent: true, ..row }));
    rows
}

pub(super) fn mid_content() -> Vec<Primary> {
    let of = |kind, which: &str, steps: Vec<Step>| {
        let way = script(move |wires| {
            let begun = [wire::sse_chunked_head(), pieces(SOME)].concat();
            let mut all = vec![Step::Send(begun)];
            if wires.form == Form::Text {
                all.push(Step::WaitAt(wires.gate.clone()));
            }
            all.extend(steps.iter().cloned());
            wires.after_request(all)
        });
        primary(Phase::MidContent, kind, which, Effect::Cut(first_words(SOME)), way)
    };
    let event = |data: &str| Step::Send(piece(data));
    let error = wire::error("the engine is gone", 500).to_string();
    vec![
        // What was not yet read is lost in a reset, so that it has to be known to have been read.
        Primary { only: Some(Form::Text), ..of(Kind::Reset, "after-words", vec![Step::Reset]) },
        of(Kind::Cut, "in-chunks", vec![Step::Close]),
        of(Kind::Cut, "clean-end", vec![Step::Send(wire::LAST_CHUNK.to_vec())]),
        of(Kind::Cut, "done-without-reason", vec![event(wire::DONE), Step::Send(wire::LAST_CHUNK.to_vec())]),
        of(Kind::Garbage, "no-json", vec![event("{\"choices\": [")]),
        of(Kind::Garbage, "no-chunk", vec![Step::Send(b"zz\r\nnonsense".to_vec())]),
        of(Kind::Status, "error-500", vec![event(&error)]),
        of(
            Kind::Html,
            "error-page",
            vec![Step::Send(wire::chunk(b"<html>502 Bad Gateway</html>\n\n")), Step::Close],
        ),
        Primary { silent: true, ..of(Kind::Hang, "after-words", vec![Step::Hang]) },
    ]
}

pub(super) fn ends() -> Vec<Primary> {
    let of = |kind, which: &str, effect, parts: Vec<Vec<u8>>, last: Vec<Step>| {
        let way = script(move |wires| {
            let all = [vec![wire::sse_chunked_head(), pieces(usize::MAX)], parts.clone()].concat().concat();
            let mut steps = vec![Step::Send(all)];
            if wires.form == Form::Text {
                steps.push(Step::WaitAt(wires.gate.clone()));
            }
            steps.extend(last.iter().cloned());
            wires.after_request(steps)
        });
        primary(Phase::End, kind, which, effect, way)
    };
    let unfinished = || Effect::Cut(CENTRAL.to_owned());
    let (reason, done) = (piece(&wire::finish("stop")), piece(wire::DONE));
    let end = || Step::Send(wire::LAST_CHUNK.to_vec());
    let mut rows = vec![
        Primary {
            only: Some(Form::Text),
            ..of(Kind::Reset, "before-reason", unfinished(), vec![], vec![Step::Reset])
        },
        of(Kind::Cut, "before-reason", unfinished(), vec![], vec![Step::Close]),
        of(Kind::Cut, "clean-before-reason", unfinished(), vec![], vec![end()]),
        of(Kind::Cut, "before-done", unfinished(), vec![reason.clone()], vec![Step::Close]),
        of(Kind::Cut, "clean-before-done", unfinished(), vec![reason.clone()], vec![end()]),
        of(Kind::Cut, "after-done", Effect::Answered, vec![reason.clone(), done.clone()], vec![Step::Close]),
        of(
            Kind::Garbage,
            "after-done",
            Effect::Answered,
            vec![reason.clone(), done.clone()],
            vec![Step::Send(b"nonsense".to_vec())],
        ),
        of(Kind::Garbage, "before-done", unfinished(), vec![reason.clone()], vec![Step::Send(piece("{"))]),
        of(
            Kind::Status,
            "error-before-done",
            unfinished(),
            vec![reason.clone()],
            vec![Step::Send(piece(&wire::error("late", 500).to_string()))],
        ),
        // Everything is there: nobody waits for the connection to end.
        of(Kind::Hang, "after-done", Effect::Answered, vec![reason.clone(), done], vec![Step::Hang]),
    ];
    let silent = [
        of(Kind::Hang, "before-reason", unfinished(), vec![], vec![Step::Hang]),
        of(Kind::Hang, "before-done", unfinished(), vec![reason], vec![Step::Hang]),
    ];
    rows.extend(silent.map(|row| Primary { silent: true, ..row }));
    rows
}
