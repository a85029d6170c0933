//! Secrets: how they come in, and that they come out nowhere.

use crate::{
    engine_stage::EngineStage,
    support::{Client, PROMPT, Stage, provider, says},
};
use fakes::{Canary, Evild, FakeEngine, Fault, process_args_and_env, wire};
use predicates::prelude::*;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::{
    fs,
    io::Write as _,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

fn seen(output: &Output) -> Vec<u8> {
    [&output.stdout[..], &output.stderr].concat()
}

#[test]
fn k01_no_flag_takes_a_token_and_no_process_list_shows_one() {
    let stage = Stage::new();
    let help = stage.dana.cmd(["help", "infer"]).output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(
        text.contains("--token-file") && !text.contains("--token ") && !text.contains("--api-key"),
        "{text}"
    );
    stage.dana.cmd(["llm", "list", "--token", "x"]).assert().code(2).stderr(says("unexpected argument"));

    stage.upstream.set_fault(Fault::HangAfter(0));
    let mut command = stage.dana.raw(["infer", "chat-prod", PROMPT]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    stage.upstream.wait_for_request(1, Duration::from_secs(30));
    let shown = process_args_and_env(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!shown.is_empty());
    let mut canary = Canary::new();
    canary.watch("the token", &stage.dana_token);
    canary.sweep(&[], &[("arguments and environment", &shown)]);
}

#[test]
fn k02_an_engine_sees_only_the_variables_that_it_may_see_and_nobody_a_token() {
    let engine = FakeEngine::vllm();
    let stage = EngineStage::of(&engine, "port: 0");
    let mut canary = Canary::new();
    canary.watch("dana's token", &stage.dana_token);
    let mut command = stage.cmd(&["infer", "chat-prod", PROMPT]);
    command.env_remove("MCPCTL_TOKEN_FILE").env("MCPCTL_TOKEN", &stage.dana_token).env("LANG", "C");
    for name in [
        "AWS_SECRET_ACCESS_KEY",
        "OPENAI_API_KEY",
        "HF_TOKEN",
        "VLLM_API_KEY",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "HTTPS_PROXY",
        "BASH_ENV",
        "MCPCTL_ENGINE",
        "ANYTHING_ELSE",
    ] {
        command.env(name, canary.secret(name));
    }
    command.assert().code(0);
    let environment = engine.environment();
    let names: Vec<_> = environment.keys().map(String::as_str).collect();
    let own = ["MCPCTL_ENGINE", "VLLM_API_KEY", "VLLM_HOST_IP", "VLLM_NO_USAGE_STATS", "VLLM_RPC_BASE_PATH"];
    let mut expected = [&["FAKE_ENGINE", "HOME", "LANG", "PATH"], &own[..]].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let values: Vec<_> = environment.into_values().collect();
    let of = |who: &str| process_args_and_env(stage.pid_of(who));
    canary.sweep(
        &[stage.dana.home()],
        &[
            ("the engine's environment", values.join(" ").as_bytes()),
            ("what the kernel shows of the engine", &of("engine")),
            ("what the kernel shows of the supervisor", &of("supervisor")),
            ("what the engine got", &engine.requests()),
        ],
    );
    let shown = fs::read(format!("/proc/{}/environ", stage.pid_of("supervisor"))).unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&shown), "", "the supervisor needs no variable");
}

#[test]
fn k03_neither_more_words_nor_any_error_shows_the_token() {
    let stage = Stage::new();
    let mut canary = Canary::new();
    canary.watch("the token", &stage.dana_token);
    let commands: &[&[&str]] = &[
        &["-v", "-v", "infer", "chat-prod", "hi"],
        &["-v", "infer", "chat-prod", "hi", "-o", "json"],
        &["infer", "chat-prod", "hi", "--dry-run"],
        &["llm", "list", "-o", "wide"],
        &["llm", "head", "chat-prod", "-v"],
        &["auth", "status", "-o", "json"],
        &["auth", "whoami", "-o", "json"],
        &["token", "list", "-o", "json"],
        &["providers", "failovers", "--probe", "-v"],
        &["config", "view"],
        &["llm", "get", "nothing-here"],
        &["infer", "nothing-here", "hi"],
        &["token", "revoke", "no-id"],
    ];
    for (round, upstream) in ["well", "dead"].into_iter().enumerate() {
        if round == 1 {
            stage.upstream.stop();
        }
        for args in commands {
            let output =
                stage.dana.cmd(*args).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1").output().unwrap();
            canary.sweep(&[], &[(&format!("{args:?} with the upstream {upstream}"), &seen(&output))]);
        }
    }
    // A whole token where an id belongs is not sent and not repeated.
    let output = stage.dana.cmd(["token", "revoke", &stage.dana_token]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    canary.sweep(&[], &[("the error", &seen(&output))]);
}

#[test]
fn k03_a_key_in_the_wrong_place_of_the_provider_file_is_not_shown() {
    let mut canary = Canary::new();
    let key = canary.secret("provider-key");
    let entry = provider("laptop", "chat-prod", "http://127.0.0.1:1/v1", true);
    let dana = Client::stranger("http://127.0.0.1:9");
    for line in [
        format!("    apiKey: {key}\n"),
        format!("    apiKeyEnv: {key}\n"),
        format!("    apiKeyEnv: [{key}]\n"),
        format!("    env: {{ OPENAI_API_KEY: {key}, 1: [] }}\n"),
        format!("    remote: {key}\n"),
    ] {
        dana.providers(&(entry.clone() + &line));
        let output = dana.cmd(["providers", "validate"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        canary.sweep(&[], &[("the error", &seen(&output))]);
    }
    dana.providers(&entry.replace("http://127.0.0.1:1/v1", &format!("http://u:{key}@127.0.0.1:1/v1")));
    let output = dana.cmd(["providers", "validate"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("must not hold a password"), "{output:?}");
    canary.sweep(&[], &[("the error", &seen(&output))]);
}

#[test]
fn the_key_of_a_provider_goes_to_the_provider_and_the_bearer_does_not() {
    let stage = Stage::new();
    stage.upstream.stop();
    let entry = provider("laptop", "chat-prod", &stage.local.url(), true) + "    apiKeyEnv: LAPTOP_KEY\n";
    stage.dana.providers(&entry);
    stage.dana.infer(&[]).code(7).stderr(says("set LAPTOP_KEY"));
    stage.assert_local_untouched();
    stage.dana.cmd(["infer", "chat-prod", PROMPT]).env("LAPTOP_KEY", "key-of-the-laptop").assert().code(0);
    let got = String::from_utf8(stage.local.received()).unwrap().to_lowercase();
    assert!(got.contains("authorization: bearer key-of-the-laptop"), "{got}");
    for header in ["cookie:", "openai-organization", "x-request-id", "mcpd-"] {
        assert!(!got.contains(header), "{header} went to the provider");
    }
}

/// `mcpctl` with as much room for a core dump as there is; not as root, whose processes look all the same.
fn dumpable(room: &Path) -> Command {
    let copy = room.join("mcpctl");
    // Not by ourselves: what another test starts meanwhile would hold the copy open for writing.
    let program = assert_cmd::cargo::cargo_bin!("mcpctl");
    assert!(Command::new("cp").args([program, &copy]).status().unwrap().success());
    for path in [room, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -c "$(ulimit -H -c)" && exec "$@""#, "sh"]).arg(copy);
    command.env_clear().env("HOME", room).current_dir(room);
    if geteuid().is_root() {
        chown(room, Some(65534), Some(65534)).unwrap();
        command.uid(65534).gid(65534);
    }
    command
}

#[test]
fn k04_neither_a_core_dump_nor_a_debugger_reads_the_token() {
    let stage = Stage::new();
    stage.upstream.set_fault(Fault::HangAfter(0));
    let room = tempfile::tempdir().unwrap();
    let mut command = dumpable(room.path());
    command.env("MCPCTL_SERVER", stage.mcpd.url()).env("MCPCTL_TOKEN", &stage.dana_token);
    command.args(["infer", "chat-prod", PROMPT]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    stage.upstream.wait_for_request(1, Duration::from_secs(30));

    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let of_core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    // The kernel gives root what only root may look into.
    let owner = fs::metadata(format!("/proc/{}/environ", child.id())).unwrap().uid();
    kill_process(Pid::from_child(&child), Signal::ABORT).unwrap();
    let status = child.wait().unwrap();
    fs::remove_file(room.path().join("mcpctl")).unwrap();
    assert_eq!(of_core.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"]);
    assert_eq!(owner, 0, "whoever runs it can debug it");
    assert_eq!((status.signal(), status.core_dumped()), (Some(Signal::ABORT.as_raw()), false));
    let mut canary = Canary::new();
    canary.watch("the token", &stage.dana_token);
    canary.watch("the prompt", PROMPT);
    canary.sweep(&[room.path()], &[]);
}

#[test]
fn k05_a_stored_token_is_private_and_goes_to_its_own_server_only() {
    let (stage, other) = (Stage::new(), Stage::new());
    let dana = Client::stranger(&stage.mcpd.url());
    dana.cmd(["llm", "list"])
        .assert()
        .code(4)
        .stderr(says("not logged in").and(says("auth login --token-stdin")));
    dana.cmd(["auth", "login", "--token-stdin"])
        .write_stdin(format!("{}\n", stage.dana_token))
        .assert()
        .code(0)
        .stdout(says("as dana@example.com"));
    let folder = dana.home().join(".config/mcpctl/credentials");
    let entry = fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    dana.cmd(["llm", "list"]).assert().code(0);
    dana.cmd(["llm", "list", "--server", &other.mcpd.url()])
        .assert()
        .code(4)
        .stderr(says("not logged in to"));
    assert!(
        !other.mcpd.logs().contains("/api/v1/llms\",\"status\":401"),
        "the token of one server went to another"
    );
    dana.cmd(["auth", "logout"]).assert().code(0);
    dana.cmd(["llm", "list"]).assert().code(4);
}

#[test]
fn a_rejected_token_is_not_stored() {
    let stage = Stage::new();
    let dana = Client::stranger(&stage.mcpd.url());
    let mut login = dana.cmd(["auth", "login", "--token-stdin"]);
    login.write_stdin("mcpd_0123456789abcdef_wrong\n").assert().code(4).stdout("").stderr(says("401"));
    assert!(!dana.home().join(".config/mcpctl/credentials").exists());
    dana.cmd(["auth", "login"]).assert().code(2).stderr(says("--token-stdin"));
    dana.cmd(["auth", "login", "--token-stdin"]).write_stdin("two words\n").assert().code(2);
}

#[test]
fn the_prompt_is_in_no_file_and_no_log_of_a_failing_run() {
    let stage = Stage::new();
    stage.upstream.set_fault(Fault::Status(500, serde_json::json!({ "error": { "message": PROMPT } })));
    let mut child = stage.dana.raw(["infer", "chat-prod", "-"]);
    let mut child =
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(PROMPT.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(predicate::str::contains(PROMPT).not().eval(&String::from_utf8_lossy(&output.stderr)));
    // The rest is what `Stage` looks for when it goes.
}

#[test]
fn a_token_of_flag_or_variable_goes_to_the_server_that_is_meant_and_to_no_other_context() {
    let (meant, other) = (Stage::new(), Evild::answering(wire::http(200, &[], "{}")));
    let dana = Client::of(&meant.mcpd.url(), &meant.dana_token);
    let cmd = |args: &[&str]| {
        let mut command = dana.cmd(args);
        command.env_remove("MCPCTL_SERVER");
        command
    };
    cmd(&["config", "set-context", "meant", "--server", &meant.mcpd.url()]).assert().code(0);
    cmd(&["config", "set-context", "other", "--server", &other.url()]).assert().code(0);
    let both = says("dana@example.com").and(says("not logged in to"));
    cmd(&["auth", "status"]).assert().code(3).stdout(both);
    assert_eq!(other.connections(), 0, "another context's server got the token");
}

#[test]
fn k03_a_peer_that_repeats_a_credential_is_not_repeated() {
    let mut canary = Canary::new();
    let bearer = format!("mcpd_0123456789abcdef_{}", canary.secret("bearer"));
    let key = canary.secret("key");
    for status in [401, 403, 422, 500] {
        let echo = serde_json::json!({ "error": { "message": format!("bad key {bearer} or {key}"), "code": bearer } });
        let central = Evild::answering(wire::json_answer(status, &echo));
        let dana = Client::of(&central.url(), &bearer);
        for args in
            [&["infer", "chat-prod", "hi"][..], &["infer", "chat-prod", "hi", "-o", "json"], &["llm", "list"]]
        {
            let output = dana.cmd(args).output().unwrap();
            assert_ne!(output.status.code(), Some(0));
            let only_bearer = String::from_utf8(seen(&output)).unwrap().replace(&key, "");
            canary.sweep(&[], &[(&format!("{args:?} after {status}"), only_bearer.as_bytes())]);
        }
    }
    let stage = Stage::new();
    stage.upstream.stop();
    stage.local.set_fault(Fault::EchoKey);
    let entry = provider("laptop", "chat-prod", &stage.local.url(), true) + "    apiKeyEnv: LAPTOP_KEY\n";
    stage.dana.providers(&entry);
    let output = stage
        .dana
        .cmd(["infer", "chat-prod", PROMPT, "-o", "json"])
        .env("LAPTOP_KEY", &key)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    canary.sweep(&[], &[("the provider's error", &seen(&output))]);
}

#[test]
fn k03_a_value_in_the_wrong_place_of_a_document_or_conversation_is_not_repeated() {
    let mut canary = Canary::new();
    let key = canary.secret("key");
    let dana = Client::of("http://127.0.0.1:9", "mcpd_a_b");
    for wrong in [
        format!("apiKeyRef: {key}"),
        format!("apiKeyRef: {{ env: [{key}] }}"),
        format!("failover: {key}"),
        format!("enabled: {key}"),
    ] {
        let document = format!("kind: Llm\nname: x\ntype: openai\nurl: http://x/v1\nmodel: m\n{wrong}\n");
        let output = dana.cmd(["apply", "-f", "-"]).write_stdin(document).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("standard input:6:"), "{wrong} has the wrong place");
        canary.sweep(&[], &[(&wrong.replace(&key, "..."), &seen(&output))]);
    }
    let conversation = dana.home().join("c.yaml");
    fs::write(&conversation, format!("- {key}\n")).unwrap();
    let output =
        dana.cmd(["infer", "x", "hi", "--messages", conversation.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    canary.sweep(&[], &[("the error about a conversation", &seen(&output))]);
}

#[test]
fn a_token_that_could_not_be_shown_does_not_stay_valid() {
    let mcpd = fakes::Mcpd::start();
    mcpd.create_user("dana");
    let boss = Client::of(&mcpd.url(), mcpd.admin_token());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = boss.raw(["token", "create", "--user", "dana"]);
    let output =
        command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("was revoked again"), "{output:?}");
    let tokens = boss.cmd(["token", "list", "-o", "csv"]).output().unwrap().stdout;
    let tokens = String::from_utf8(tokens).unwrap();
    assert!(tokens.lines().any(|line| line.contains("dana,revoked")), "{tokens}");
}
