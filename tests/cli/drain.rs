//! What `mcpctl` makes of a server that stops, and of one that speaks TLS itself: with both programs as they are.

use crate::support::{LIMIT, PROMPT, Stage, TEN_WORDS, assert_logged, says};
use fakes::{Certificate, Engine, Mcpd, wait_until};
use predicates::prelude::*;
use rustix::process::Signal;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

#[test]
fn d11_an_answer_that_the_end_of_the_drain_cuts_is_incomplete_and_nobody_takes_over() {
    let mut stage = Stage::at(Mcpd::builder().arg("--drain").arg("200ms").start(), &["view", "run"]);
    let mut command = stage.dana.raw(["infer", "chat-prod", &format!("{PROMPT} [forever]")]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    assert!(!stdout.fill_buf().unwrap().is_empty());
    stage.mcpd.signal(Signal::TERM);
    let mut answer = String::new();
    stdout.read_to_string(&mut answer).unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(8), "{stderr}");
    assert!(stderr.contains("stopping"), "{stderr}");
    assert!(stage.mcpd.wait().success());
    stage.assert_local_untouched();
}

#[test]
fn d11_who_asks_during_the_drain_gets_no_failover_because_nobody_confirms_the_right() {
    let mut stage = Stage::at(Mcpd::builder().arg("--drain").arg("1h").start(), &["view", "run"]);
    let mut open = stage.dana.raw(["infer", "chat-prod", &format!("{PROMPT} [forever]")]);
    let mut open = open.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(open.stdout.take().unwrap());
    assert!(!stdout.fill_buf().unwrap().is_empty());
    stage.mcpd.signal(Signal::TERM);
    let mcpd = &stage.mcpd;
    wait_until(LIMIT, "the drain", || mcpd.logs().contains("stopping: "));
    stage
        .dana
        .infer(&[])
        .code(6)
        .stdout("")
        .stderr(says("failover refused: cannot confirm that you may use"));
    assert_logged(&stage.mcpd, "HEAD", 1);
    stage.assert_local_untouched();
    stage.mcpd.signal(Signal::TERM);
    assert!(!stage.mcpd.wait().success());
    // Cut without a word this time, and incomplete all the same.
    drop(stdout);
    assert!(!open.wait().unwrap().success());
}

#[test]
fn n05_the_client_asks_a_server_that_speaks_tls_itself_and_confirms_rights_there() {
    let issued = Certificate::Good.issue();
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (put("cert.pem", &issued.certificate), put("key.pem", &issued.key));
    let authority = put("ca.pem", &issued.authority);
    // Set up without TLS, on the same database.
    let mut plain = Stage::at(Mcpd::builder().sqlite().start(), &["view", "run"]);
    let data = plain.mcpd.data_dir();
    plain.mcpd.stop();
    let mcpd = Mcpd::builder().sqlite().administered_by(plain.mcpd.admin_token());
    let database = format!("sqlite://{}/mcpd.db", data.display());
    let args = ["--tls-cert", &certificate, "--tls-key", &key];
    let mcpd = args.into_iter().fold(mcpd.on_url(database), fakes::McpdBuilder::arg).start();

    let dana = &plain.dana;
    let url = mcpd.url().replace("http://", "https://");
    let context = ["config", "set-context", "prod", "--server", &url, "--ca-file", &authority];
    dana.cmd(context).env_remove("MCPCTL_SERVER").assert().code(0);
    let infer = || {
        let mut infer = dana.cmd(["infer", "chat-prod", PROMPT]);
        infer.env_remove("MCPCTL_SERVER");
        infer
    };
    infer().assert().code(0).stdout(says(TEN_WORDS));
    // The engine dies; the right is confirmed over TLS as well, and the laptop takes over.
    let upstream = std::mem::replace(&mut plain.upstream, Engine::start());
    drop(upstream);
    let told =
        says("permission for \"chat-prod\" confirmed by the server").and(says("failover: answering from"));
    infer().assert().code(0).stdout(says("Hello from the laptop.")).stderr(told);

    // Without the authority nothing is sent, and nobody takes over.
    let before = plain.local.requests();
    let other = put("other.pem", &Certificate::Good.issue().authority);
    let distrusts = ["config", "set-context", "prod", "--server", &url, "--ca-file", &other];
    dana.cmd(distrusts).env_remove("MCPCTL_SERVER").assert().code(0);
    infer().assert().code(7).stdout("").stderr(says("cannot trust central"));
    assert_eq!(plain.local.requests(), before);
    // Nor does it talk to the port without TLS.
    let mut without = dana.cmd(["infer", "chat-prod", PROMPT]);
    without.env("MCPCTL_SERVER", mcpd.url()).assert().code(9).stdout("").stderr(says("https://"));
    assert_eq!(plain.local.requests(), before);
}
