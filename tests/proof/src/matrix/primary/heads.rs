//! Heads that are no good beginning, and every status.

use super::{
    super::axes::{Kind, Phase},
    Effect, Primary, SLOW, after_request, primary, script, whole,
};
use fakes::{Step, wire};
use std::time::Duration;

/// Between two pieces of an answer that is slow and comes to its end.
const BEARABLE: Duration = Duration::from_millis(4);

pub(super) fn heads() -> Vec<Primary> {
    let of =
        |kind, which: &str, effect, steps| primary(Phase::Head, kind, which, effect, after_request(steps));
    let send = |text: &str| Step::Send(text.as_bytes().to_vec());
    let begun = "HTTP/1.1 200 OK\r\ncontent-type: text/event-str";
    let page =
        wire::http(200, &[("content-type", "text/html")], "<html><body>Down for maintenance</body></html>");
    let slowly = |answer: Vec<u8>, pause, size| Step::Drip { bytes: answer, size, pause };
    let mut rows = vec![
        of(Kind::Reset, "no-answer", Effect::Outage, vec![Step::Reset]),
        of(Kind::Reset, "half-a-head", Effect::Outage, vec![send(begun), Step::Reset]),
        of(Kind::Cut, "no-answer", Effect::Outage, vec![Step::Close]),
        of(Kind::Cut, "half-a-head", Effect::Outage, vec![send(begun), Step::Close]),
        of(Kind::Garbage, "another-protocol", Effect::Final(7), vec![send("SSH-2.0-OpenSSH_9.9\r\n\r\n")]),
        of(Kind::Html, "maintenance", Effect::Final(7), vec![Step::Send(page)]),
        // A head line by line and an answer in small pieces: slow, and nothing is wrong with it.
        of(Kind::Drip, "in-time", Effect::Answered, vec![slowly(whole(), BEARABLE, 64)]),
    ];
    let silent = [
        of(Kind::Hang, "no-answer", Effect::Outage, vec![Step::Hang]),
        of(Kind::Hang, "half-a-head", Effect::Outage, vec![send(begun), Step::Hang]),
        of(Kind::Drip, "too-slow", Effect::Outage, vec![slowly(whole(), SLOW, 1)]),
    ];
    rows.extend(silent.map(|row| Primary { silent: true, ..row }));
    for status in [301, 302, 303, 307, 308] {
        for (which, to_other_origin) in [("same-origin", false), ("other-origin", true)] {
            let way = script(move |wires| {
                let path = "/api/v1/llms/chat/infer";
                let base = if to_other_origin { wires.elsewhere } else { "" };
                let location = format!("{base}{path}");
                wires.after_request([Step::Send(wire::http(status, &[("location", &location)], ""))])
            });
            rows.push(primary(
                Phase::Head,
                Kind::Redirect,
                &format!("{which}-{status}"),
                Effect::Final(7),
                way,
            ));
        }
    }
    rows
}

/// Every status that can stand in a head, by somebody who does not say that they are the server, and in its name.
pub(super) fn statuses() -> Vec<Primary> {
    let mut rows = Vec::new();
    for status in (100..=999).filter(|status| *status != 200) {
        for origin in [None, Some("gateway"), Some("upstream"), Some("quota")] {
            let which = format!("{status}-{}", origin.unwrap_or("unsigned"));
            let effect = effect_of(status, origin == Some("upstream"));
            let headers: Vec<_> = origin.map(|origin| ("mcpd-error-origin", origin)).into_iter().collect();
            let steps = vec![Step::Send(wire::http(status, &headers, ""))];
            rows.push(primary(Phase::Head, Kind::Status, &which, effect, after_request(steps)));
        }
    }
    rows
}

/// The decision table of the contract, its rows about statuses.
fn effect_of(status: u16, from_upstream: bool) -> Effect {
    match status {
        // Interim answers, after which nothing comes: the connection was lost. 101 is an answer, of another protocol.
        100 | 102..=199 => Effect::Outage,
        500..=599 => Effect::Outage,
        429 if from_upstream => Effect::Outage,
        401 => Effect::Final(4),
        403 => Effect::Final(5),
        402 | 429 => Effect::Final(7),
        400..=499 => Effect::Final(9),
        _ => Effect::Final(7),
    }
}
