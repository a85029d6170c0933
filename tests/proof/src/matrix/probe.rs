//! What the question for permission meets, and what the contract makes of it. Most of these would let a client that
//! looks less closely have a yes of the real server.

mod changes;

use super::{
    axes::{Kind, Phase},
    front::{Real, Wires},
};
use changes::{denied, renamed, twice, until_end_of_head, with_header, with_status, without_line};
use fakes::{Answering, Request, Script, Step, wire};
use std::{sync::Arc, time::Duration};

/// Between two bytes of a drip: the three seconds are over before the head is.
const SLOW: Duration = Duration::from_millis(60);

/// What the contract makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// What the real server says counts.
    Real,
    /// A no.
    Denied,
    /// Proves nothing, so that nobody else is asked.
    Unknown,
    /// A yes without a decision: proves nothing from a server that is known to send one.
    Bare,
}

/// Where it happens.
#[derive(Clone)]
pub(crate) enum Way {
    /// By the script of its connection.
    Script(Arc<dyn Fn(&Wires<'_>) -> Script + Send + Sync>),
    /// Nobody listens any more. Said of the connection before, which closes the port behind itself.
    Refused,
}

/// One thing that a probe can meet.
#[derive(Clone)]
pub(crate) struct Probe {
    /// Where in the exchange.
    pub(crate) phase: Phase,
    /// What.
    pub(crate) kind: Kind,
    /// Which of its kind.
    pub(crate) which: String,
    /// What has to come of it.
    pub(crate) effect: Effect,
    /// It is made of what the real server says, so that a no stays one.
    pub(crate) rides: bool,
    /// Where it happens.
    pub(crate) way: Way,
    /// Only a secured connection has it.
    pub(crate) secured: bool,
    /// It takes the whole three seconds.
    pub(crate) silent: bool,
}

impl Probe {
    /// Its name.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}.{}", self.phase, self.kind, self.which)
    }
}

/// Everything that a probe can meet. Statuses are swept from 100 to 999, bare and with the real server's own yes.
pub(crate) fn all() -> Vec<Probe> {
    let mut all = vec![probe(
        Phase::Nowhere,
        Kind::Nothing,
        "real",
        Effect::Real,
        script(|wires| wires.after_request([wires.real.pass_on()])),
    )];
    all.extend(connections());
    all.extend(heads());
    all.extend(statuses());
    all.extend(forged());
    all
}

fn probe(phase: Phase, kind: Kind, which: &str, effect: Effect, way: Way) -> Probe {
    Probe { phase, kind, which: which.to_owned(), effect, rides: false, way, secured: false, silent: false }
}

fn riding(row: Probe) -> Probe {
    Probe { rides: true, ..row }
}

fn script(make: impl Fn(&Wires<'_>) -> Script + Send + Sync + 'static) -> Way {
    Way::Script(Arc::new(make))
}

fn after_request(steps: Vec<Step>) -> Way {
    script(move |wires| wires.after_request(steps.clone()))
}

/// What the real server says, changed on its way.
fn changed(change: impl Fn(&Request, Vec<u8>, &Real) -> Vec<u8> + Clone + Send + Sync + 'static) -> Way {
    script(move |wires| {
        let (change, real) = (change.clone(), wires.real.clone());
        let answer = move |request: &Request| change(request, real.asked(request), &real);
        wires.after_request([Step::Answer(Answering::by(answer))])
    })
}

fn connections() -> Vec<Probe> {
    let of = |phase, kind, which: &str, way| probe(phase, kind, which, Effect::Unknown, way);
    let tls = |row: Probe| Probe { secured: true, ..row };
    let silent = |row: Probe| Probe { silent: true, ..row };
    let mut rows = vec![
        of(Phase::Connect, Kind::Refuse, "nobody-listens", Way::Refused),
        of(Phase::Connect, Kind::Reset, "at-once", script(|_| vec![Step::Reset])),
        of(Phase::Connect, Kind::Cut, "at-once", script(|_| vec![Step::Close])),
        silent(of(Phase::Connect, Kind::Hang, "unread", script(|_| vec![Step::Stall]))),
        tls(of(Phase::Tls, Kind::Reset, "at-once", script(|_| vec![Step::Reset]))),
        tls(of(Phase::Tls, Kind::Cut, "at-once", script(|_| vec![Step::Close]))),
        tls(silent(of(Phase::Tls, Kind::Hang, "unread", script(|_| vec![Step::Stall])))),
        tls(of(
            Phase::Tls,
            Kind::Garbage,
            "alert",
            script(|_| vec![Step::Send(vec![21, 3, 3, 0, 2, 2, 40])]),
        )),
    ];
    for which in ["expired", "wrong-name", "unknown-authority"] {
        // Who does not look at the certificate gets the real server's word.
        let way = script(move |wires| {
            let identity = wires.secured.and_then(|all| all.bad(which));
            let steps = [Step::ReadRequest, wires.real.pass_on()];
            identity.map(Step::StartTls).into_iter().chain(steps).collect()
        });
        rows.push(tls(of(Phase::Tls, Kind::Forged, which, way)));
    }
    rows
}

fn heads() -> Vec<Probe> {
    let of = |kind, which: &str, way| probe(Phase::Head, kind, which, Effect::Unknown, way);
    let send = |text: &str| Step::Send(text.as_bytes().to_vec());
    let begun = "HTTP/1.1 200 OK\r\nmcpd-decis";
    let mut rows = vec![
        of(Kind::Reset, "no-answer", after_request(vec![Step::Reset])),
        of(Kind::Reset, "half-a-head", after_request(vec![send(begun), Step::Reset])),
        of(Kind::Cut, "no-answer", after_request(vec![Step::Close])),
        of(Kind::Cut, "half-a-head", after_request(vec![send(begun), Step::Close])),
        // All of the real server's yes but the line that ends the head.
        of(Kind::Cut, "all-but-the-end", changed(|_, answer, _| until_end_of_head(&answer).to_vec())),
        of(Kind::Garbage, "another-protocol", after_request(vec![send("SSH-2.0-OpenSSH_9.9\r\n\r\n")])),
        riding(of(
            Kind::Html,
            "maintenance",
            changed(|_, answer, _| with_header(&answer, "content-type: text/html")),
        )),
        riding(of(
            Kind::Html,
            "xhtml",
            changed(|_, answer, _| {
                with_header(&answer, "Content-Type: Application/XHTML+xml; charset=utf-8")
            }),
        )),
    ];
    let silent = [
        of(Kind::Hang, "no-answer", after_request(vec![Step::Hang])),
        of(Kind::Hang, "half-a-head", after_request(vec![send(begun), Step::Hang])),
        of(
            Kind::Drip,
            "too-slow",
            after_request(vec![Step::Drip {
                bytes: wire::head(200, &[("x", &"y".repeat(400))]),
                size: 1,
                pause: SLOW,
            }]),
        ),
        of(
            Kind::Hang,
            "interim-for-ever",
            after_request(vec![Step::Repeat(vec![
                send("HTTP/1.1 103 Early Hints\r\n\r\n"),
                Step::Pause(SLOW),
            ])]),
        ),
    ];
    rows.extend(silent.map(|row| Probe { silent: true, ..row }));
    for status in [301, 302, 303, 307, 308] {
        for (which, to_other_origin) in [("same-origin", false), ("other-origin", true)] {
            let way = script(move |wires| {
                let base = if to_other_origin { wires.elsewhere.to_owned() } else { String::new() };
                let answer = move |request: &Request| {
                    let location = format!("{base}{}", request.target);
                    wire::http(status, &[("location", &location)], "")
                };
                wires.after_request([Step::Answer(Answering::by(answer))])
            });
            rows.push(of(Kind::Redirect, &format!("{which}-{status}"), way));
        }
    }
    rows
}

fn statuses() -> Vec<Probe> {
    let mut rows = Vec::new();
    for status in (100..=999).filter(|status| *status != 200) {
        let effect = match status {
            401 | 403 | 404 => Effect::Denied,
            _ => Effect::Unknown,
        };
        let bare = after_request(vec![Step::Send(wire::head(status, &[("connection", "close")]))]);
        rows.push(probe(Phase::Head, Kind::Status, &format!("{status}-bare"), effect, bare));
        // Only the number differs from the real server's yes.
        let signed = changed(move |_, answer, _| with_status(&answer, status));
        rows.push(probe(Phase::Head, Kind::Status, &format!("{status}-signed"), effect, signed));
    }
    rows
}

/// Answers that are well formed, made of the real server's yes.
fn forged() -> Vec<Probe> {
    let of = |which: &str, effect, way| riding(probe(Phase::Head, Kind::Forged, which, effect, way));
    let replaced = |from: &'static str, to: &'static str| {
        changed(move |_, answer, _| String::from_utf8_lossy(&answer).replace(from, to).into_bytes())
    };
    vec![
        // A cache: the same question with another nonce was answered with yes a moment ago.
        of(
            "older-nonce",
            Effect::Unknown,
            changed(|request, _, real| {
                real.asked(&request.with_header("mcpd-probe", "run; nonce=00112233445566778899aabbccddeeff"))
            }),
        ),
        of(
            "no-nonce",
            Effect::Unknown,
            changed(|request, _, real| real.asked(&request.without_header("mcpd-probe"))),
        ),
        of("no-decision", Effect::Bare, changed(|_, answer, _| without_line(&answer, "mcpd-decision"))),
        of("twice", Effect::Unknown, changed(|_, answer, _| twice(&answer, "mcpd-decision"))),
        of("another-grammar", Effect::Unknown, replaced("mcpd-decision: allow", "mcpd-decision: allowed,")),
        of("deny", Effect::Denied, changed(|request, _, _| denied(request))),
        of("view-only", Effect::Denied, replaced("verbs=view,run", "verbs=view")),
        of(
            "failover-forbidden",
            Effect::Denied,
            changed(|_, answer, _| {
                with_header(&without_line(&answer, "mcpd-failover"), "mcpd-failover: forbidden")
            }),
        ),
        of(
            "failover-unclear",
            Effect::Unknown,
            changed(|_, answer, _| {
                with_header(&without_line(&answer, "mcpd-failover"), "mcpd-failover: perhaps")
            }),
        ),
        of("another-llm", Effect::Unknown, changed(|_, answer, _| renamed(&answer))),
        // A second answer behind the first: a HEAD has no body, and nothing after its head is read.
        of(
            "second-answer",
            Effect::Denied,
            changed(|_, answer, _| [wire::http(403, &[], ""), answer].concat()),
        ),
        of(
            "body-after-yes",
            Effect::Real,
            changed(|_, answer, _| [answer, wire::http(403, &[], "no")].concat()),
        ),
        // An interim answer is none (RFC 9110, section 15.2): what follows it counts, whatever stands in it.
        of(
            "early-hints-first",
            Effect::Real,
            changed(|_, answer, _| [b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec(), answer].concat()),
        ),
        of(
            "interim-yes",
            Effect::Denied,
            changed(|_, answer, _| [with_status(&answer, 103), wire::http(403, &[], "")].concat()),
        ),
    ]
}
