//! Proxies of the environment: what a broken one says is an outage of the network and no word about the caller, a
//! working one sees nothing but TLS, and for this machine none is used at all.

use crate::{
    engine_stage::EngineStage,
    scripts::{answer, down, whole},
    support::{Client, PROMPT, Stage, TEN_WORDS, says},
};
use assert_cmd::{Command, assert::Assert};
use fakes::{Certificate, Engine, Evild, FakeEngine, Link, Script, Step, tls_identity, wire};
use predicates::prelude::*;
use std::fs;

/// A server that nothing on this machine knows an address of.
const ELSEWHERE: &str = "https://mcpd.example";
/// All that a program may look for, and what somebody sets who wants everything to go through a proxy.
const VARIABLES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// A person whose server is behind a proxy, with a local provider on this machine.
struct Behind {
    local: Engine,
    dana: Client,
}

impl Behind {
    /// The server is trusted by this authority.
    fn of(authority: &str) -> Self {
        let local = Engine::builder().text("Hello from the laptop.").start();
        let dana = Client::of(ELSEWHERE, "mcpd_0123456789abcdef_canarycanarycanarycanary");
        dana.failover("chat-prod", &local.url());
        let ca = dana.home().join("ca.pem");
        fs::write(&ca, authority).unwrap();
        let context = ["config", "set-context", "prod", "--server", ELSEWHERE, "--ca-file"];
        dana.cmd(context).arg(ca).assert().code(0);
        Self { local, dana }
    }

    /// Asks, with this proxy for https.
    fn infer(&self, proxy: &str) -> Assert {
        self.cmd(proxy).assert()
    }

    fn cmd(&self, proxy: &str) -> Command {
        let mut command = self.dana.cmd(["infer", "chat-prod", PROMPT]);
        command.env_remove("MCPCTL_SERVER").env("HTTPS_PROXY", proxy);
        command
    }
}

/// Neither the token nor the prompt is in what went over this wire, and no header of the server.
fn assert_blind(seen: &[u8]) {
    let seen = String::from_utf8_lossy(seen).to_lowercase();
    assert!(seen.starts_with("connect mcpd.example:443 http/1.1\r\n"), "{seen}");
    assert!(!seen.contains("canary") && !seen.contains("authorization"), "{seen}");
}

/// What a proxy may answer to CONNECT instead of a tunnel.
fn refusals() -> impl Iterator<Item = (u16, Script)> {
    let login = answer(407, &[("proxy-authenticate", "Basic realm=\"out\"")], "Please log in.");
    let plain = [302, 401, 403, 404, 429, 502].map(|status| (status, answer(status, &[], "no")));
    [(407, login)].into_iter().chain(plain)
}

/// Opens a tunnel, and plays who is at its end, with an identity.
fn tunnel(identity: &Identity, then: Script) -> Script {
    let opened =
        vec![Step::ReadRequest, Step::Send(wire::head(200, &[])), Step::StartTls(identity.0.clone())];
    [opened, then].concat()
}

/// A server's side of TLS, and the authority by which it is trusted.
type Identity = (std::sync::Arc<rustls::ServerConfig>, String);

#[test]
fn n06_what_a_proxy_answers_instead_of_a_tunnel_is_an_outage_and_no_word_about_the_caller() {
    let (_, authority) = tls_identity(Certificate::Good);
    for (status, script) in refusals() {
        let proxy = Evild::start([script]);
        let scene = Behind::of(&authority);
        let told = says("cannot reach mcpd.example:443: ")
            .and(says("failover refused: cannot confirm that you may use \"chat-prod\""))
            .and(says("auth login").not());
        scene.infer(&proxy.url()).code(6).stdout("").stderr(told);
        assert_eq!(proxy.connections(), 2, "{status}: the primary and the probe");
        assert_eq!(scene.local.connections(), 0, "{status}: the local provider was contacted");
        // Who has no provider is told that nothing could answer, also where the proxy wants a login of its own.
        scene.dana.providers("providers: []\n");
        scene.infer(&proxy.url()).code(7).stdout("").stderr(says("cannot reach mcpd.example:443: "));
        assert_eq!(proxy.connections(), 3, "{status}");
        (0..3).for_each(|n| assert_blind(&proxy.received(n)));
    }
}

#[test]
fn n06_an_answer_to_the_tunnel_of_the_probe_is_no_verdict_of_the_server() {
    let server = tls_identity(Certificate::Good);
    for (status, refusal) in refusals() {
        let proxy = Evild::start([tunnel(&server, down()), refusal]);
        let scene = Behind::of(&server.1);
        let told =
            says("central answered 503").and(says("failover refused: cannot confirm that you may use"));
        scene.infer(&proxy.url()).code(6).stdout("").stderr(told);
        assert_eq!((proxy.connections(), scene.local.connections()), (2, 0), "{status}");
        assert_blind(&proxy.received(1));
    }
}

#[test]
fn n06_a_proxy_that_refuses_the_primary_only_is_an_outage_that_may_be_failed_over() {
    let server = tls_identity(Certificate::Good);
    for (code, permission) in [(0, answer(200, &[], "")), (5, answer(403, &[], ""))] {
        let (_, refusal) = refusals().last().unwrap();
        let proxy = Evild::start([refusal, tunnel(&server, permission), answer(502, &[], "")]);
        let scene = Behind::of(&server.1);
        let stdout = if code == 0 { "Hello from the laptop.\n" } else { "" };
        scene.infer(&proxy.url()).code(code).stdout(stdout).stderr(says("cannot reach mcpd.example:443: "));
        assert_eq!(scene.local.requests(), usize::from(code == 0));
        assert_blind(&proxy.received(0));
    }
}

#[test]
fn n06_a_proxy_with_a_certificate_of_its_own_gets_neither_token_nor_prompt_and_opens_nothing() {
    let (_, authority) = tls_identity(Certificate::Good);
    for certificate in [Certificate::Good, Certificate::SelfSigned, Certificate::WrongName] {
        // Trusted by somebody, and not by her.
        let own = tls_identity(certificate);
        let proxy = Evild::start([tunnel(&own, vec![Step::ReadRequest, Step::Hang])]);
        let scene = Behind::of(&authority);
        let told = says("cannot trust central: ").and(says("auth login").not());
        scene.infer(&proxy.url()).code(7).stdout("").stderr(told);
        assert_eq!((proxy.connections(), scene.local.connections()), (1, 0), "{certificate:?}");
        assert_blind(&proxy.received(0));
        assert_eq!(proxy.requests().len(), 1, "{certificate:?}: more than the request for a tunnel");
    }
}

#[test]
fn n06_through_a_proxy_that_works_token_and_prompt_go_in_tls_only() {
    let answered = whole(wire::sse_chunked(&wire::answer(TEN_WORDS)));
    let refused = answer(404, &[], "");
    let server = Evild::start_tls(Certificate::Good, [answered, down(), answer(200, &[], ""), refused]);
    let proxy = Link::tunnel(server.addr());
    let scene = Behind::of(&fs::read_to_string(server.ca_file()).unwrap());
    scene.infer(&proxy.url()).code(0).stdout(format!("{TEN_WORDS}\n")).stderr("");
    assert_eq!((proxy.connections(), server.requests()[0].header("authorization").is_some()), (1, true));
    // The next one is permitted to the laptop, which is on this machine and is asked without a proxy.
    scene.infer(&proxy.url()).code(0).stdout("Hello from the laptop.\n");
    // The report of it comes the same way.
    assert_eq!((proxy.connections(), server.connections(), scene.local.requests()), (4, 4, 1));
    for n in 0..proxy.connections() {
        let seen = proxy.sent(n);
        assert_blind(&seen);
        let head = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(seen[head..head + 2], [22, 3], "a handshake of TLS");
    }
}

#[test]
fn n06_a_proxy_is_not_used_for_what_no_proxy_names() {
    let server = Evild::start_tls(Certificate::Good, [whole(wire::sse_chunked(&wire::answer(TEN_WORDS)))]);
    let scene = Behind::of(&fs::read_to_string(server.ca_file()).unwrap());
    // An address that leads here and is not one of this machine.
    let url = format!("https://0.0.0.0:{}", server.addr().port());
    scene.dana.cmd(["config", "set-context", "prod", "--server", &url]).assert().code(0);
    let proxy = Evild::start([answer(502, &[], "")]);
    scene.infer(&proxy.url()).code(6);
    assert_eq!((proxy.connections(), server.connections()), (2, 0), "without NO_PROXY it is used");
    for (variable, exception) in
        [("NO_PROXY", "0.0.0.0"), ("no_proxy", "x.example,0.0.0.0"), ("NO_PROXY", "*")]
    {
        let asked = server.connections();
        scene.cmd(&proxy.url()).env(variable, exception).assert().code(0).stdout(format!("{TEN_WORDS}\n"));
        assert_eq!((proxy.connections(), server.connections()), (2, asked + 1), "{exception}");
    }
}

#[test]
fn n06_plain_http_to_elsewhere_goes_through_no_proxy_which_could_read_the_token() {
    let server = Evild::start([whole(wire::sse_chunked(&wire::answer(TEN_WORDS)))]);
    let proxy = Evild::start([answer(200, &[], "")]);
    let url = format!("http://0.0.0.0:{}", server.addr().port());
    let dana = Client::of(&url, "mcpd_0123456789abcdef_canarycanarycanarycanary");
    let context = ["config", "set-context", "prod", "--server", &url, "--insecure-http"];
    dana.cmd(context).assert().code(0);
    let mut infer = dana.cmd(["infer", "chat-prod", PROMPT]);
    infer.env_remove("MCPCTL_SERVER").envs(VARIABLES.map(|name| (name, proxy.url())));
    infer.assert().code(0).stdout(format!("{TEN_WORDS}\n"));
    assert_eq!((proxy.connections(), server.connections()), (0, 1));
}

/// Runs the program with every variable that could lead it to this proxy.
fn with_proxy(proxy: &Evild, mut command: Command) -> Assert {
    command.envs(VARIABLES.map(|name| (name, proxy.url()))).assert()
}

/// Answers everything with a yes, as if it were everybody.
fn listening_proxy() -> Evild {
    Evild::answering(wire::http(200, &[], ""))
}

#[test]
fn n07_the_server_and_the_provider_of_this_machine_are_asked_without_a_proxy() {
    let (stage, proxy) = (Stage::new(), listening_proxy());
    let run = |args: &[&str]| with_proxy(&proxy, stage.dana.cmd(args));
    let infer = || run(&["infer", "chat-prod", PROMPT]);
    infer().code(0).stdout(format!("{TEN_WORDS}\n"));
    run(&["llm", "list"]).code(0).stdout(says("chat-prod"));
    run(&["llm", "head", "chat-prod"]).code(0);
    run(&["auth", "whoami"]).code(0).stdout(says("dana@example.com"));
    run(&["providers", "failovers", "--probe"]).code(0).stdout(says("laptop"));
    let _findings = run(&["doctor"]);
    stage.upstream.stop();
    infer().code(0).stdout("Hello from the laptop.\n");
    // Every name of this machine.
    let port = stage.mcpd.port();
    for server in [format!("http://localhost:{port}"), format!("http://LOCALHOST:{port}")] {
        let mut named = stage.dana.cmd(["infer", "chat-prod", PROMPT]);
        named.env("MCPCTL_SERVER", server);
        with_proxy(&proxy, named).code(0).stdout("Hello from the laptop.\n");
    }
    stage.dana.failover("chat-prod", &stage.local.url().replace("127.0.0.1", "localhost"));
    infer().code(0).stdout("Hello from the laptop.\n");
    // And a no is the server's own.
    let asked = stage.local.connections();
    stage.mcpd.delete_binding("dana-chat");
    infer().code(5).stdout("");
    assert_eq!((stage.local.connections(), proxy.connections()), (asked, 0), "the proxy was used");
}

#[test]
fn n07_a_server_of_this_machine_that_speaks_tls_is_asked_without_a_proxy() {
    let server = Evild::start_tls(Certificate::Good, [whole(wire::sse_chunked(&wire::answer(TEN_WORDS)))]);
    let scene = Behind::of(&fs::read_to_string(server.ca_file()).unwrap());
    let proxy = listening_proxy();
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}", server.addr().port());
        scene.dana.cmd(["config", "set-context", "prod", "--server", &url]).assert().code(0);
        let infer = scene.cmd(&proxy.url());
        with_proxy(&proxy, infer).code(0).stdout(format!("{TEN_WORDS}\n"));
    }
    assert_eq!((server.connections(), proxy.connections()), (2, 0));
}

#[test]
fn n07_a_managed_engine_is_asked_without_a_proxy_and_does_not_hear_of_one() {
    // A port of its own, and a socket.
    for more in ["port: 0", ""] {
        let (engine, proxy) = (FakeEngine::vllm(), listening_proxy());
        let stage = EngineStage::of(&engine, more);
        for _start_and_reuse in 0..2 {
            with_proxy(&proxy, stage.cmd(&["infer", "chat-prod", PROMPT])).code(0);
        }
        with_proxy(&proxy, stage.cmd(&["providers", "status", "laptop"])).code(0).stdout(says("running"));
        with_proxy(&proxy, stage.cmd(&["providers", "stop", "laptop"])).code(0);
        assert_eq!((engine.starts().len(), proxy.connections()), (1, 0), "{more}");
        let notes = fs::read_to_string(engine.notes()).unwrap_or_default();
        assert!(!notes.to_uppercase().contains("_PROXY"), "the engine heard of the proxy");
    }
}
