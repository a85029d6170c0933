//! Where an LLM cannot lead this server: into its own machine, its network, or its cloud, unless that is listed.

use crate::cases::{INFER, error_of, log_line, prompt};
use fakes::{Engine, Evild, Mcpd, wire};
use mcp_api::LlmSpec;
use serde_json::{Value, json};

fn mcpd(allow: &str) -> Mcpd {
    // By the command line, which goes before the variable with the loopback.
    Mcpd::builder().arg(format!("--upstream-allow={allow}")).start()
}

/// Makes the LLM `chat` at this URL, asks it, and gives what came, and what its maker was warned of.
fn asked(mcpd: &Mcpd, url: &str) -> (fakes::Response, Vec<String>) {
    let made = mcpd.create_llm_from(&LlmSpec { model: "m".into(), ..Mcpd::llm_spec("chat", url) });
    let body = prompt(json!({})).to_string();
    let headers = [("x-request-id", "ask-1")];
    let answer = mcpd.request("POST", INFER, Some(mcpd.admin_token()), &headers, body.as_bytes());
    mcpd.delete_llm("chat");
    (answer, made.warnings)
}

#[test]
fn x01_nothing_of_this_machine_is_connected_to_unless_it_is_listed() {
    let engine = Engine::start();
    let port = engine.addr().port();
    // Listed is something else.
    let mcpd = mcpd("192.0.2.0/24");
    for (url, is_literal) in [
        (format!("http://127.0.0.1:{port}/v1"), true),
        (format!("http://[::ffff:7f00:1]:{port}/v1"), true),
        (format!("http://0.0.0.0:{port}/v1"), true),
        (format!("http://[::]:{port}/v1"), true),
        (format!("http://[::1]:{port}/v1"), true),
        (format!("http://[64:ff9b::7f00:1]:{port}/v1"), true),
        (format!("http://localhost:{port}/v1"), false),
    ] {
        let (answer, warnings) = asked(&mcpd, &url);
        assert_eq!(error_of(&answer), (502, "upstream_unavailable".into(), "upstream".into()), "{url}");
        assert!(
            !answer.text().contains("127.0.0.1") && !answer.text().contains("allow"),
            "{}",
            answer.text()
        );
        assert_eq!(warnings.len(), usize::from(is_literal), "{url}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains("--upstream-allow")), "{warnings:?}");
    }
    assert_eq!(engine.connections(), 0);
    log_line(&mcpd, "ask-1");
    let why = mcpd.logs().lines().filter(|line| line.contains("may not connect")).count();
    assert_eq!(why, 7, "the log says which and why:\n{}", mcpd.logs());
}

#[test]
fn x01_what_is_listed_is_connected_to_and_nothing_beside_it() {
    let engine = Engine::start();
    let port = engine.addr().port();
    let mcpd = mcpd("192.0.2.0/24,127.0.0.1");
    for host in ["127.0.0.1", "[::ffff:7f00:1]", "localhost"] {
        let (answer, warnings) = asked(&mcpd, &format!("http://{host}:{port}/v1"));
        assert_eq!((answer.status, warnings), (200, vec![]), "{host}");
    }
    // The next address is another one.
    let (answer, warnings) = asked(&mcpd, &format!("http://127.0.0.2:{port}/v1"));
    assert_eq!((answer.status, warnings.len()), (502, 1));
}

#[test]
fn x01_the_metadata_of_a_cloud_is_opened_by_no_wide_network() {
    let mcpd = mcpd("0.0.0.0/0,::/0");
    for url in [
        "http://169.254.169.254/latest",
        "http://168.63.129.16/v1",
        "http://[fd00:ec2::254]/v1",
        "http://127.0.0.1:9/v1",
    ] {
        let (answer, warnings) = asked(&mcpd, url);
        assert_eq!((answer.status, warnings.len()), (502, 1), "{url}");
        assert!(answer.text().contains("cannot be reached"), "{url}");
    }
    let private = mcpd.create_llm("private", "http://10.255.255.1/v1");
    assert_eq!(private.warnings, Vec::<String>::new(), "a private network is opened");
}

#[test]
fn x01_a_redirect_leads_nowhere() {
    let engine = Engine::start();
    let location = format!("{}/chat/completions", engine.url());
    for status in [301, 302, 303, 307, 308] {
        let evild = Evild::answering(wire::http(status, &[("location", &*location)], ""));
        let mcpd = mcpd("127.0.0.1");
        let (answer, _) = asked(&mcpd, &evild.url());
        assert_eq!(error_of(&answer), (502, "upstream_error".into(), "upstream".into()), "{status}");
    }
    assert_eq!(engine.connections(), 0);
}

#[test]
fn x01_odd_networks_are_a_mistake_that_is_named() {
    for (odd, hint) in
        [("10.0.0.1/8", "10.0.0.0/8"), ("::ffff:10.0.0.0/104", "IPv4"), ("10.0.0.0/8,loopback", "loopback")]
    {
        let done = Mcpd::builder().env("MCPD_UPSTREAM_ALLOW", odd).run(&["serve"]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{odd}: {said}");
        assert!(said.contains(hint) && said.contains("MCPD_UPSTREAM_ALLOW"), "{odd}: {said}");
    }
}

#[test]
fn whoever_changes_an_llm_to_where_the_server_does_not_go_is_warned() {
    let mcpd = mcpd("192.0.2.0/24");
    mcpd.create_llm("chat", "http://192.0.2.1/v1");
    let warned = |patch: Value| {
        let answer = mcpd.api("PATCH", crate::cases::CHAT, mcpd.admin_token(), &patch);
        answer.json::<Value>()["warnings"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(warned(json!({"urls": ["http://192.0.2.1/v1", "http://10.0.0.1/v1"]})), 1);
    assert_eq!(warned(json!({"urls": ["http://192.0.2.1/v1", "http://192.0.2.2/v1"]})), 0);
}

#[test]
fn x01_a_name_that_changes_its_meaning_leads_nowhere_else() {
    if !Mcpd::can_have_hosts() {
        eprintln!("SKIPPED: x01, names that change: this machine gives no namespace of mounts");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // One that keeps no connection: what was allowed once is used again for a few seconds.
    let engine = Evild::answering(wire::json_answer(200, &wire::completion("hello", Some("stop"))));
    let hosts = folder.path().join("hosts");
    let url = format!("http://model.example:{}/v1", engine.addr().port());
    // In place: the file that the server sees is this one.
    let means = |addresses: &[&str]| {
        let lines: String = addresses.iter().map(|address| format!("{address} model.example\n")).collect();
        std::fs::write(&hosts, lines).unwrap();
    };
    means(&["127.0.0.2"]);
    let mcpd = Mcpd::builder().arg("--upstream-allow=127.0.0.1,127.0.0.8/30").hosts(&hosts).start();
    let refused = |addresses: &[&str]| {
        means(addresses);
        let before = engine.connections();
        let (answer, warnings) = asked(&mcpd, &url);
        assert_eq!(
            error_of(&answer),
            (502, "upstream_unavailable".into(), "upstream".into()),
            "{addresses:?}"
        );
        assert_eq!((engine.connections(), warnings.len()), (before, 0), "{addresses:?}");
    };
    let answered = |addresses: &[&str]| {
        means(addresses);
        assert_eq!(asked(&mcpd, &url).0.status, 200, "{addresses:?}");
    };
    for _ in 0..3 {
        refused(&["127.0.0.2"]);
        answered(&["127.0.0.1"]);
        refused(&["169.254.169.254", "127.0.0.2", "::1"]);
        refused(&["::ffff:127.0.0.2"]);
        // Of several, those that are allowed; of those, the next one if nobody listens at the first.
        answered(&["127.0.0.2", "127.0.0.1", "::1"]);
        answered(&["127.0.0.9", "127.0.0.1"]);
    }
    assert!(mcpd.logs().contains("127.0.0.2, to which this server may not connect"), "{}", mcpd.logs());
}
