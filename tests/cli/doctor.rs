//! `doctor`: what is wrong is found, with the command that mends it; nothing is changed, nothing hangs, and no secret
//! is told.

use crate::{
    engine_stage::{EngineStage, signal, wait_for_end},
    support::{Client, PROMPT, Stage, provider, says},
};
use fakes::{Blackhole, Canary, Certificate, Evild, FakeEngine, Refusing, Step, Worker, wire};
use predicates::prelude::*;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What a run with `-o json` found.
struct Findings {
    code: i32,
    items: Vec<Value>,
}

impl Findings {
    fn of(mut doctor: assert_cmd::Command) -> Self {
        let output = doctor.args(["doctor", "-o", "json"]).output().unwrap();
        Self::read(&output)
    }

    fn read(output: &Output) -> Self {
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let document = crate::shipped::checked(document);
        let items = document["items"].as_array().unwrap().clone();
        Self { code: output.status.code().unwrap(), items }
    }

    /// The one finding about this.
    fn one(&self, check: &str) -> (&str, &str, &str) {
        let mut of_check = self.items.iter().filter(|item| item["check"] == check);
        let item = of_check.next().unwrap_or_else(|| panic!("nothing about {check}: {:#?}", self.items));
        assert!(of_check.next().is_none(), "more than one finding about {check}: {:#?}", self.items);
        let text = |field: &str| item[field].as_str().unwrap_or_default();
        (text("result"), text("message"), text("mend"))
    }

    fn result(&self, check: &str) -> &str {
        self.one(check).0
    }

    fn mend(&self, check: &str) -> &str {
        self.one(check).2
    }
}

#[test]
fn nothing_is_wrong_where_all_is_well_and_nothing_is_changed() {
    let stage = Stage::new();
    let before = everything_below(stage.dana.home());
    let found = Findings::of(stage.dana.cmd::<&str>([]));
    assert_eq!(found.code, 0, "{:#?}", found.items);
    let well = [
        "state",
        "config",
        "server",
        "credential",
        "connection",
        "version",
        "clock",
        "login",
        "providerFile",
        "provider",
        "failover",
    ];
    for check in well {
        assert_eq!(found.result(check), "ok", "{check}");
    }
    assert_eq!((found.result("tls"), found.result("dns")), ("skipped", "skipped"));
    assert_eq!(everything_below(stage.dana.home()), before, "something was written");
    // People get the same as a table, and a last line.
    let table = says("ok       login").and(says("Nothing is wrong."));
    stage.dana.cmd(["doctor"]).assert().code(0).stdout(table).stderr("");
    stage.dana.cmd(["doctor", "--columns", "check,result", "-o", "csv"]).assert().stdout(says("login,ok\n"));
    assert!(!String::from_utf8(stage.local.received()).unwrap().contains("POST"), "a prompt was sent");
}

fn everything_below(folder: &Path) -> Vec<String> {
    let list =
        std::process::Command::new("find").arg(folder).args(["-printf", "%p %m %s\\n"]).output().unwrap();
    let mut lines: Vec<String> = String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn everything_is_broken_at_once_and_all_of_it_is_told_in_no_time() {
    let mut canary = Canary::new();
    let (token, key) = (canary.secret("token"), canary.secret("key"));
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers(&format!("providers:\n  - name: x\n    apiKey: {key}\n"));
    let config = dana.home().join(".config/mcpctl/config.yaml");
    fs::write(&config, format!("contexts: [\n  {{ name: a, token: {token} }}\n")).unwrap();
    let stored = dana.home().join("token");
    fs::write(&stored, &token).unwrap();
    chmod(&stored, 0o644);
    let state = dana.home().join("state");
    fs::write(&state, "").unwrap();
    let mut doctor = dana.cmd(["doctor"]);
    doctor.env("MCPCTL_TOKEN_FILE", &stored).env("XDG_STATE_HOME", &state);
    doctor.env("HTTPS_PROXY", format!("http://u:{key}@127.0.0.1:9"));
    let began = Instant::now();
    let output = doctor.output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    let text = String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    canary.sweep(&[], &[("what doctor says", text.as_bytes())]);
    for part in ["wrong    config", "wrong    state", "wrong    provider file", "things are wrong"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }

    fs::remove_file(&config).unwrap();
    let mut doctor = dana.cmd::<&str>([]);
    doctor.env("MCPCTL_TOKEN_FILE", &stored).env("XDG_STATE_HOME", &state);
    let found = Findings::of(doctor);
    assert_eq!(found.mend("credential"), format!("chmod 600 {}", stored.display()));
    assert_eq!(found.mend("connection"), "mcpd serve");
    assert_eq!(found.result("login"), "skipped");
}

#[test]
fn g06_it_works_without_a_home_a_network_and_a_readable_environment() {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("mcpctl"));
    let odd = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
    let odd: std::ffi::OsString = odd;
    let output =
        command.env_clear().env("MCPCTL_CONTEXT", odd).args(["doctor", "-o", "json"]).output().unwrap();
    let found = Findings::read(&output);
    assert_eq!(found.code, 3);
    let environment: Vec<_> = found.items.iter().filter(|item| item["check"] == "environment").collect();
    assert_eq!(environment.len(), 2, "{environment:#?}");
    assert_eq!(environment[0]["mend"], "unset MCPCTL_CONTEXT");
    assert_eq!((found.result("server"), found.result("credential")), ("wrong", "skipped"));
}

#[test]
fn a_format_that_nobody_knows_keeps_nothing_from_being_told() {
    let stage = Stage::new();
    let mut doctor = stage.dana.cmd(["doctor"]);
    doctor.env("MCPCTL_OUTPUT", "bla");
    doctor
        .assert()
        .code(3)
        .stdout(says("to mend environment: unset MCPCTL_OUTPUT").and(says("ok       login")));
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = Blackhole::new();
    let dana = Client::of(&silent.url(), "mcpd_a_b");
    let began = Instant::now();
    let found = Findings::of(dana.cmd::<&str>([]));
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    assert_eq!((found.code, found.result("connection"), found.result("login")), (3, "wrong", "skipped"));
    let refusing = Refusing::new();
    let found = Findings::of(Client::of(&refusing.url(), "mcpd_a_b").cmd::<&str>([]));
    assert_eq!((found.code, found.mend("connection")), (3, "mcpd serve"));
}

#[test]
fn a_name_without_an_address_is_told_apart_from_a_server_that_is_away() {
    let dana = Client::of("https://no-such-host.invalid", "mcpd_a_b");
    let found = Findings::of(dana.cmd::<&str>([]));
    assert_eq!((found.result("dns"), found.result("connection")), ("wrong", "skipped"));
    assert_eq!(found.mend("dns"), "getent ahosts no-such-host.invalid");
}

#[test]
fn n05_what_is_wrong_with_a_certificate_is_said() {
    let script = || [vec![Step::ReadRequest, Step::Send(wire::http(200, &[], "{}"))]];
    for (certificate, part) in [
        (Certificate::Expired, "expired on 2001-01-01, and this machine's clock says"),
        (Certificate::WrongName, "is for elsewhere.invalid, not for 127.0.0.1"),
        (Certificate::SelfSigned, "an authority that this machine does not know"),
    ] {
        let server = Evild::start_tls(certificate, script());
        let dana = Client::of(&server.url(), "mcpd_0123456789abcdef_canarycanary");
        let ca_file = server.ca_file();
        let context = ["config", "set-context", "prod", "--server", &server.url(), "--ca-file"];
        dana.cmd(context).arg(ca_file).assert().code(0);
        let mut doctor = dana.cmd::<&str>([]);
        doctor.env_remove("MCPCTL_SERVER");
        let found = Findings::of(doctor);
        let (result, message, mend) = found.one("tls");
        assert_eq!((found.code, result), (3, "wrong"));
        assert!(message.contains(part) && mend.starts_with("openssl s_client"), "{message}: {mend}");
        assert_eq!((found.result("clock"), found.result("login")), ("skipped", "skipped"));
        assert_eq!(server.bytes_received(), 0, "{certificate:?}: something was sent");
    }
}

#[test]
fn g08_a_clock_that_is_off_is_seen_beside_the_servers() {
    for (date, result, part) in [
        ("Thu, 01 Jan 2015 00:00:00 GMT", "wrong", "days ahead of the server's"),
        ("Fri, 01 Jan 2055 00:00:00 GMT", "wrong", "days behind the server's"),
    ] {
        let version = wire::http(200, &[("date", date)], r#"{"version":"0.1.0"}"#);
        let who = json!({ "subject": { "kind": "User", "name": "dana" }, "groups": [], "tokenId": "a" });
        let server = Evild::start([
            vec![Step::ReadRequest, Step::Send(version)],
            vec![Step::ReadRequest, Step::Send(wire::json_answer(200, &who))],
        ]);
        let found = Findings::of(Client::of(&server.url(), "mcpd_a_b").cmd::<&str>([]));
        let (of_clock, message, mend) = found.one("clock");
        assert!(
            (of_clock, mend) == (result, "sudo timedatectl set-ntp true") && message.contains(part),
            "{message}"
        );
        assert_eq!(found.result("login"), "ok", "a clock changes no verdict");
        let first = &server.requests()[0];
        assert_eq!((first.target.as_str(), first.header("authorization")), ("/version", None));
    }
}

#[test]
fn what_is_no_mcpd_gets_no_token() {
    for answer in
        [wire::http(200, &[], "<html>"), wire::http(302, &[("location", "https://elsewhere.invalid")], "")]
    {
        let portal = Evild::answering(answer);
        let found =
            Findings::of(Client::of(&portal.url(), "mcpd_0123456789abcdef_canarycanary").cmd::<&str>([]));
        assert_eq!((found.code, found.result("version"), found.result("login")), (3, "wrong", "skipped"));
        assert_eq!(portal.connections(), 1);
        assert!(!String::from_utf8_lossy(&portal.received(0)).contains("canary"), "it got the token");
    }
}

#[test]
fn a_token_that_the_server_rejects_or_that_ends_soon_is_told_with_what_to_do() {
    let stage = Stage::new();
    let dana = Client::of(&stage.mcpd.url(), "mcpd_0123456789abcdef_wrong");
    let found = Findings::of(dana.cmd::<&str>([]));
    let login = "mcpctl auth login --token-stdin < token.txt";
    assert_eq!((found.code, found.result("login")), (3, "wrong"));
    assert!(found.mend("login").starts_with("\"${EDITOR:-vi}\" /"), "{}", found.mend("login"));
    let mut given = Client::stranger(&stage.mcpd.url()).cmd::<&str>([]);
    given.env("MCPCTL_TOKEN", "mcpd_0123456789abcdef_wrong");
    let found = Findings::of(given);
    assert_eq!((found.result("login"), found.mend("login")), ("wrong", "unset MCPCTL_TOKEN"));

    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    let create = ["token", "create", "--user", "dana@example.com", "--expires", "50h"];
    let token = String::from_utf8(boss.cmd(create).output().unwrap().stdout).unwrap();
    let found = Findings::of(Client::of(&stage.mcpd.url(), token.trim()).cmd::<&str>([]));
    assert_eq!((found.code, found.result("login"), found.mend("login")), (0, "remark", login));
}

#[test]
fn each_provider_is_looked_at_and_the_command_that_shows_more_is_given() {
    let stage = Stage::new();
    let (gone, hidden) = (Refusing::new(), Path::new("/no/such/model.gguf"));
    let text = provider("gone", "chat-prod", &gone.url(), true)
        + &provider("self", "other", &stage.mcpd.url(), false)
        + &format!("  - name: gguf\n    type: llamacpp-managed\n    model: {}\n", hidden.display());
    stage.dana.providers(&text);
    let found = Findings::of(stage.dana.cmd::<&str>([]));
    assert_eq!(found.code, 3);
    let told = stage.dana.cmd(["doctor"]).assert().code(3);
    told.stdout(says("to look closer at provider gone: curl -v ").and(says("to mend provider self: ")));
    let about = |subject: &str| {
        let is_meant = |item: &&Value| item["check"] == "provider" && item["subject"] == subject;
        let item = found.items.iter().find(is_meant).unwrap();
        let text = |field: &str| item[field].as_str().unwrap().to_owned();
        (text("result"), text("message"), text("mend"))
    };
    let (result, message, mend) = about("gone");
    assert!(result == "wrong" && message.contains("connection refused"), "{message}");
    assert_eq!(mend, format!("curl -v {}/models", gone.url()));
    assert!(about("self").1.contains("the central server itself"), "{:?}", about("self"));
    let (result, _, mend) = about("gguf");
    assert!(result == "wrong" && mend.starts_with("\"${EDITOR:-vi}\" +12 "), "{mend}");
    // `other` is no LLM that dana may view.
    let failovers: Vec<_> = found.items.iter().filter(|item| item["check"] == "failover").collect();
    let results: Vec<_> = failovers.iter().map(|item| item["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["ok", "remark"], "{failovers:#?}");
}

#[test]
fn the_memory_of_the_card_is_compared_with_what_vllm_wants() {
    let engine = FakeEngine::vllm();
    let stage = Stage::new();
    let tools = stage.dana.home().join("tools");
    fs::create_dir(&tools).unwrap();
    let smi = tools.join("nvidia-smi");
    let says_free = |free: &str| {
        fs::write(&smi, format!("#!/bin/sh\necho '0, NVIDIA GeForce RTX 4090, 24564, {free}'\n")).unwrap();
        chmod(&smi, 0o755);
    };
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let entry = format!(
        "providers:\n  - name: box\n    type: vllm-managed\n    model: some/model\n    venvPath: {}\n    \
         gpuMemoryUtilization: 0.5\n",
        engine.venv().display()
    );
    stage.dana.providers(&entry);
    let look = || {
        let mut doctor = stage.dana.cmd::<&str>([]);
        doctor.env("PATH", &path);
        Findings::of(doctor)
    };
    says_free("12283");
    let found = look();
    assert_eq!((found.code, found.result("gpu")), (0, "ok"), "{:#?}", found.items);
    says_free("12281");
    let found = look();
    assert_eq!(found.code, 3);
    let wants = found.items.iter().find(|item| item["mend"] == "nvidia-smi").unwrap();
    assert!(wants["message"].as_str().unwrap().contains("vLLM wants 11.9 GiB of GPU 0"), "{wants}");
    // It is told no secret, and what it says on stderr is not passed on.
    let seen = tools.join("seen");
    fs::write(
        &smi,
        format!("#!/bin/sh\nenv > {}; echo 'NVIDIA-SMI has failed' >&2; exit 9\n", seen.display()),
    )
    .unwrap();
    let mut doctor = stage.dana.cmd(["doctor"]);
    doctor.env("PATH", &path).env("LMSTUDIO_KEY", "canary").env("MCPCTL_TOKEN", &stage.dana_token);
    doctor.env_remove("MCPCTL_TOKEN_FILE").assert().code(0).stderr(says("NVIDIA-SMI").not());
    let seen = fs::read_to_string(seen).unwrap();
    assert!(
        seen.contains("PATH=") && !seen.contains("canary") && !seen.contains(&stage.dana_token),
        "{seen}"
    );
    assert_eq!((look().code, look().result("gpu")), (0, "remark"));
}

#[test]
fn c05_what_a_killed_supervisor_left_is_found() {
    // Its workers outlive it, as workers do that make a session of their own.
    let worker = Worker { setsid: true, rename: true, ..Worker::default() };
    let engine = FakeEngine::vllm().ignoring_term().worker(worker);
    let stage = EngineStage::of(&engine, "port: 0");
    stage.cmd(&["infer", "chat-prod", PROMPT]).assert().code(0);
    let supervisor = stage.pid_of("supervisor");
    signal(supervisor, Signal::KILL);
    wait_for_end(supervisor);
    let found = Findings::of(stage.cmd(&[]));
    assert_eq!((found.code, found.result("engine")), (3, "wrong"));
    let mend = found.mend("engine").to_owned();
    let stop: Vec<_> = mend.split(' ').skip(1).collect();
    stage.cmd(&stop).assert().code(0);
    assert_eq!(Findings::of(stage.cmd(&[])).result("engine"), "ok");
}
