//! What the primary answers: only an outage of the inference path is worth asking for permission.

use crate::{
    scripts::{answer, down, whole},
    support::{Scripted, says},
};
use fakes::{Evild, wire};
use predicates::prelude::*;

/// The exit code after this status of the primary, and whether permission was asked for. The probe says 403.
fn expected(status: u16) -> (i32, bool) {
    match status {
        // A 1xx announces an answer that then does not come: the connection was lost. 101 is an answer.
        100 | 102..=199 | 500..=599 => (5, true),
        401 => (4, false),
        403 => (5, false),
        402 | 429 => (7, false),
        400..=499 => (9, false),
        _ => (7, false),
    }
}

/// Every status that blames the request, and of the others those that somebody could send or mistake.
fn statuses() -> impl Iterator<Item = u16> {
    let odd = [100, 101, 102, 103, 199, 200, 201, 202, 204, 206, 226, 299, 300, 304, 399, 599, 600, 700, 999];
    (400..=511).chain(odd)
}

#[test]
fn p04_only_5xx_and_lost_connections_are_probed() {
    let scripts = statuses().flat_map(|status| {
        let probe = expected(status).1.then(|| answer(403, &[], ""));
        [Some(answer(status, &[], "")), probe].into_iter().flatten()
    });
    let scene = Scripted::new(Evild::start(scripts));
    for status in statuses() {
        let before = (scene.central.connections(), scene.probes());
        let (code, probed) = expected(status);
        let run = scene.dana.infer(&[]);
        let output = run.get_output();
        assert_eq!(output.status.code(), Some(code), "status {status} of the primary: {run}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "status {status}: {run}");
        let asked = (scene.central.connections() - before.0, scene.probes() - before.1);
        assert_eq!(asked, (1 + usize::from(probed), usize::from(probed)), "status {status}");
    }
    scene.assert_local_untouched();
}

#[test]
fn p04_what_the_primary_says_of_the_request_is_what_the_user_reads() {
    for (status, code, said) in [
        (400, 9, "central answered 400 (bad thing)"),
        (401, 4, "central answered 401 (bad thing)"),
        (404, 9, "central answered 404 (bad thing)"),
        (413, 9, "central answered 413 (bad thing)"),
        (422, 9, "central answered 422 (bad thing)"),
    ] {
        let error = wire::json_answer(status, &wire::error("bad thing", status));
        let scene = Scripted::new(Evild::answering(error));
        scene.dana.infer(&[]).code(code).stdout("").stderr(says(said).and(says("failover refused").not()));
        assert_eq!(scene.central.connections(), 1, "{status}");
        scene.assert_local_untouched();
    }
}

#[test]
fn p05_a_quota_shows_a_bounded_wait_and_is_never_failed_over() {
    let date = "Wed, 21 Oct 2099 07:28:00 GMT";
    for (wait, shown) in [
        (Some("7"), Some("; try again in 7 s")),
        (Some("999999999"), Some("; try again in 3600 s")),
        (Some("99999999999999999999999999"), None),
        (Some("-5"), None),
        (Some("7.5"), None),
        (Some(date), Some("; try again in 3600 s")),
        (Some("7\u{9b}"), None),
        (None, None),
    ] {
        for origin in [None, Some("quota"), Some("gateway"), Some("policy"), Some("nonsense")] {
            let wait = wait.map(|wait| ("retry-after", wait));
            let headers: Vec<_> = wait.into_iter().chain(origin.map(|o| ("mcpd-error-origin", o))).collect();
            let scene = Scripted::new(Evild::start([answer(429, &headers, "")]));
            let told = says("central answered 429").and(says("no failover: a limit that the server sets"));
            let wait = predicate::str::contains("try again in").count(usize::from(shown.is_some()));
            let told = told.and(wait).and(says(shown.unwrap_or_default())).and(says("\u{9b}").not());
            scene.dana.infer(&[]).code(7).stdout("").stderr(told);
            assert_eq!(scene.central.connections(), 1, "{headers:?}");
            scene.assert_local_untouched();
        }
    }
}

#[test]
fn p05_the_upstreams_own_limit_is_an_outage_and_may_be_failed_over() {
    let limited = answer(429, &[("mcpd-error-origin", "upstream"), ("retry-after", "7")], "");
    let scene = Scripted::new(Evild::start([limited, answer(200, &[], "")]));
    let told = predicate::str::is_match(r"central answered 429 after [\d.]+ m?s; try again in 7 s").unwrap();
    let told = told.and(says("failover: answering from"));
    scene.dana.infer(&[]).code(0).stdout("Hello from the laptop.\n").stderr(told);
    assert_eq!((scene.probes(), scene.local.requests()), (1, 1));
}

#[test]
fn p11_a_redirected_primary_sends_neither_prompt_nor_bearer_again() {
    let other = Evild::answering(wire::sse_chunked(&wire::answer("Hello from elsewhere.")));
    for status in [300, 301, 302, 303, 307, 308, 399] {
        for target in [format!("{}/x", other.url()), "/x".into(), "//127.0.0.1/x".into(), String::new()] {
            let scene = Scripted::new(Evild::start([answer(status, &[("location", &target)], ""), down()]));
            let told = format!("central answered {status}");
            let told = says(&told).and(says("a redirect is never followed"));
            scene.dana.infer(&[]).code(7).stdout("").stderr(told);
            assert_eq!(scene.central.connections(), 1, "{status} to {target:?}");
            scene.assert_local_untouched();
        }
    }
    assert_eq!(other.connections(), 0, "another host was asked");
}

#[test]
fn p11_an_answer_with_a_location_is_an_answer() {
    let head =
        wire::head(200, &[("content-type", "text/event-stream"), ("location", "http://127.0.0.1:9/x")]);
    let events = wire::answer("Hello.").iter().flat_map(|data| wire::event(data)).collect();
    let scene = Scripted::new(Evild::start([whole([head, events].concat())]));
    scene.dana.infer(&[]).code(0).stdout("Hello.\n").stderr("");
}
