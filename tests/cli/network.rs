//! Peers that are not there, fall silent, or speak another protocol.

use crate::{
    scripts::{answer, close, down, whole},
    support::{Client, PROMPT, Scripted, says},
};
use fakes::{Blackhole, Certificate, Engine, Evild, Refusing, Script, Step, tls_identity, wire};
use predicates::prelude::*;
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

const TOKEN: &str = "mcpd_0123456789abcdef_canarycanarycanarycanary";

#[test]
fn n03_the_limits_are_those_of_the_contract_unless_somebody_says_otherwise() {
    let output = Client::stranger("http://127.0.0.1:9").cmd(["infer", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for (flag, default) in [
        ("--connect-timeout <TIME>", "[default: 5s]"),
        ("--first-token-timeout <TIME>", "[default: 120s]"),
        ("--idle-timeout <TIME>", "[default: 60s]"),
        ("--timeout <TIME>", "[default: none]"),
    ] {
        let (_, after) = help.split_once(flag).unwrap_or_else(|| panic!("{flag} is not in the help"));
        let shown = after.split("\n      --").next().unwrap();
        assert!(shown.contains(default), "{flag}: {shown}");
    }
    assert_eq!(mcpctl::gateway::PROBE_LIMIT, Duration::from_secs(3));
}

#[test]
fn n03_a_port_that_refuses_or_swallows_is_an_outage_in_which_nobody_can_confirm_a_right() {
    let (refusing, hole) = (Refusing::new(), Blackhole::new());
    for (url, told) in [(refusing.url(), "connection refused"), (hole.url(), "no connection within 0.4 s")] {
        let local = Engine::start();
        let dana = Client::of(&url, TOKEN);
        dana.failover("chat-prod", &local.url());
        let refused = says(told).and(says("failover refused: cannot confirm that you may use \"chat-prod\""));
        let started = Instant::now();
        dana.infer(&["--connect-timeout", "400ms"]).code(6).stdout("").stderr(refused);
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert_eq!(local.connections(), 0, "the local provider was contacted");
        // With nobody who could stand in, nobody is asked twice.
        dana.providers("providers: []\n");
        dana.infer(&["--connect-timeout", "400ms"]).code(7).stdout("").stderr(says(told));
    }
}

/// A peer that is gone without a word: its machine lost power, or a box on the way forgot the connection.
#[test]
fn n03_a_peer_that_is_gone_without_a_word_is_waited_for_as_long_as_the_limits_say() {
    let head = wire::sse_chunked_head();
    let events = [wire::role(), wire::content("Hello")].map(|data| wire::chunk(&wire::event(&data)));
    let begun = [&head[..], &events.concat()].concat();
    let half_open = |sent: &[u8]| vec![Step::ReadRequest, Step::Send(sent.to_vec()), Step::Stall];
    // Words came: they stay what they are, and nobody goes on with them.
    let scene = Scripted::new(Evild::start([half_open(&begun), answer(200, &[], "")]));
    let told = says("the answer broke off after 5 bytes (central sent nothing for 0.4 s)");
    scene.dana.infer(&["--idle-timeout", "400ms"]).code(8).stdout("Hello").stderr(told);
    assert_eq!((scene.central.connections(), scene.probes()), (1, 0));
    scene.assert_local_untouched();
    // Not one word came: an outage, and the server's word decides.
    let patience = ["--first-token-timeout", "400ms"];
    for silent in [half_open(&head), half_open(b""), half_open(&head[..9]), vec![Step::Stall]] {
        let told = || says("central sent no content within 0.4 s");
        let scene = Scripted::new(Evild::start([silent.clone(), answer(200, &[], ""), answer(404, &[], "")]));
        scene.dana.infer(&patience).code(0).stdout("Hello from the laptop.\n").stderr(told());
        assert_eq!((scene.asked(), scene.probes(), scene.local.requests()), (2, 1, 1));
        let scene = Scripted::new(Evild::start([silent, answer(403, &[], "")]));
        scene.dana.infer(&patience).code(5).stdout("").stderr(told());
        scene.assert_local_untouched();
    }
}

/// What peers say that speak something else: none of it is an answer.
fn other_protocols() -> Vec<Vec<u8>> {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    vec![
        // HTTP/0.9 has no head.
        b"<html>Hello.</html>\n".to_vec(),
        b"HTTP/0.9 200 OK\r\n\r\nHello.".to_vec(),
        b"HTTP/2 200 OK\r\n\r\n".to_vec(),
        b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
        b"HTTP/3 200 OK\r\n\r\n".to_vec(),
        settings.to_vec(),
        [&settings[..], &goaway].concat(),
        [&preface[..], &settings].concat(),
        b"ICY 200 OK\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
        b"220 mail.example ESMTP\r\n".to_vec(),
        b"-ERR unknown command\r\n".to_vec(),
        // An alert of TLS, and its hello.
        vec![21, 3, 3, 0, 2, 2, 70],
        vec![22, 3, 1, 0, 5, 1, 0, 0, 1, 3],
    ]
}

#[test]
fn n09_a_peer_of_another_protocol_is_no_outage_and_nothing_is_probed() {
    for bytes in other_protocols() {
        for script in [whole(bytes.clone()), close(whole(bytes.clone()))] {
            let scene = Scripted::new(Evild::start([script, answer(200, &[], "")]));
            let told = says("central sent no answer of this protocol: ").and(says("panicked").not());
            scene.dana.infer(&[]).code(7).stdout("").stderr(told);
            let shown = String::from_utf8_lossy(&bytes);
            assert_eq!((scene.central.connections(), scene.probes()), (1, 0), "{shown:?}");
            scene.assert_local_untouched();
        }
    }
}

#[test]
fn n09_a_peer_of_another_protocol_confirms_no_right() {
    for bytes in other_protocols() {
        let scene = Scripted::new(Evild::start([down(), whole(bytes)]));
        let told =
            says("central answered 503").and(says("failover refused: cannot confirm that you may use"));
        scene.dana.infer(&[]).code(6).stdout("").stderr(told);
        assert_eq!((scene.central.connections(), scene.probes()), (2, 1));
        scene.assert_local_untouched();
    }
}

#[test]
fn n09_a_provider_of_another_protocol_has_failed_and_nobody_is_asked_again() {
    for bytes in other_protocols() {
        let central = Evild::start([down(), answer(200, &[], ""), answer(404, &[], "")]);
        let provider = Evild::start([whole(bytes)]);
        let dana = Client::of(&central.url(), TOKEN);
        dana.failover("chat-prod", &format!("{}/v1", provider.url()));
        let told = says("central answered 503")
            .and(says("failover: provider \"laptop\" failed: it sent no answer of this protocol: "));
        dana.infer(&[]).code(7).stdout("").stderr(told);
        assert_eq!(provider.connections(), 1);
        let posts = central.requests().iter().filter(|request| request.target.ends_with("/infer")).count();
        assert_eq!(posts, 1, "the way back was taken");
    }
}

/// A server that wants to speak only this in TLS, and goes on with that.
fn wanting(protocols: &[&[u8]], then: Script) -> (Evild, String) {
    let (config, authority) = tls_identity(Certificate::Good);
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    (Evild::start([[vec![Step::StartTls(Arc::new(config))], then].concat()]), authority)
}

#[test]
fn n09_a_server_that_wants_another_protocol_in_tls_is_no_outage_and_opens_nothing() {
    let frames = || vec![Step::ReadHead, Step::Send(vec![0, 0, 0, 4, 0, 0, 0, 0, 0]), Step::Hang];
    for protocols in [&[&b"h2"[..]][..], &[b"imap", b"acme-tls/1"], &[b"h2", b"http/1.1"]] {
        let (server, authority) = wanting(protocols, frames());
        let local = Engine::start();
        let url = format!("https://{}", server.addr());
        let dana = Client::of(&url, TOKEN);
        dana.failover("chat-prod", &local.url());
        let ca = dana.home().join("ca.pem");
        fs::write(&ca, authority).unwrap();
        let context = ["config", "set-context", "prod", "--server", &url, "--ca-file"];
        dana.cmd(context).arg(ca).assert().code(0);
        let mut infer = dana.cmd(["infer", "chat-prod", PROMPT]);
        let run = infer.env_remove("MCPCTL_SERVER").assert().code(7).stdout("");
        run.stderr(says("central").and(says("panicked").not()));
        assert_eq!((server.connections(), local.connections()), (1, 0), "{protocols:?}");
    }
}
