//! `/metrics`: who may read it, that a reader of Prometheus' own takes it, and that everything in it moves.

use crate::cases::{CHAT, INFER, LIMIT, USES_CHAT, endless, probe, prompt, with_database};
use fakes::{
    Certificate, Engine, Exchange, Fault, Issuer, Mcpd, McpdBuilder, Refusing, Response, http::request_bytes,
};
use mcp_api::{LlmPatch, paths};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

/// What is shown, by series.
type Shown = BTreeMap<String, f64>;

/// What cannot move within the life of a process, and what only the kernel moves.
const STILL: [&str; 3] = ["mcpd_build_info", "process_start_time_seconds", "process_max_fds"];

/// A probe, as a header.
const PROBE: &str = "mcpd-probe: run; nonce=00112233445566778899aabbccddeeff";

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
fn sum(shown: &Shown, name: &str, labels: &[&str]) -> u64 {
    let fits = |series: &str| {
        series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
    };
    let fitting = shown.iter().filter(|(series, _)| fits(series));
    let sum = fitting.fold(0.0, |sum, (_, value)| sum + value);
    // What is summed here are numbers of things.
    format!("{sum:.0}").parse().unwrap()
}

/// Waits until a metric has a value: what is counted at the end of a request is so a moment after its last byte.
fn wait_for(mcpd: &Mcpd, name: &str, labels: &[&str], value: u64) {
    fakes::wait_until(LIMIT, &format!("{name} {labels:?} to be {value}"), || {
        sum(&shown(mcpd), name, labels) == value
    });
}

fn infer(mcpd: &Mcpd, token: &str, body: &Value) -> Response {
    mcpd.request("POST", INFER, Some(token), &[], body.to_string().as_bytes())
}

/// The names of metrics on the page about them.
fn documented() -> BTreeSet<String> {
    let page = include_str!("../../../docs/watch.md");
    let kinds = [" | counter | ", " | gauge | ", " | histogram | "];
    let rows = page.lines().filter(|line| kinds.iter().any(|kind| line.contains(kind)));
    rows.filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
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

/// Where a server shows its metrics to everybody: it says so in its log, which is read beside its output.
fn metrics_at(mcpd: &Mcpd) -> SocketAddr {
    let mut found = None;
    fakes::wait_until(LIMIT, "the log to say where metrics are", || {
        let logs = mcpd.logs();
        let mut lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found = lines.find(|line| line["message"] == "listening for metrics");
        found.is_some()
    });
    found.unwrap()["address"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_listener_for_metrics_shows_them_and_nothing_else() {
    let mcpd = Mcpd::builder().arg("--metrics-listen").arg("127.0.0.1:0").start();
    let address = metrics_at(&mcpd);
    let get = |path: &str| {
        let request = request_bytes("GET", path, address, &[], b"");
        Exchange::open(address, &request).unwrap().finish()
    };
    let answer = get(paths::METRICS);
    assert_eq!((answer.status, sum(&read(&answer.text()), "mcpd_build_info", &[])), (200, 1));
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
    wait_for(&mcpd, "mcpd_llm_answers_total", &[chat, "outcome=\"done\""], 2);
    let now = shown(&mcpd);
    assert_eq!(sum(&now, "gen_ai_server_request_duration_seconds_count", &[chat, "error_type=\"\""]), 2);
    assert_eq!(sum(&now, "gen_ai_server_time_to_first_token_seconds_count", &[chat, streamed]), 1);
    for (kind, tokens) in [("input", 6), ("output", 20)] {
        let kind = format!("gen_ai_token_type=\"{kind}\"");
        assert_eq!(sum(&now, "gen_ai_client_token_usage_sum", &[chat, &kind]), tokens, "{kind}");
    }

    engine.set_fault(Fault::CutAfter(2));
    let _ = infer(&mcpd, &dana, &prompt(json!({"stream": true})));
    wait_for(&mcpd, "mcpd_llm_answers_total", &[chat, "outcome=\"upstream_broken\""], 1);
    engine.set_fault(Fault::Status(500, json!({})));
    let _ = infer(&mcpd, &dana, &prompt(json!({})));
    wait_for(&mcpd, "mcpd_llm_answers_total", &[chat, "outcome=\"upstream_error\""], 1);
    let failed = [chat, "error_type=\"upstream_error\""];
    assert_eq!(sum(&shown(&mcpd), "gen_ai_server_request_duration_seconds_count", &failed), 1);

    engine.set_fault(Fault::None);
    let mut exchange = mcpd.open("POST", INFER, Some(&dana), &[], endless().to_string().as_bytes()).unwrap();
    let _ = exchange.read_until("data:");
    assert_eq!(sum(&shown(&mcpd), "mcpd_llm_active_requests", &[chat]), 1);
    drop(exchange);
    wait_for(&mcpd, "mcpd_llm_answers_total", &[chat, "outcome=\"client_gone\""], 1);
    assert_eq!(sum(&shown(&mcpd), "mcpd_llm_active_requests", &[chat]), 0);

    mcpd.delete_llm("chat");
    assert!(!scrape(&mcpd).text().contains("\"chat\"}"), "what is gone is forgotten");
    assert_eq!(sum(&shown(&mcpd), "mcpd_llm_answers_total", &[]), 0);
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
    assert_eq!((decided("probe", "allowed"), decided("probe", "denied")), (2, 1));
    let _ = infer(&mcpd, &eve, &prompt(json!({})));
    let _ = probe(&mcpd, "/api/v1/llms/none", mcpd.admin_token());
    mcpd.patch_llm("chat", &LlmPatch { enabled: Some(false), ..LlmPatch::default() });
    let _ = probe(&mcpd, CHAT, &dana);
    assert_eq!((decided("inference", "denied"), decided("inference", "allowed")), (1, 0));
    assert_eq!((decided("probe", "absent"), decided("probe", "disabled")), (1, 1));
    let login = |reason: &str| sum(&shown(&mcpd), "mcpd_login_failures_total", &[&format!("\"{reason}\"")]);
    let _ = mcpd.request("GET", CHAT, None, &[], b"");
    let _ = mcpd.request("GET", CHAT, Some("mcpd_x"), &[], b"");
    wait_for(&mcpd, "mcpd_login_failures_total", &["\"invalid\""], 1);
    assert_eq!(login("absent"), 1);
}

/// A server whose metrics are read on a listener of their own: that one answers when the other one no longer does.
struct Watched {
    mcpd: Mcpd,
    metrics: SocketAddr,
}

impl Watched {
    fn start(builder: McpdBuilder) -> Self {
        let mcpd = builder.arg("--metrics-listen").arg("127.0.0.1:0").start();
        Self { metrics: metrics_at(&mcpd), mcpd }
    }

    fn text(&self) -> String {
        let request = request_bytes("GET", paths::METRICS, self.metrics, &[], b"");
        Exchange::open(self.metrics, &request).unwrap().finish().text()
    }

    fn shown(&self) -> Shown {
        read(&self.text())
    }

    /// What has moved since, once some of it has.
    fn moved(&self, before: &Shown, wanted: &[&str]) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        fakes::wait_until(LIMIT, &format!("{wanted:?} to move"), || {
            all.extend(moved(before, &self.shown()));
            wanted.iter().all(|name| all.contains(*name))
        });
        all
    }
}

/// What every server does: requests, answers, decisions, a database, the end.
fn moved_by_work() -> BTreeSet<String> {
    let engine = Engine::start();
    let watched = Watched::start(Mcpd::builder().sqlite());
    let mcpd = &watched.mcpd;
    let before = watched.shown();
    let spec = json!({"name": "chat", "type": "openai", "model": "tiny", "url": engine.url(), "limits": {"concurrent": 1}});
    let _ = mcpd.api("POST", paths::LLMS, mcpd.admin_token(), &spec).expect_success("an LLM");
    let dana = mcpd.user_with("dana", USES_CHAT);
    let _ = infer(mcpd, &dana, &prompt(json!({"stream": true, "stream_options": {"include_usage": true}})));
    let body = endless().to_string();
    let mut open = mcpd.open("POST", INFER, Some(&dana), &[], body.as_bytes()).unwrap();
    let _ = open.read_until("data:");
    assert_eq!(infer(mcpd, &dana, &prompt(json!({}))).status, 429);
    let _ = (probe(mcpd, CHAT, &dana), mcpd.request("GET", CHAT, None, &[], b""));
    let mut all = watched.moved(&before, &["mcpd_llm_active_requests", "mcpd_limited_total"]);
    // While somebody holds the file nothing can be written: entries wait, more than there is room for are given up.
    with_database(mcpd, "BEGIN IMMEDIATE", || {
        let answer =
            mcpd.api("POST", paths::SUBJECTS, mcpd.admin_token(), &json!({"kind": "User", "name": "late"}));
        assert_eq!(answer.status, 503);
        let head =
            format!("HEAD {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {dana}\r\n{PROBE}\r\n\r\n");
        let last = head.replace("host: a\r\n", "host: a\r\nconnection: close\r\n");
        let _ = mcpd.raw(&[head.repeat(20_000), last].concat().into_bytes());
        let waiting = ["mcpd_audit_waiting_entries", "mcpd_audit_lost_total", "mcpd_database_failures_total"];
        all.extend(watched.moved(&before, &waiting));
    });
    mcpd.signal(rustix::process::Signal::TERM);
    all.extend(watched.moved(&before, &["mcpd_draining"]));
    drop(open);
    all
}

/// What takes several nodes: one that refuses, and one that answers in its place.
fn moved_by_nodes() -> BTreeSet<String> {
    let (engine, refusing) = (Engine::start(), Refusing::new());
    let watched = Watched::start(Mcpd::builder());
    let before = watched.shown();
    let urls = [format!("http://{}/v1", refusing.addr()), engine.url()];
    let spec = json!({"name": "chat", "type": "openai", "model": "tiny", "urls": urls});
    let mcpd = &watched.mcpd;
    let _ = mcpd.api("POST", paths::LLMS, mcpd.admin_token(), &spec).expect_success("an LLM");
    for _ in 0..4 {
        let _ = infer(mcpd, mcpd.admin_token(), &prompt(json!({}))).expect_success("the other node answers");
    }
    let wanted = ["mcpd_upstream_retries_total", "mcpd_upstream_failures_total", "mcpd_upstream_node_up"];
    let all = watched.moved(&before, &wanted);
    let up = |url: &str| sum(&watched.shown(), "mcpd_upstream_node_up", &[url]);
    assert_eq!((up(&urls[0]), up(&urls[1])), (0, 1));
    all
}

/// What takes an issuer, and a certificate.
fn moved_by_settings() -> BTreeSet<String> {
    let issuer = Issuer::start();
    let file = issuer.config_file(json!({}));
    let watched = Watched::start(Mcpd::builder().arg("--config").arg(file.to_str().unwrap()));
    let before = watched.shown();
    let _ = watched.mcpd.request("GET", paths::WHOAMI, Some(&issuer.token(json!({}))), &[], b"");
    let mut all = watched.moved(&before, &["mcpd_jwks_refreshes_total"]);

    let folder = tempfile::tempdir().unwrap();
    let issued = Certificate::Good.issue();
    let kept = [("--tls-cert", "cert.pem", &issued.certificate), ("--tls-key", "key.pem", &issued.key)];
    let mut builder = Mcpd::builder();
    for (flag, name, text) in kept {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        builder = builder.arg(flag).arg(path.to_str().unwrap());
    }
    let ends = sum(&Watched::start(builder).shown(), "mcpd_tls_certificate_expiry_timestamp_seconds", &[]);
    assert!(ends > 1_700_000_000, "{ends}");
    all.insert("mcpd_tls_certificate_expiry_timestamp_seconds".to_owned());
    all
}

#[test]
fn every_metric_moves() {
    let all: BTreeSet<String> =
        [moved_by_work(), moved_by_nodes(), moved_by_settings()].into_iter().flatten().collect();
    let still: BTreeSet<String> = documented().difference(&all).cloned().collect();
    assert_eq!(still, STILL.map(str::to_owned).into());
}

/// Reads metrics as Prometheus' own client does, and says what it saw: families, and the kind of each.
const READER: &str = r#"
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, family.name
    assert family.type in ("counter", "gauge", "histogram"), family
    print(family.name, family.type, len(family.samples))
"#;

#[test]
fn a_reader_of_prometheus_takes_what_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut python) = fakes::client("python", home.path()) else { return fakes::required("python") };
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let _ = infer(&mcpd, mcpd.admin_token(), &prompt(json!({"stream": true})));
    wait_for(&mcpd, "mcpd_llm_answers_total", &[], 1);
    let text = scrape(&mcpd).text();
    let mut reader =
        python.args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reader.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = reader.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}");
    for family in [
        "gen_ai_server_request_duration_seconds histogram",
        "mcpd_llm_answers counter",
        "mcpd_build_info gauge",
    ] {
        assert!(said.contains(family), "{family} is missing in {said}");
    }
    assert_eq!(said.lines().count(), text.lines().filter(|line| line.starts_with("# TYPE")).count());
}
