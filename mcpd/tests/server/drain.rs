//! D11: the way down, as those see it who send requests: a load balancer, a service manager, clients with connections.

use crate::cases::{CHAT, INFER, LIMIT, probe, prompt};
use fakes::{Certificate, Engine, Mcpd, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
};

#[test]
fn d11_before_the_drain_requests_are_still_taken_while_readiness_is_off() {
    let engine = Engine::start();
    let mut mcpd = Mcpd::builder().arg("--drain-delay").arg("1h").start();
    mcpd.create_llm("chat", &engine.url());
    mcpd.signal(Signal::TERM);
    wait_until(LIMIT, "readiness goes off", || mcpd.request("GET", "/readyz", None, &[], b"").status == 503);
    let permitted = probe(&mcpd, CHAT, mcpd.admin_token());
    assert_eq!(permitted.status, 200);
    assert!(permitted.header("mcpd-decision").is_some_and(|decision| decision.starts_with("allow; ")));
    let answer = mcpd.api("POST", INFER, mcpd.admin_token(), &prompt(json!({})));
    // And whoever holds a connection is to go elsewhere with the next request.
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(mcpd.request("GET", "/healthz", None, &[], b"").status, 200);
    // A second signal ends the wait too.
    mcpd.signal(Signal::TERM);
    assert!(!mcpd.wait().success());
}

#[test]
fn d11_after_the_delay_comes_the_drain() {
    let mut mcpd = Mcpd::builder().arg("--drain-delay").arg("300ms").start();
    assert!(mcpd.stop().success());
    let logs = mcpd.logs();
    let place = |text: &str| logs.find(text).unwrap_or_else(|| panic!("{text} is not in {logs}"));
    assert!(place("leaving: ") < place("stopping: ") && place("stopping: ") < place("\"stopped\""), "{logs}");
}

#[test]
fn d11_a_connection_on_which_nothing_is_asked_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let issued = Certificate::Good.issue();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&certificate, &issued.certificate).unwrap();
    fs::write(&key, &issued.key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let plain = Mcpd::builder().arg("--drain").arg("1h");
    let tls = ["--tls-cert".into(), certificate.to_str().unwrap().to_owned()];
    let tls = tls.into_iter().chain(["--tls-key".into(), key.to_str().unwrap().to_owned()]);
    let with_tls = tls.fold(plain.clone(), fakes::McpdBuilder::arg);
    for (mut mcpd, asks) in [(plain.start(), true), (with_tls.start(), false)] {
        let mut idle = TcpStream::connect(mcpd.addr()).unwrap();
        if asks {
            idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let mut answer = [0; 1];
            idle.read_exact(&mut answer).unwrap();
        }
        assert!(mcpd.stop().success());
    }
}

#[test]
fn d11_a_service_manager_is_told_when_it_is_ready_and_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let told = || {
        let mut text = [0; 256];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).trim_end().to_owned()
    };
    let mut mcpd = Mcpd::builder().env("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    assert_eq!(told(), "READY=1");
    assert_eq!(mcpd.request("GET", "/readyz", None, &[], b"").status, 200);
    mcpd.signal(Signal::TERM);
    assert_eq!(told(), "STOPPING=1");
    assert!(mcpd.wait().success());
    // And one that listens no more is no reason not to start.
    drop(manager);
    mcpd.restart();
    wait_until(LIMIT, "it says so", || mcpd.logs().contains("the service manager could not be told"));
    assert_eq!(mcpd.request("GET", "/readyz", None, &[], b"").status, 200);
}
