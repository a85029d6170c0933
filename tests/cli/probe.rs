//! What comes back when the server is asked for permission: only its own clear yes opens anything.

use crate::{
    scripts::{answer, close, down, whole},
    support::{Client, PROMPT, Scripted, Stage, says},
};
use fakes::{Answering, Engine, Evild, Request, Script, Step, wire};
use predicates::prelude::*;
use std::{
    fs,
    time::{Duration, Instant},
};

/// Three seconds, and the time that a loaded machine takes to start a program.
const PROBE_LIMIT: Duration = Duration::from_secs(6);

/// The server's inference path is down, and this is what the probe brings.
fn probed_by(script: Script) -> Scripted {
    Scripted::new(Evild::start([down(), script]))
}

/// Nothing took over: the primary's error, why, one probe, no byte for the local provider.
fn assert_closed(scene: &Scripted, code: i32, why: &str) {
    let told = says("central answered 503").and(says("failover refused")).and(says(why));
    scene.dana.infer(&[]).code(code).stdout("").stderr(told);
    assert_eq!((scene.central.connections(), scene.probes()), (2, 1), "one primary, one probe");
    scene.assert_local_untouched();
}

#[test]
fn p08_a_server_by_plain_http_is_a_mistake_of_the_config_and_nothing_is_sent() {
    // A proxy that answers 200 to all, as a captive portal does.
    let page = wire::http(200, &[("content-type", "text/html")], "<h1>Please log in</h1>");
    let portal = Evild::answering(page);
    let local = Engine::start();
    let url = "http://mcpd.example:3100";
    let dana = Client::of(url, "mcpd_0123456789abcdef_canarycanarycanarycanary");
    dana.failover("chat-prod", &local.url());
    let infer = || {
        let mut command = dana.cmd(["infer", "chat-prod", PROMPT]);
        command.env("HTTP_PROXY", portal.url()).env("http_proxy", portal.url());
        command
    };
    infer().assert().code(2).stdout("").stderr(says("plain http to mcpd.example:3100"));
    assert_eq!(portal.connections(), 0, "something was sent");

    // With the operator's consent it is sent, but to nobody else: a proxy would see the bearer.
    let config = format!("contexts:\n  - {{ name: c, server: \"{url}\", insecureHttp: true }}\n");
    fs::write(dana.home().join(".config/mcpctl/config.yaml"), config).unwrap();
    let mut consented = infer();
    consented.env_remove("MCPCTL_SERVER").args(["--context", "c"]);
    consented.assert().code(6).stdout("").stderr(says("cannot reach mcpd.example:3100"));
    assert_eq!((portal.connections(), local.connections()), (0, 0));
}

/// Yes to this very probe, for the caller's rights to be these.
fn decided(verbs: &'static str) -> Script {
    let decide = move |probe: &Request| {
        let nonce = probe.header("mcpd-probe").unwrap_or_default().trim_start_matches("run; ");
        let decision = format!("allow; llm=chat-prod; id=c123456789012345678901234; verbs={verbs}; {nonce}");
        wire::http(200, &[("mcpd-decision", &decision)], "")
    };
    vec![Step::ReadRequest, Step::Answer(Answering::by(decide))]
}

#[test]
fn p03_a_decision_that_allows_to_view_and_not_to_run_opens_nothing() {
    probed_by(decided("view,run")).dana.infer(&[]).code(0).stdout("Hello from the laptop.\n");
    for verbs in ["view", "view,create,edit,delete"] {
        assert_closed(&probed_by(decided(verbs)), 5, "view is granted, run is not");
    }
}

#[test]
fn p09_a_web_page_instead_of_a_yes_opens_nothing() {
    for content_type in ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"] {
        let page = answer(200, &[("content-type", content_type)], "");
        assert_closed(&probed_by(page), 6, "probe: answered with a web page");
    }
}

/// An older server sends no decision, so its bare 200 is a yes; once one was seen, silence is somebody else.
#[test]
fn p09_a_bare_yes_is_enough_until_the_server_was_seen_to_say_more() {
    let stage = Stage::new();
    let balancer = Evild::start([down(), answer(200, &[], "")]);
    let dana = Client::of(&balancer.url(), &stage.dana_token);
    dana.failover("chat-prod", &stage.local.url());
    dana.infer(&[]).code(0).stdout("Hello from the laptop.\n");

    let decided = "allow; llm=chat-prod; id=c123456789012345678901234; verbs=view,run";
    let answered = wire::sse_chunked(&wire::answer("Hello."));
    let head = format!("HTTP/1.1 200 OK\r\nmcpd-decision: {decided}\r\n");
    let answered = [head.as_bytes(), &answered["HTTP/1.1 200 OK\r\n".len()..]].concat();
    let scene = Scripted::new(Evild::start([whole(answered), down(), answer(200, &[], "")]));
    scene.dana.infer(&[]).code(0).stdout("Hello.\n").stderr("");
    let refused = says("answered without the decision that this server is known to send");
    scene.dana.infer(&[]).code(6).stdout("").stderr(refused);
    scene.assert_local_untouched();
}

#[test]
fn p10_a_redirected_probe_is_never_followed_to_another_origin_or_its_own() {
    let other = Evild::answering(wire::http(200, &[], ""));
    for status in [301, 302, 303, 307, 308] {
        for target in [format!("{}/api/v1/llms/chat-prod", other.url()), "/api/v1/llms/chat-prod".into()] {
            let script = answer(status, &[("location", &target)], "");
            let scene = Scripted::new(Evild::start([down(), script, answer(200, &[], "")]));
            assert_closed(&scene, 6, &format!("probe: answered {status}"));
        }
    }
    assert_eq!(other.connections(), 0, "another host was asked, and saw the bearer");
}

#[test]
fn p12_no_status_but_200_permits_a_failover() {
    let statuses = || 100..=999;
    // What was permitted is reported: that connection is refused like those before it.
    let report = |status| (status == 200).then(|| answer(404, &[], ""));
    let scripts =
        statuses().flat_map(|status| [down(), answer(status, &[], "")].into_iter().chain(report(status)));
    let scene = Scripted::new(Evild::start(scripts));
    let mut permitted = Vec::new();
    for status in statuses() {
        let expected = match status {
            200 => 0,
            401 | 403 | 404 => 5,
            _ => 6,
        };
        let before = (scene.local.connections(), scene.asked());
        let run = scene.dana.infer(&[]);
        let code = run.get_output().status.code();
        assert_eq!(code, Some(expected), "status {status} of the probe: {run}");
        assert_eq!(scene.asked(), before.1 + 2, "status {status}");
        if scene.local.connections() > before.0 {
            permitted.push(status);
        }
    }
    assert_eq!((permitted, scene.probes()), (vec![200], statuses().count()));
}

/// A 1xx announces an answer and is none.
#[test]
fn p12_an_interim_answer_is_no_yes_whatever_follows() {
    let ok = wire::http(200, &[], "");
    for (interim, after, code, why) in [
        ("HTTP/1.1 100 Continue\r\n\r\n", wire::http(403, &[], ""), 5, "run is not granted (403)"),
        (
            "HTTP/1.1 103 Early Hints\r\nmcpd-decision: allow\r\n\r\n",
            wire::http(503, &[], ""),
            6,
            "answered 503",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", ok, 6, "probe: "),
    ] {
        let scene = probed_by(whole([interim.as_bytes(), &after].concat()));
        assert_closed(&scene, code, why);
    }
}

#[test]
fn p12_what_is_no_http_answer_is_no_yes() {
    for odd in [
        "",
        "HTTP/1.1 200",
        "HTTP/0.9 200 OK\r\n\r\n",
        "HTTP/1.1 0200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "200 OK\r\n\r\n",
        "\r\n\r\n",
    ] {
        assert_closed(&probed_by(close(whole(odd))), 6, "cannot confirm that you may use");
    }
}

#[test]
fn p13_a_box_that_does_not_know_head_is_never_asked_by_get() {
    for status in [405, 501] {
        let script = answer(status, &[("allow", "GET, POST")], "");
        let scene = Scripted::new(Evild::start([down(), script, answer(200, &[], "{}")]));
        assert_closed(&scene, 6, &format!("probe: answered {status}"));
        let methods: Vec<_> = scene.central.requests().into_iter().map(|request| request.method).collect();
        assert_eq!(methods, ["POST", "HEAD"]);
    }
}

#[test]
fn p14_a_second_answer_in_the_body_of_the_first_is_not_read() {
    let (yes, no) = (wire::http(200, &[], ""), wire::http(403, &[], ""));
    let with_body = |status, body: &[u8]| {
        let length = body.len().to_string();
        whole([&wire::head(status, &[("content-length", &length)]), body].concat())
    };
    assert_closed(&probed_by(with_body(403, &yes)), 5, "run is not granted (403)");
    assert_closed(&probed_by(with_body(503, &yes)), 6, "probe: answered 503");
    // The other way round: the head is a yes, and the body neither takes it back nor becomes a part of the answer.
    let scene = probed_by(with_body(200, &no));
    scene.dana.infer(&[]).code(0).stdout("Hello from the laptop.\n");
    assert_eq!((scene.asked(), scene.local.requests()), (2, 1));
}

#[test]
fn p14_the_probe_has_a_connection_of_its_own() {
    // The primary's connection stays open, and whoever asks on it once more gets a yes.
    let (no, yes) = (wire::http(503, &[], ""), wire::http(200, &[], ""));
    let scene = Scripted::new(Evild::start([[whole(no), whole(yes)].concat(), answer(403, &[], "")]));
    assert_closed(&scene, 5, "run is not granted (403)");
    assert!(scene.central.received(1).starts_with(b"HEAD /api/v1/llms/chat-prod HTTP/1.1\r\n"));
}

#[test]
fn p15_a_yes_from_a_cache_has_another_nonce_and_opens_nothing() {
    let stage = Stage::new();
    let probe = [("mcpd-probe", "run; nonce=00112233445566778899aabbccddeeff")];
    let yes = stage.mcpd.request("HEAD", "/api/v1/llms/chat-prod", Some(&stage.dana_token), &probe, b"");
    assert_eq!((yes.status, yes.header("cache-control")), (200, Some("no-store")));
    assert!(yes.header("mcpd-decision").unwrap().ends_with("nonce=00112233445566778899aabbccddeeff"));
    let headers: Vec<_> = yes.headers.iter().collect();
    let cache = Evild::start([down(), whole(wire::head(200, &headers))]);
    let dana = Client::of(&cache.url(), &stage.dana_token);
    dana.failover("chat-prod", &stage.local.url());
    let refused = says("central answered 503").and(says("answered with a copy of an older decision"));
    dana.infer(&[]).code(6).stdout("").stderr(refused);
    stage.assert_local_untouched();
    let nonces: Vec<_> =
        cache.requests().iter().filter_map(|r| Some(r.header("mcpd-probe")?.to_owned())).collect();
    assert!(matches!(&nonces[..], [nonce] if nonce.starts_with("run; nonce=") && nonce != probe[0].1));
}

#[test]
fn p17_an_answer_that_drips_is_waited_for_no_longer_than_the_probe_may_take() {
    let second = Duration::from_secs(1);
    let head = wire::http(200, &[("x-slow", &"y".repeat(120))], "");
    let drip = vec![Step::ReadRequest, Step::Drip { bytes: head, size: 1, pause: second }];
    let silence = vec![Step::ReadRequest, Step::Hang];
    for script in [drip, silence, vec![Step::Stall]] {
        let scene = probed_by(script);
        let started = Instant::now();
        assert_closed_in_time(&scene, "no content within 3 s");
        assert!(started.elapsed() < PROBE_LIMIT, "{:?}", started.elapsed());
    }
}

fn assert_closed_in_time(scene: &Scripted, why: &str) {
    let started = Instant::now();
    let told = says("central answered 503").and(says(why));
    scene.dana.infer(&[]).code(6).stdout("").stderr(told);
    assert!(started.elapsed() < PROBE_LIMIT, "{:?}", started.elapsed());
    assert_eq!(scene.central.connections(), 2);
    scene.assert_local_untouched();
}

#[test]
fn p17_headers_without_end_are_refused() {
    let line = format!("x-more: {}\r\n", "y".repeat(8000));
    let flood = [b"HTTP/1.1 200 OK\r\n".as_slice(), line.repeat(1250).as_bytes(), b"\r\n"].concat();
    assert!(flood.len() > 10_000_000);
    assert_closed_in_time(&probed_by(whole(flood)), "cannot confirm that you may use");
    let many = [b"HTTP/1.1 200 OK\r\n".as_slice(), "x: y\r\n".repeat(10_000).as_bytes(), b"\r\n"].concat();
    assert_closed_in_time(&probed_by(whole(many)), "cannot confirm that you may use");
}

#[test]
fn p17_interim_answers_without_end_are_refused() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000).into_bytes();
    let flood = vec![Step::ReadRequest, Step::Repeat(vec![Step::Send(interim)])];
    assert_closed_in_time(&probed_by(flood), "no content within 3 s");
}
