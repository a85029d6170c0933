//! Behind the server, and before a head: upstreams, connections, handshakes.

use super::{
    super::axes::{Kind, Phase},
    CENTRAL, Effect, Primary, SOME, Upstream, Way, first_words, primary, script,
};
use fakes::{Step, wire};

pub(super) fn behind() -> Vec<Primary> {
    use Upstream::{CutAfter, Down, ErrorAfter, Html, NoDone, NoFinishReason, Status, Well};
    let some = || Effect::Cut(first_words(SOME));
    let all = || Effect::Cut(CENTRAL.to_owned());
    let of = |phase, kind, which: &str, effect, upstream| {
        primary(phase, kind, &format!("upstream-{which}"), effect, Way::Behind(upstream))
    };
    let mut rows = vec![
        of(Phase::Nowhere, Kind::Nothing, "well", Effect::Answered, Well),
        of(Phase::Connect, Kind::Refuse, "down", Effect::Outage, Down),
        of(Phase::BeforeContent, Kind::Cut, "cut", Effect::Outage, CutAfter(0)),
        of(Phase::BeforeContent, Kind::Status, "error", Effect::Outage, ErrorAfter(0)),
        of(Phase::BeforeContent, Kind::Html, "html", Effect::Outage, Html),
        of(Phase::MidContent, Kind::Cut, "cut", some(), CutAfter(SOME)),
        of(Phase::MidContent, Kind::Status, "error", some(), ErrorAfter(SOME)),
        of(Phase::End, Kind::Cut, "no-done", all(), NoDone),
        of(Phase::End, Kind::Cut, "no-reason", all(), NoFinishReason),
    ];
    for status in [401, 403, 404, 429, 500, 502, 503, 504] {
        rows.push(of(Phase::Head, Kind::Status, &status.to_string(), Effect::Outage, Status(status)));
    }
    for status in [400, 413, 422] {
        rows.push(of(Phase::Head, Kind::Status, &status.to_string(), Effect::Final(9), Status(status)));
    }
    rows
}

pub(super) fn connections() -> Vec<Primary> {
    let of = |kind, which: &str, effect, way| primary(Phase::Connect, kind, which, effect, way);
    vec![
        of(Kind::Refuse, "nobody-listens", Effect::Outage, Way::Refused),
        of(Kind::Reset, "at-once", Effect::Outage, script(|_| vec![Step::Reset])),
        of(Kind::Cut, "at-once", Effect::Outage, script(|_| vec![Step::Close])),
        Primary { silent: true, ..of(Kind::Hang, "unread", Effect::Outage, script(|_| vec![Step::Stall])) },
        Primary { silent: true, ..of(Kind::Hang, "no-connection", Effect::Outage, Way::Swallowed) },
    ]
}

pub(super) fn handshakes() -> Vec<Primary> {
    let of = |kind, which: &str, effect, way| Primary {
        secured: true,
        ..primary(Phase::Tls, kind, which, effect, way)
    };
    let mut rows = vec![
        of(Kind::Reset, "at-once", Effect::Outage, script(|_| vec![Step::Reset])),
        of(Kind::Cut, "at-once", Effect::Outage, script(|_| vec![Step::Close])),
        Primary { silent: true, ..of(Kind::Hang, "unread", Effect::Outage, script(|_| vec![Step::Stall])) },
        of(
            Kind::Garbage,
            "plain-http",
            Effect::Final(7),
            script(|_| vec![Step::Send(wire::http(400, &[], "no TLS here"))]),
        ),
        // RFC 8446, section 6: an alert record, fatal, handshake_failure.
        of(
            Kind::Garbage,
            "alert",
            Effect::Final(7),
            script(|_| vec![Step::Send(vec![21, 3, 3, 0, 2, 2, 40])]),
        ),
    ];
    for which in ["expired", "wrong-name", "unknown-authority"] {
        let way = script(move |wires| {
            let identity = wires.secured.and_then(|all| all.bad(which));
            identity.map(Step::StartTls).into_iter().chain([Step::ReadRequest]).collect()
        });
        rows.push(of(Kind::Forged, which, Effect::Final(7), way));
    }
    rows
}
