//! `/metrics`: who may read it, that a reader of Prometheus' own takes it, and that everything in it moves.

use crate::cases::{CHAT, INFER, LIMIT, USES_CHAT, endless, probe, prompt};
use fakes::{Engine, Fault, Mcpd, Response};
use mcp_api::{LlmPatch, paths};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is shown, by series.
type Shown = BTreeMap<String, f64>;

/// What cannot move within the life of a process, and what only the kernel moves.
const STILL: [&str; 3] = ["mcpd_build_info", "process_start_time_seconds", "process_max_fds"];

fn read(text: &str) -> Shown {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    lines.map(pair).collect()
}

fn scrape(mcpd: &Mcpd) -> Response {
    mcpd.request("GET", paths::METRICS, Some(mcpd.admin_token()), &[], b"").expect_success("metrics")
}

fn shown(mcpd: &Mcpd) -> Shown {
    read(&scrape(mcpd).text())
}

/// The sum of all series of a metric that have these labels.
fn sum(shown: &Shown, name: &str, labels: &[&str]) -> f64 {
    let fits = |series: &str| {
        series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
    };
    shown.iter().filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
}

/// Waits until a metric has a value: what is counted at the end of a request is so a moment after its last byte.
fn wait_for(mcpd: &Mcpd, name: &str, labels: &[&str], value: f64) {
    fakes::wait_until(LIMIT, &format!("{name} {labels:?} to be {value}"), || {
        (sum(&shown(mcpd), name, labels) - value).abs() < f64::EPSILON
    });
}

fn infer(mcpd: &Mcpd, token: &str, body: &Value) -> Response {
    mcpd.request("POST", INFER, Some(token), &[], body.to_string().as_bytes())
}

/// The names of metrics on the page about them.
fn documented() -> BTreeSet<String> {
    let page = include_str!("../../../docs/watch.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let names: BTreeSet<_> = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect();
    names.into_iter().filter(|name| name.contains('_') && !name.starts_with("--")).collect()
}

/// The metric that a series belongs to.
fn metric(series: &str) -> &str {
    let name = series.split('{').next().unwrap();
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    of_histogram.unwrap_or(name)
}

/// The metrics that are not as they were.
fn moved(before: &Shown, after: &Shown) -> BTreeSet<String> {
    let all: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differ = all.into_iter().filter(|series| before.get(*series) != after.get(*series));
    differ.map(|series| metric(series).to_owned()).collect()
}

#[test]
fn k03_metrics_are_for_who_may_view_all_llms_and_name_nobody() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana@example.com", USES_CHAT);
    let ana = mcpd.user_with("ana@example.com", &[("view", "llms", None)]);
    let status = |token| mcpd.request("GET", paths::METRICS, token, &[], b"").status;
    assert_eq!((status(None), status(Some(&dana)), status(Some(&ana))), (401, 403, 200));
    let _ = infer(&mcpd, &dana, &prompt(json!({"user": "secret-canary"}))).expect_success("infer");
    let _ = mcpd.request("GET", "/secret-canary?secret-canary", Some("secret-canary"), &[], b"");
    let _ = mcpd.request("SECRET-CANARY", CHAT, Some(&dana), &[], b"");
    let _ = mcpd.request(
        "GET",
        "/api/v1/llms/secret-canary",
        Some(&dana),
        &[("x-request-id", "secret-canary")],
        b"",
    );
    let answer = scrape(&mcpd);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text().to_ascii_lowercase();
    for secret in
        ["dana", "ana@", "mcpd_build_info{version=\"mcpd_", "canary", dana.split('_').nth(1).unwrap()]
    {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("http_request_method=\"_other\""), "{text}");
}

#[test]
fn a_listener_for_metrics_shows_them_and_nothing_else() {
    let mcpd = Mcpd::builder().arg("--metrics-listen").arg("127.0.0.1:0").start();
    let said = |line: &Value| line["message"] == "listening for metrics";
    let lines: Vec<Value> = mcpd.logs().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let address = lines.iter().find(|line| said(line)).unwrap()["address"].as_str().unwrap().parse().unwrap();
    let get = |path: &str| {
        let request = fakes::http::request_bytes("GET", path, address, &[], b"");
        fakes::Exchange::open(address, &request).unwrap().finish()
    };
    let answer = get(paths::METRICS);
    assert_eq!((answer.status, sum(&read(&answer.text()), "mcpd_build_info", &[])), (200, 1.0));
    for path in ["/", "/healthz", paths::LLMS, paths::WHOAMI, "/openapi.json"] {
        assert_eq!(get(path).status, 404, "{path}");
    }
}

#[test]
fn what_an_llm_does_is_measured_under_its_name() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    let id = mcpd.create_llm("chat", &engine.url()).id;
    let dana = mcpd.user_with("dana", USES_CHAT);
    let stream = json!({"stream": true, "stream_options": {"include_usage": true}});
    let _ = infer(&mcpd, &dana, &prompt(json!({}))).expect_success("whole");
    let path = format!("/api/v1/llms/{id}/infer");
    let _ = mcpd.request("POST", &path, Some(&dana), &[], prompt(stream).to_string().as_bytes());
    let (chat, streamed) = ("gen_ai_request_model=\"chat\"", "gen_ai_operation_name=\"chat\"");
    wait_for(&mcpd, "mcpd_llm_answers_total", &[chat, "outcome=\"done\""], 2.0);
    let now = shown(&mcpd);
    assert_eq!(sum(&now, "gen_ai_server_request_duration_seconds_count", &[chat, "error_type=\"\""]), 2.0);
    assert_eq!(sum(&now, "gen_ai_server_time_to_first_token_seconds_count", &[chat, streamed]), 1.0);
    for (kind, tokens) in [("input", 6.0), ("output", 20.0)] {
        let kind = format!("gen_ai_token_type=\"{kind}\"");
        assert_eq!(sum(&now, "gen_ai_client_token_usage_sum", &[chat, &kind]), tokens, "{kind}");
    }

    engine.set_fault(Fault::CutAfter(2));
    let _ = infer(&mcpd, &dana, &prompt(json!({"stream": true})));
    wait_for(&mcpd, "mcpd_llm_answers_total", &[chat, "outcome=\"upstream_broken\""], 1.0);
    engine.set_fault(Fault::Status(500, json!({})));
    let _ = infer(&mcpd, &dana, &prompt(json!({})));
    wait_for(&mcpd, "mcpd_llm_answers_total", &[chat, "outcome=\"upstream_error\""], 1.0);
    let failed = [chat, "error_type=\"upstream_error\""];
    assert_eq!(sum(&shown(&mcpd), "gen_ai_server_request_duration_seconds_count", &failed), 1.0);

    engine.set_fault(Fault::None);
    let mut exchange = mcpd.open("POST", INFER, Some(&dana), &[], endless().to_string().as_bytes()).unwrap();
    let _ = exchange.read_until("data:");
    assert_eq!(sum(&shown(&mcpd), "mcpd_llm_active_requests", &[chat]), 1.0);
    drop(exchange);
    wait_for(&mcpd, "mcpd_llm_answers_total", &[chat, "outcome=\"client_gone\""], 1.0);
    assert_eq!(sum(&shown(&mcpd), "mcpd_llm_active_requests", &[chat]), 0.0);

    mcpd.delete_llm("chat");
    assert!(!scrape(&mcpd).text().contains("\"chat\"}"), "what is gone is forgotten");
    assert_eq!(sum(&shown(&mcpd), "mcpd_llm_answers_total", &[]), 0.0);
}

#[test]
fn probes_and_refusals_are_counted_by_what_was_decided() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let dana = mcpd.user_with("dana", USES_CHAT);
    let eve = mcpd.user_with("eve", &[]);
    let decided = |event: &str, verdict: &str| {
        let labels = [format!("event=\"{event}\""), format!("verdict=\"{verdict}\"")];
        sum(&shown(&mcpd), "mcpd_decisions_total", &[&labels[0], &labels[1]])
    };
    let _ = (probe(&mcpd, CHAT, &dana), probe(&mcpd, CHAT, &dana), probe(&mcpd, CHAT, &eve));
    assert_eq!((decided("probe", "allowed"), decided("probe", "denied")), (2.0, 1.0));
    let _ = infer(&mcpd, &eve, &prompt(json!({})));
    let _ = probe(&mcpd, "/api/v1/llms/none", mcpd.admin_token());
    mcpd.patch_llm("chat", &LlmPatch { enabled: Some(false), ..LlmPatch::default() });
    let _ = probe(&mcpd, CHAT, &dana);
    assert_eq!((decided("inference", "denied"), decided("inference", "allowed")), (1.0, 0.0));
    assert_eq!((decided("probe", "absent"), decided("probe", "disabled")), (1.0, 1.0));
    let login = |reason: &str| sum(&shown(&mcpd), "mcpd_login_failures_total", &[&format!("\"{reason}\"")]);
    let _ = mcpd.request("GET", CHAT, None, &[], b"");
    let _ = mcpd.request("GET", CHAT, Some("mcpd_x"), &[], b"");
    wait_for(&mcpd, "mcpd_login_failures_total", &["\"invalid\""], 1.0);
    assert_eq!(login("absent"), 1.0);
}
