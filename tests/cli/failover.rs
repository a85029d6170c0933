//! When a local provider may answer, against the real server wherever its behaviour matters.

use crate::{
    engine_stage::wait_until_old,
    scripts::{NO_DATABASE, answer, close, reset, whole},
    support::{Client, PROMPT, Scripted, Stage, TEN_WORDS, assert_logged, provider, says},
};
use fakes::{
    Engine, Evild, Fault, Gate, Mcpd, Postgres, Refusing, Request, Response, SlowDisk, Step, required,
    wait_until, wire,
};
use mcp_api::LlmPatch;
use mcpctl::clock::Moment;
use predicates::prelude::*;
use std::{process::Stdio, thread, time::Duration};

const SOON: Duration = Duration::from_secs(30);
/// How many POSTs make a stage: LLM, user, binding, token.
const POSTS_OF_STAGE: usize = 4;
const PROBE: (&str, &str) = ("mcpd-probe", "run; nonce=00112233445566778899aabbccddeeff");

#[test]
fn p02_who_may_view_and_not_run_is_refused_and_nothing_is_probed() {
    let stage = Stage::with_rights(&["view"]);
    stage.upstream.stop();
    let head = |headers: &[_]| {
        stage.mcpd.request("HEAD", "/api/v1/llms/chat-prod", Some(&stage.dana_token), headers, b"").status
    };
    assert_eq!((head(&[]), head(&[PROBE])), (200, 403), "a plain HEAD would mislead");
    let refused = says("you are not allowed to run LLM \"chat-prod\" (403)")
        .and(says("no local provider was contacted"))
        .and(says("failover:").not());
    stage.dana.infer(&[]).code(5).stdout("").stderr(refused);
    let (code, document) = stage.dana.infer_json(&[]);
    assert_eq!((code, document["attempts"].as_array().unwrap().len()), (5, 1));
    // The two from above, and none by the program.
    assert_logged(&stage.mcpd, "HEAD", 2);
    stage.assert_local_untouched();
}

/// What the real server says, as a box before it would pass it on or keep it.
fn bytes_of(answer: &Response) -> Vec<u8> {
    let headers: Vec<_> = answer.headers.iter().collect();
    [wire::head(answer.status, &headers), answer.body.clone()].concat()
}

#[test]
fn p03_a_balancer_that_answers_503_opens_nothing_to_who_may_not_run() {
    let stage = Stage::with_rights(&["view"]);
    let denied = stage.mcpd.request("HEAD", "/api/v1/llms/chat-prod", Some(&stage.dana_token), &[PROBE], b"");
    assert_eq!(denied.status, 403);
    let balancer = Evild::start([answer(503, &[], "no server is available"), whole(bytes_of(&denied))]);
    let dana = Client::of(&balancer.url(), &stage.dana_token);
    dana.failover("chat-prod", &stage.local.url());
    let refused = says("central answered 503").and(says("failover refused: run is not granted (403)"));
    dana.infer(&[]).code(5).stdout("").stderr(refused);
    let methods: Vec<_> = balancer.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["POST", "HEAD"]);
    stage.assert_local_untouched();
}

#[test]
fn p06_a_prompt_over_the_servers_limit_is_no_way_to_the_local_model() {
    let (upstream, local) = (Refusing::new(), Engine::start());
    let mcpd = Mcpd::builder().arg("--max-body").arg("65536").start();
    mcpd.create_llm("chat-prod", &format!("{}/v1", upstream.url()));
    let grants = [("view", "llms", Some("chat-prod")), ("run", "llms", Some("chat-prod"))];
    let dana = Client::of(&mcpd.url(), &mcpd.user_with("dana", &grants));
    dana.failover("chat-prod", &local.url());
    // The last one is larger than the buffers on the way, so that the refusal comes while the client still sends.
    for words in [20_000, 200_000, 1_600_000] {
        let mut long = dana.cmd(["infer", "chat-prod", "-"]);
        let told = says("central answered 413").and(says("no failover: the request itself is wrong"));
        long.write_stdin("word ".repeat(words)).assert().code(9).stdout("").stderr(told);
    }
    assert_logged(&mcpd, "HEAD", 0);
    assert_eq!(local.connections(), 0, "an oversized prompt opened the way to the local model");
}

#[test]
fn p06_what_the_upstream_rejects_is_no_way_to_the_local_model() {
    let stage = Stage::new();
    for status in [400, 413, 422] {
        stage.upstream.set_fault(Fault::Status(status, wire::error("maximum context length", status)));
        stage.dana.infer(&[]).code(9).stdout("").stderr(says("maximum context length"));
    }
    assert_logged(&stage.mcpd, "HEAD", 0);
    stage.assert_local_untouched();
}

/// Runs `infer` while the upstream holds the request, and takes something away before the upstream fails.
fn taken_away_meanwhile(stage: &Stage, change: impl FnOnce(), code: i32, stderr: &str) {
    let gate = Gate::new();
    stage.upstream.set_fault(Fault::WaitAt(gate));
    thread::scope(|scope| {
        let run = scope.spawn(|| stage.dana.infer(&[]));
        stage.upstream.wait_for_request(1, SOON);
        change();
        stage.upstream.stop();
        let ended = run.join().expect("infer ran");
        ended.code(code).stdout("").stderr(says("central answered 502").and(says(stderr)));
    });
    assert_logged(&stage.mcpd, "HEAD", 1);
    stage.assert_local_untouched();
}

#[test]
fn p07_a_token_that_is_revoked_meanwhile_opens_nothing() {
    let stage = Stage::new();
    let revoke = || stage.mcpd.revoke_token(&stage.dana_token);
    taken_away_meanwhile(&stage, revoke, 5, "the server does not accept the credential (401)");
}

#[test]
fn p07_a_right_that_is_taken_away_meanwhile_opens_nothing() {
    let stage = Stage::new();
    let revoke = || stage.mcpd.delete_binding("dana-chat");
    taken_away_meanwhile(&stage, revoke, 5, "run is not granted (403)");
}

#[test]
fn p07_an_llm_that_is_removed_meanwhile_opens_nothing() {
    let stage = Stage::new();
    // Only who may view all LLMs is told 404.
    stage.mcpd.grant("dana-all", "dana@example.com", &[("view", "llms", None), ("run", "llms", None)]);
    let remove = || stage.mcpd.delete_llm("chat-prod");
    taken_away_meanwhile(&stage, remove, 5, "the server has no such LLM (404)");
}

#[test]
fn p07_an_llm_whose_failover_is_forbidden_meanwhile_opens_nothing() {
    let stage = Stage::new();
    let forbid = || {
        let patch = LlmPatch { failover: Some(mcp_api::FailoverPolicy::Forbidden), ..LlmPatch::default() };
        let _llm = stage.mcpd.patch_llm("chat-prod", &patch);
    };
    taken_away_meanwhile(&stage, forbid, 5, "the administrator forbids failovers of this LLM");
}

#[test]
fn p16_a_yes_for_another_llm_of_the_same_name_opens_nothing() {
    let stage = Stage::new();
    let reuse = || {
        stage.mcpd.delete_llm("chat-prod");
        stage.mcpd.create_llm("chat-prod", &stage.upstream.url());
    };
    taken_away_meanwhile(&stage, reuse, 6, "answered about another LLM");
}

#[test]
fn p19_a_reply_that_is_lost_is_never_asked_for_again_and_the_document_says_that_it_is_unknown() {
    for (lost, outcome) in [
        (reset(vec![Step::ReadRequest]), "reset"),
        (close(vec![Step::ReadRequest]), "reset"),
        // Into the middle of the upload: the kernel resets because bytes are unread.
        (close(vec![Step::ReadHead]), "reset"),
        (close(vec![Step::ReadRequest, Step::Send(b"HTTP/1.1 200 O".to_vec())]), "reset"),
    ] {
        let scene = Scripted::new(Evild::start([lost, answer(200, &[], "")]));
        let (code, document) = scene.dana.infer_json(&[]);
        assert_eq!((code, document["failover"].as_bool()), (0, Some(true)), "{document}");
        let central = &document["attempts"][0];
        assert_eq!(central["target"], "central");
        assert_eq!((&central["outcome"], &central["primaryState"]), (&outcome.into(), &"unknown".into()));
        let is_prompt = |request: &&Request| request.target.ends_with("/infer");
        let posts = scene.central.requests().iter().filter(is_prompt).count();
        assert!(posts <= 1, "{posts} requests for one answer");
        assert_eq!((scene.asked(), scene.probes(), scene.local.requests()), (2, 1, 1));
    }
}

#[test]
fn p19_the_note_says_that_the_request_may_still_be_carried_out() {
    let scene = Scripted::new(Evild::start([reset(vec![Step::ReadRequest]), answer(200, &[], "")]));
    scene.dana.infer(&[]).code(0).stderr(says("it may still carry out the request"));
}

#[test]
fn p20_a_provider_that_fails_too_is_told_with_both_errors_and_there_is_no_way_back() {
    for (fault, why) in [
        (Fault::Status(503, wire::error("no slot is free", 503)), "it answered 503 (no slot is free)"),
        // Its key is not the caller's: this is no log-in of ours.
        (Fault::Status(401, wire::error("bad key", 401)), "it answered 401 (bad key)"),
        (Fault::Status(404, wire::error("no such model", 404)), "it answered 404 (no such model)"),
        (Fault::CutAfter(0), "connection closed by it"),
        (Fault::NoDone, "broke off"),
        (Fault::Html, "it sent no answer of this protocol"),
    ] {
        let stage = Stage::new();
        stage.upstream.stop();
        let partial = matches!(fault, Fault::NoDone);
        stage.local.set_fault(fault);
        let told =
            says("central answered 502").and(says("failover: provider \"laptop\" failed")).and(says(why));
        let run = stage.dana.infer(&[]);
        let _checked = if partial {
            run.code(8).stdout("Hello from the laptop.").stderr(says(why))
        } else {
            run.code(7).stdout("").stderr(told)
        };
        assert_logged(&stage.mcpd, "POST", POSTS_OF_STAGE + 1);
        assert_logged(&stage.mcpd, "HEAD", 1);
        assert_eq!(stage.local.requests(), 1, "{why}");
    }
}

#[test]
fn p20_a_provider_that_is_not_there_is_told_with_both_errors() {
    let stage = Stage::new();
    stage.upstream.stop();
    stage.local.stop();
    let told = says("central answered 502")
        .and(says("failover: provider \"laptop\" failed: cannot reach"))
        .and(says("connection refused"));
    stage.dana.infer(&[]).code(7).stdout("").stderr(told);
    assert_logged(&stage.mcpd, "POST", POSTS_OF_STAGE + 1);
}

#[test]
fn p21_two_claims_leave_the_primary_alone_and_turn_failover_off() {
    let stage = Stage::new();
    let other = Engine::builder().text("Hello from the other.").start();
    let both = [
        provider("laptop", "chat-prod", &stage.local.url(), true),
        provider("other", "chat-prod", &other.url(), false),
    ];
    stage.dana.providers(&both.concat());
    let warned = says("warning:").and(says("failover is off until it is mended"));
    stage.dana.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(warned);
    stage.upstream.stop();
    let refused = says("central answered 502").and(says("no failover: the provider file cannot be used"));
    stage.dana.infer(&[]).code(7).stdout("").stderr(refused);
    let both_named = says("providers.yaml:9:").and(says("line 4 claims it first"));
    stage.dana.cmd(["providers", "validate"]).assert().code(2).stdout("").stderr(both_named);
    assert_eq!(other.bytes_received(), 0, "the second one won");
    stage.assert_local_untouched();
}

#[test]
fn p22_a_provider_that_is_the_server_itself_stands_in_for_nothing() {
    let stage = Stage::new();
    stage.upstream.stop();
    for host in ["127.0.0.1", "localhost", "[::1]", "127.0.0.1."] {
        let url = format!("http://{host}:{}/v1", stage.mcpd.port());
        stage.dana.failover("chat-prod", &url);
        let itself = || says("provider \"laptop\" is the central server");
        stage.dana.infer(&[]).code(7).stdout("").stderr(says("central answered 502").and(itself()));
        stage.dana.cmd(["providers", "validate"]).assert().code(2).stdout("").stderr(itself());
    }
    // Nobody could stand in, so nobody was asked whether one may.
    assert_logged(&stage.mcpd, "HEAD", 0);
}

#[test]
fn p22_entries_that_lead_nowhere_are_found_before_they_are_needed() {
    let stage = Stage::new();
    let without_url = "providers:\n  - { name: a, type: openai, failoverFor: chat-prod, model: m }\n";
    let url = stage.local.url();
    let itself = format!(
        "providers:\n  - {{ name: a, type: openai, failoverFor: chat-prod, model: m, url: \"{url}\", fallback: a }}\n"
    );
    let no_llm = format!(
        "providers:\n  - {{ name: a, type: openai, failoverFor: \"Chat Prod\", model: m, url: \"{url}\" }}\n"
    );
    for (text, named) in
        [(without_url, "url"), (&itself, "fallback"), (&no_llm, "a lower-case letter or a digit, not 'C'")]
    {
        stage.dana.providers(text);
        stage.dana.cmd(["providers", "validate"]).assert().code(2).stdout("").stderr(says(named));
        stage.dana.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(says("failover is off"));
    }
    // Made for an LLM that the server does not have: of no use, and of no harm.
    stage.dana.failover("chat-old", &url);
    stage.upstream.stop();
    stage.dana.infer(&[]).code(7).stderr(says("no failover: no provider declared for this LLM"));
    stage.assert_local_untouched();
}

/// mcpd answers from a memory that only its own writes change, so that a database of SQLite cannot be "down" for a
/// reader; what a server says whose database is out of reach is played: 503 to both.
#[test]
fn p23_a_server_without_its_database_cannot_confirm_and_so_permits_nothing() {
    let headers = [("mcpd-error-origin", "gateway"), ("mcpd-error-code", "unavailable")];
    let scene = Scripted::new(Evild::start([answer(503, &headers, NO_DATABASE)]));
    let refused = says("central answered 503")
        .and(says("failover refused: cannot confirm that you may use \"chat-prod\" (probe: answered 503)"));
    scene.dana.infer(&[]).code(6).stdout("").stderr(refused);
    assert_eq!((scene.central.connections(), scene.probes()), (2, 1));
    scene.assert_local_untouched();
}

#[test]
fn p23_a_server_whose_database_is_away_permits_nothing_until_it_is_back() {
    let Some(mut postgres) = Postgres::start() else { return required("PostgreSQL") };
    let stage = Stage::at(Mcpd::builder().on(&postgres).start(), &["view", "run"]);
    stage.dana.infer(&[]).code(0);
    let asked = stage.upstream.requests();
    postgres.stop();
    let refused = says("central answered 503")
        .and(says("failover refused: cannot confirm that you may use \"chat-prod\" (probe: answered 503)"));
    stage.dana.infer(&[]).code(6).stdout("").stderr(refused);
    assert_eq!(stage.upstream.requests(), asked, "a prompt went on with nobody to say that it may");
    stage.assert_local_untouched();
    postgres.start_again();
    stage.dana.infer(&[]).code(0);
}

/// The note in the journal comes before the prompt, and the disk takes its time for it.
#[test]
fn p18_a_permit_that_grows_old_while_the_disk_is_slow_opens_nothing() {
    let stage = Stage::new();
    // What is remembered of the server is written now, and not then.
    stage.dana.infer(&[]).code(0);
    stage.upstream.stop();
    let disk = SlowDisk::new();
    disk.stall();
    let mut command = stage.dana.raw(["infer", "chat-prod", PROMPT]);
    command.envs(disk.env()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let probes = || stage.mcpd.logs().matches("\"method\":\"HEAD\"").count();
    wait_until(SOON, "a question for permission", || probes() == 1);
    let asked = Moment::now();
    stage.mcpd.delete_binding("dana-chat");
    wait_until_old(asked);
    disk.flow();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(5), &b""[..]), "{stderr}");
    assert!(stderr.contains("failover refused: run is not granted (403)"), "{stderr}");
    stage.assert_local_untouched();
}

#[test]
fn a_drill_says_who_answers_like_every_failover() {
    let stage = Stage::new();
    let told = says("failover: answering from local provider \"laptop\"");
    stage.dana.infer(&["--route", "local"]).code(0).stdout("Hello from the laptop.\n").stderr(told);
    assert_eq!(stage.upstream.requests(), 0);
    assert_logged(&stage.mcpd, "HEAD", 1);
    let body = stage.local.bodies()[0]["messages"][0]["content"].clone();
    assert_eq!(body, PROMPT);
}
