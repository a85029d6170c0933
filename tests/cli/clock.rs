//! A clock on the wall that is ten years off changes what certificates and tokens look like, and nothing that is
//! decided about a right or counted as a limit.

use crate::{
    engine_stage::EngineStage,
    support::{Client, PROMPT, Stage, TEN_WORDS, says},
};
use fakes::{Certificate, Engine, Evild, FakeEngine, Fault, Step, WrongClock, wire};
use predicates::prelude::*;
use std::{
    process::Stdio,
    time::{Duration, Instant},
};

const TEN_YEARS: i64 = 10 * 365 * 86_400;

#[test]
fn g08_answers_failovers_and_denials_are_the_same_ten_years_off() {
    for off in [-TEN_YEARS, TEN_YEARS] {
        let (stage, clock) = (Stage::new(), WrongClock::new());
        clock.set(off);
        let infer = || {
            let mut command = stage.dana.cmd(["infer", "chat-prod", PROMPT]);
            command.envs(clock.env()).assert()
        };
        infer().code(0).stdout(format!("{TEN_WORDS}\n"));
        stage.upstream.stop();
        infer().code(0).stdout("Hello from the laptop.\n").stderr(says("note: failover: "));
        let local = stage.local.bytes_received();
        stage.mcpd.delete_binding("dana-chat");
        infer().code(5).stdout("");
        assert_eq!(stage.local.bytes_received(), local, "a denial was passed over");
    }
}

#[test]
fn g08_a_limit_neither_ends_early_nor_never_when_the_clock_jumps_while_it_runs() {
    const LIMIT: Duration = Duration::from_secs(2);
    for off in [-TEN_YEARS, TEN_YEARS] {
        let (stage, clock) = (Stage::with_rights(&["view", "run"]), WrongClock::new());
        stage.dana.providers("providers: []\n");
        stage.upstream.set_fault(Fault::HangAfter(0));
        let mut command = stage.dana.raw(["infer", "chat-prod", PROMPT, "--first-token-timeout", "2s"]);
        command.envs(clock.env()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let began = Instant::now();
        let child = command.spawn().unwrap();
        stage.upstream.wait_for_request(1, Duration::from_secs(30));
        clock.set(off);
        let output = child.wait_with_output().unwrap();
        let took = began.elapsed();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        assert!(took >= LIMIT && took < 10 * LIMIT, "{off}: it took {took:?}");
    }
}

#[test]
fn g08_a_certificate_that_the_clock_makes_look_wrong_is_refused_with_a_hint_at_the_clock() {
    let answer = wire::json_answer(200, &serde_json::json!({ "items": [] }));
    let server = Evild::start_tls(Certificate::TwoYears, [vec![Step::ReadRequest, Step::Send(answer)]]);
    let local = Engine::start();
    let dana = Client::of(&server.url(), "mcpd_0123456789abcdef_canarycanary");
    dana.failover("chat-prod", &local.url());
    let context = ["config", "set-context", "prod", "--server", &server.url(), "--ca-file"];
    dana.cmd(context).arg(server.ca_file()).assert().code(0);
    let clock = WrongClock::new();
    let cmd = |args: &[&str]| {
        let mut command = dana.cmd(args);
        command.env_remove("MCPCTL_SERVER").envs(clock.env());
        command
    };
    cmd(&["llm", "list"]).assert().code(0);
    let sent = server.bytes_received();
    for (off, part) in
        [(TEN_YEARS, "its certificate expired on "), (-TEN_YEARS, "its certificate is valid from ")]
    {
        clock.set(off);
        let hint = || says(part).and(says("this machine's clock says ")).and(says("set the clock"));
        cmd(&["llm", "list"]).assert().code(7).stdout("").stderr(hint());
        cmd(&["infer", "chat-prod", PROMPT]).assert().code(7).stdout("").stderr(hint());
        assert_eq!(local.bytes_received(), 0, "the local provider was contacted");
    }
    assert_eq!(server.bytes_received(), sent, "something was sent to a server that is not trusted");
    // Doctor asks the provider whether it would answer, and says the same of the certificate.
    cmd(&["doctor"]).assert().code(3).stdout(says("its certificate is valid from "));
}

#[test]
fn g08_a_token_is_judged_by_the_server_and_the_clock_only_speaks() {
    let (stage, clock) = (Stage::new(), WrongClock::new());
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    let create = ["token", "create", "--user", "dana@example.com", "--expires", "30d"];
    let token = boss.cmd(create).output().unwrap().stdout;
    let dana = Client::stranger(&stage.mcpd.url());
    dana.cmd(["auth", "login", "--token-stdin"]).write_stdin(token).assert().code(0);
    let list = |off| {
        clock.set(off);
        dana.cmd(["llm", "list"]).envs(clock.env()).assert().code(0).stdout(says("chat-prod"))
    };
    list(0).stderr("");
    list(TEN_YEARS).stderr(says("by this machine's clock your token expired on "));
    list(-TEN_YEARS).stderr("");
    clock.set(TEN_YEARS);
    dana.cmd(["doctor"]).envs(clock.env()).assert().code(3).stdout(says("days ahead of the server's"));
}

#[test]
fn g08_an_engine_is_found_again_by_whoever_has_another_clock() {
    let engine = FakeEngine::vllm();
    let (stage, clock) = (EngineStage::of(&engine, "port: 0"), WrongClock::new());
    for off in [TEN_YEARS, 0, -TEN_YEARS] {
        clock.set(off);
        let mut command = stage.cmd(&["infer", "chat-prod", PROMPT]);
        command.envs(clock.env()).assert().code(0);
        let mut command = stage.cmd(&["providers", "status", "laptop"]);
        command.envs(clock.env()).assert().code(0).stdout(says("running"));
    }
    assert_eq!(engine.starts().len(), 1);
}

#[test]
fn g08_the_double_is_read_by_the_program() {
    let clock = WrongClock::new();
    clock.set(TEN_YEARS);
    let shown = std::process::Command::new("date").arg("+%s").envs(clock.env()).output().unwrap();
    let shown: i64 = String::from_utf8(shown.stdout).unwrap().trim().parse().unwrap();
    let now = jiff::Timestamp::now().as_second();
    assert!((shown - now - TEN_YEARS).abs() < 60, "{shown} beside {now}");
}

#[test]
fn n05_no_failover_goes_round_a_certificate_that_is_wrong() {
    for certificate in [Certificate::Expired, Certificate::WrongName, Certificate::SelfSigned] {
        let server = Evild::start_tls(certificate, [vec![Step::ReadRequest, Step::Hang]]);
        let local = Engine::start();
        let dana = Client::of(&server.url(), "mcpd_0123456789abcdef_canarycanary");
        dana.failover("chat-prod", &local.url());
        let context = ["config", "set-context", "prod", "--server", &server.url(), "--ca-file"];
        dana.cmd(context).arg(server.ca_file()).assert().code(0);
        let mut infer = dana.cmd(["infer", "chat-prod", PROMPT]);
        let told = says("its certificate ").and(says("mcpctl auth").not());
        infer.env_remove("MCPCTL_SERVER").assert().code(7).stdout("").stderr(told);
        assert_eq!((server.bytes_received(), local.bytes_received()), (0, 0), "{certificate:?}");
    }
}
