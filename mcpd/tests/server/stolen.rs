//! K11: who has the files of the database, or a copy of it, has no token, no key of an upstream and no prompt. Of tokens
//! there are hashes.

use crate::cases::{CHAT, INFER, USES_CHAT};
use fakes::{Engine, Mcpd, Postgres};
use mcp_api::{ApiKeyRef, LlmSpec};
use memchr::memmem;
use sha2::{Digest, Sha256};
use std::{fs, path::Path, process::Command};

const KEY: &str = "canary-upstream-key-5c1d0e7b9a";
const PROMPT: &str = "canary-prompt-77ab31f0c2";

/// What is secret of a token, and what may be known of it.
fn secret_and_hash(token: &str) -> (String, String) {
    let secret = token.rsplit('_').next().unwrap().to_owned();
    let hash = Sha256::digest(&secret).iter().map(|byte| format!("{byte:02x}")).collect();
    (secret, hash)
}

/// A server that has been used for everything that involves a secret. Gives the tokens that there were.
fn use_it(mcpd: &Mcpd, engine: &Engine) -> Vec<String> {
    let spec = LlmSpec {
        api_key_ref: Some(ApiKeyRef::Env("UPSTREAM_KEY".into())),
        ..Mcpd::llm_spec("chat", &engine.url())
    };
    mcpd.create_llm_from(&spec);
    let dana = mcpd.user_with("dana", USES_CHAT);
    let revoked = mcpd.token_for("dana");
    mcpd.revoke_token(&revoked);
    let question = serde_json::json!({"messages": [{"role": "user", "content": PROMPT}]});
    assert_eq!(mcpd.api("POST", INFER, &dana, &question).status, 200);
    assert_eq!(mcpd.api("POST", INFER, &revoked, &question).status, 401);
    // Somebody puts a token where a name belongs.
    mcpd.request("GET", &format!("{CHAT}-{dana}"), Some(mcpd.admin_token()), &[], b"");
    mcpd.request("GET", &format!("{CHAT}?access_token={dana}"), Some(mcpd.admin_token()), &[], b"");
    vec![mcpd.admin_token().to_owned(), dana, revoked]
}

/// Asserts that no file under a folder holds a secret, and that the hashes of the tokens are there: else it was the
/// wrong folder, or nothing of it could be read.
fn holds_only_hashes(folder: &Path, tokens: &[String]) {
    let mut files = Vec::new();
    read(folder, &mut files);
    let found =
        |needle: &str| files.iter().find(|(_, bytes)| memmem::find(bytes, needle.as_bytes()).is_some());
    for (secret, hash) in tokens.iter().map(|token| secret_and_hash(token)) {
        assert!(found(&hash).is_some(), "no hash in {}", folder.display());
        assert!(found(&secret).is_none(), "a token in {}", found(&secret).unwrap().0);
    }
    for secret in [KEY, PROMPT] {
        assert!(found(secret).is_none(), "{secret} in {}", found(secret).unwrap().0);
    }
}

fn read(path: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    let kind = fs::symlink_metadata(path).unwrap().file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            read(&entry.unwrap().path(), into);
        }
    } else if kind.is_file() {
        into.push((path.display().to_string(), fs::read(path).unwrap()));
    }
}

/// A backup, as an operator makes one.
fn copy_of(mcpd: &Mcpd, password: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy/mcpd.db");
    let from = match password {
        Some(password) => mcpd.database_url().replace(&format!(":{password}@"), "@"),
        None => mcpd.database_url(),
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcpd"));
    command
        .args(["copy", "--from", &from])
        .env_clear()
        .envs(password.map(|password| ("PGPASSWORD", password)));
    let output = command.env("MCPD_DATABASE", format!("sqlite://{}", file.display())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

#[test]
fn k11_a_stolen_file_its_journal_and_its_copy_hold_no_secret() {
    let engine = Engine::builder().key(KEY).start();
    let mut mcpd = Mcpd::builder().sqlite().env("UPSTREAM_KEY", KEY).start();
    let tokens = use_it(&mcpd, &engine);
    let copy = copy_of(&mcpd, None);
    // Killed, so that what was written last stands in the journal only.
    mcpd.kill();
    assert!(fs::metadata(mcpd.data_dir().join("mcpd.db-wal")).unwrap().len() > 0);
    holds_only_hashes(&mcpd.data_dir(), &tokens);
    holds_only_hashes(copy.path(), &tokens);
}

#[test]
fn k11_the_files_of_a_stolen_server_and_its_copy_hold_no_secret() {
    let Some(mut postgres) = Postgres::start() else { return fakes::required("PostgreSQL") };
    let engine = Engine::builder().key(KEY).start();
    let mcpd = Mcpd::builder().on(&postgres).env("UPSTREAM_KEY", KEY).start();
    let tokens = use_it(&mcpd, &engine);
    let copy = copy_of(&mcpd, Some(postgres.password()));
    drop(mcpd);
    postgres.stop();
    holds_only_hashes(postgres.dir(), &tokens);
    holds_only_hashes(copy.path(), &tokens);
}
