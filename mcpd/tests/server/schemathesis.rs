//! schemathesis, a program of other people that reads `/openapi.json` and tries what stands there, right and wrong, on
//! the real server: as an administrator, as somebody who may view, and with a token that is none.
//!
//! `tests/clients/schemathesis.toml` says what it is told, and why.

use fakes::{Engine, Mcpd, client};
use std::path::Path;

/// Runs it as the holder of a token, and gives what it says if it has found something.
fn run(who: &str, token: impl FnOnce(&Mcpd) -> String) {
    let home = tempfile::tempdir().unwrap();
    let Some(mut schemathesis) = client("schemathesis", home.path()) else {
        return fakes::required("schemathesis");
    };
    let engine = Engine::start();
    let mcpd = Mcpd::builder().arg("--upstream-connect-timeout").arg("200ms").env("MCPD_LOG", "warn").start();
    mcpd.create_llm("chat-prod", &engine.url());
    let token = token(&mcpd);
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients/schemathesis.toml");
    let seconds = if crate::cases::is_full_run() { "300" } else { "20" };
    let done = schemathesis
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("{}/openapi.json", mcpd.url())])
        .args(["--continue-on-failure", "--no-shrink", "--seed", "1"])
        .args(["--max-examples", "25", "--max-time", seconds, "--request-timeout", "10"])
        .env("MCPD_TOKEN", &token)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "as {who}:\n{said}\n{}", String::from_utf8_lossy(&done.stderr));
    let tested = said.lines().find(|line| line.trim_start().starts_with("Tested:"));
    assert!(tested.is_some(), "{said}");
    assert!(!said.contains(&token) && !mcpd.logs().contains(&token), "a token was shown");
    assert!(!mcpd.logs().contains("panic"), "{}", mcpd.logs());
}

#[test]
fn schemathesis_finds_nothing_as_an_administrator() {
    run("an administrator", |mcpd| mcpd.admin_token().to_owned());
}

#[test]
fn schemathesis_finds_nothing_as_somebody_who_may_view() {
    let grants = [("view", "*", None), ("view", "audit", None)];
    run("a viewer", |mcpd| mcpd.user_with("vera@example.com", &grants));
}

#[test]
fn schemathesis_finds_nothing_with_a_token_that_is_none() {
    run("nobody", |_| format!("mcpd_{}_{}", "a".repeat(16), "0".repeat(64)));
}
