//! What is said about each failure and each verdict: in documents a word, to people a sentence.

use super::*;

fn status(status: u16, error: RemoteError) -> Fault {
    Fault::Status { status, error }
}

fn said_by(origin: Option<Origin>, code: Option<&str>, message: Option<&str>) -> RemoteError {
    RemoteError {
        origin,
        code: code.map(Into::into),
        message: message.map(Into::into),
        ..RemoteError::default()
    }
}

fn told(fault: Fault, delivered: Delivered) -> String {
    failure(fault, delivered).told_of("central").to_string()
}

#[test]
fn every_failure_has_its_word_its_sentence_and_what_is_known_of_the_request() {
    let unreachable = |how| Fault::Unreachable { target: "mcpd.example:443".into(), how };
    let (no, unknown) = (PrimaryState::NotExecuted, PrimaryState::Unknown);
    let three = Duration::from_secs(3);
    let plain = RemoteError::default;
    for (fault, word, sentence, state) in [
        (Fault::NotAsked, "not_asked", "central was not asked (--route local)", no),
        (
            unreachable(Unreachable::Dns("no such host".into())),
            "dns",
            "cannot reach mcpd.example:443: no address (no such host)",
            no,
        ),
        (
            unreachable(Unreachable::Refused),
            "refused",
            "cannot reach mcpd.example:443: connection refused",
            no,
        ),
        (
            unreachable(Unreachable::ConnectTimeout(three)),
            "connect_timeout",
            "cannot reach mcpd.example:443: no connection within 3 s",
            no,
        ),
        (
            unreachable(Unreachable::Reset),
            "reset",
            "cannot reach mcpd.example:443: connection closed before an answer",
            unknown,
        ),
        (
            unreachable(Unreachable::Network("no route".into())),
            "network",
            "cannot reach mcpd.example:443: no route",
            unknown,
        ),
        (
            Fault::NoContent(Duration::from_millis(400)),
            "no_content",
            "central sent no content within 0.4 s",
            unknown,
        ),
        (status(503, plain()), "http", "central answered 503", no),
        (status(504, plain()), "http", "central answered 504", unknown),
        (
            Fault::ErrorEvent { code: None, message: "boom".into() },
            "error_event",
            "central reported an error: boom",
            unknown,
        ),
        (Fault::Cut("connection closed".into()), "cut", "connection closed by central", unknown),
        (Fault::Idle(three), "idle", "central sent nothing for 3 s", unknown),
        (Fault::Tls("wrong name".into()), "tls", "cannot trust central: wrong name", no),
        (
            Fault::Unparsable("a web page".into()),
            "protocol",
            "central sent no answer of this protocol: a web page",
            unknown,
        ),
        (Fault::Deadline(three), "deadline", "--timeout 3 s is over", unknown),
        (Fault::OutputClosed, "output", "standard output is closed", unknown),
        (Fault::Output("no space".into()), "output", "cannot write the answer: no space", unknown),
    ] {
        let failed = CallFailure::before_content(fault);
        assert_eq!(failed.fault.word(), word, "{failed:?}");
        assert_eq!(failed.told_of("central").to_string(), sentence);
        assert_eq!(failed.primary_state(), state, "{failed:?}");
        for delivered in [Delivered::Reasoning(1), Delivered::Content(1)] {
            let begun = CallFailure { delivered, ..failed.clone() };
            assert_eq!(begun.primary_state(), PrimaryState::Partial, "{begun:?}");
        }
    }
    assert_eq!(
        [no, unknown, PrimaryState::Partial].map(PrimaryState::as_str),
        ["not_executed", "unknown", "partial"]
    );
}

#[test]
fn what_had_been_delivered_is_said_with_its_size() {
    let cut = || Fault::Cut("connection closed".into());
    for (bytes, size) in [
        (1, "1"),
        (999, "999"),
        (1031, "1,031"),
        (52_000, "52,000"),
        (123_456, "123,456"),
        (1_234_567, "1,234,567"),
    ] {
        let sentence = format!("the answer broke off after {size} bytes (connection closed by central)");
        assert_eq!(told(cut(), Delivered::Content(bytes)), sentence);
    }
    assert_eq!(
        told(cut(), Delivered::Reasoning(7)),
        "the answer broke off after 7 bytes of reasoning (connection closed by central)"
    );
    assert_eq!(told(Fault::OutputClosed, Delivered::Content(7)), "standard output is closed");
}

#[test]
fn how_long_it_took_and_when_to_come_back_are_said_at_the_end() {
    let took = |fault: Fault, millis| {
        let failed = CallFailure::before_content(fault);
        failed.told_of("central").after(Duration::from_millis(millis)).to_string()
    };
    assert_eq!(took(status(503, RemoteError::default()), 999), "central answered 503 after 999 ms");
    assert_eq!(took(status(503, RemoteError::default()), 1300), "central answered 503 after 1.3 s");
    let busy = RemoteError { retry_after: Some(7), ..RemoteError::default() };
    assert_eq!(took(status(503, busy), 1000), "central answered 503 after 1.0 s; try again in 7 s");
}

#[test]
fn our_servers_code_is_said_unless_the_request_is_wrong() {
    let (ours, quota) = (Some(Origin::Gateway), Some(Origin::Quota));
    for (error, words) in [
        (RemoteError::default(), ""),
        (said_by(ours, Some("upstream_timeout"), Some("It took too long.")), " (upstream timeout)"),
        (said_by(ours, Some("invalid"), Some("No field x.")), " (No field x)"),
        (said_by(ours, None, Some("Text.")), " (Text)"),
        (said_by(ours, Some("upstream_timeout"), None), " (upstream timeout)"),
        (said_by(quota, Some("rate_limited"), Some("Two at a time.")), " (Two at a time)"),
        (said_by(None, Some("rate_limited"), Some("Slow down.")), " (Slow down)"),
        (said_by(None, Some("rate_limited"), None), " (rate limited)"),
    ] {
        assert_eq!(error.to_string(), words, "{error:?}");
    }
    let moved = RemoteError { location: Some("http://elsewhere/".into()), ..RemoteError::default() };
    assert_eq!(moved.to_string(), ", a redirect to http://elsewhere/ that is not followed");
}

#[test]
fn why_there_is_no_stand_in_is_said() {
    for (none, words) in [
        (NoStandIn::NotDeclared, "no provider declared for this LLM"),
        (NoStandIn::AskedById, "failovers are declared by name; ask for the LLM by its name"),
        (NoStandIn::RouteCentral, "--route central forbids a failover"),
        (NoStandIn::FileUnusable, "the provider file cannot be used (mcpctl providers validate)"),
        (NoStandIn::IsCentral("x".into()), "provider \"x\" is the central server itself"),
    ] {
        assert_eq!(none.to_string(), words);
    }
}

#[test]
fn every_verdict_has_its_word_and_its_sentence() {
    let judged = |required, status, decision: &[String], failover: &[&str], content_type: &[&str]| {
        Verdict::judge(&asked(required), &reply(status, decision, failover, content_type))
    };
    let yes = || vec![allow().to_string()];
    let other = |from, to| vec![allow().to_string().replace(from, to)];
    let deny = vec![Decision::Deny { nonce: None }.to_string()];
    for (verdict, word, sentence) in [
        (judged(true, 200, &yes(), &[], &[]), "allowed", "allowed"),
        (
            judged(true, 401, &[], &[], &[]),
            "denied",
            "denied: the server does not accept the credential (401)",
        ),
        (judged(true, 403, &[], &[], &[]), "denied", "denied: run is not granted (403)"),
        (judged(true, 404, &[], &[], &[]), "denied", "denied: the server has no such LLM (404)"),
        (judged(true, 200, &deny, &[], &[]), "denied", "denied: run is not granted"),
        (
            judged(true, 200, &other("view,run", "view"), &[], &[]),
            "denied",
            "denied: view is granted, run is not",
        ),
        (
            judged(true, 200, &yes(), &["forbidden"], &[]),
            "denied",
            "denied: the administrator forbids failovers of this LLM",
        ),
        (Verdict::no_answer("connection refused"), "unknown", "unknown: connection refused"),
        (judged(true, 500, &yes(), &[], &[]), "unknown", "unknown: answered 500"),
        (judged(true, 200, &yes(), &[], &["text/html"]), "unknown", "unknown: answered with a web page"),
        (
            judged(true, 200, &yes(), &["maybe"], &[]),
            "unknown",
            "unknown: answered with a malformed decision",
        ),
        (
            judged(true, 200, &[], &[], &[]),
            "unknown",
            "unknown: answered without the decision that this server is known to send",
        ),
        (
            judged(true, 200, &other("0101", "0202"), &[], &[]),
            "unknown",
            "unknown: answered with a copy of an older decision",
        ),
        (judged(true, 200, &other(ID, OTHER_ID), &[], &[]), "unknown", "unknown: answered about another LLM"),
    ] {
        assert_eq!((verdict.word(), verdict.to_string().as_str()), (word, sentence));
        assert_eq!(verdict.outcome().is_ok(), word == "allowed");
    }
}
