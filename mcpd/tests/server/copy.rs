//! `mcpd copy`: a whole copy or none, from any database to any other one, also while the first one is in use.

use crate::cases::{CHAT, probe};
use fakes::{Mcpd, Postgres};
use mcp_api::{Subject, SubjectKind, paths};
use std::process::{Command, Output};

/// Everything that an administrator can read.
fn everything(mcpd: &Mcpd) -> Vec<String> {
    let all = [paths::LLMS, paths::RBACS, paths::SUBJECTS, paths::TOKENS];
    all.map(|path| mcpd.request("GET", path, Some(mcpd.admin_token()), &[], b"").text()).to_vec()
}

/// Runs `mcpd copy`. What is written to is told by the environment.
fn copy(from: &str, password: Option<&str>, to: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcpd"));
    command.args(["copy", "--from", from]).env_clear().env("MCPD_DATABASE", to);
    command.envs(password.map(|password| ("PGPASSWORD", password))).output().unwrap()
}

fn in_file(folder: &tempfile::TempDir, name: &str) -> String {
    format!("sqlite://{}", folder.path().join(name).join("mcpd.db").display())
}

/// A server with something in every table, and the tokens of a user and of one whose token is revoked.
fn furnished() -> (Mcpd, String, String) {
    let mcpd = Mcpd::builder().sqlite().start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    mcpd.create_user("dana");
    let dana = mcpd.token_for("dana");
    let revoked = mcpd.token_for("dana");
    mcpd.revoke_token(&revoked);
    mcpd.create_subject(SubjectKind::Group, "team", &["dana"]);
    let team = Subject { kind: SubjectKind::Group, name: "team".parse().unwrap() };
    let grants = [("view", "llms", Some("chat")), ("run", "llms", None)];
    mcpd.grant_to("team", team, &grants);
    (mcpd, dana, revoked)
}

#[test]
fn a_copy_has_everything_and_opens_for_the_same_tokens() {
    let (first, dana, revoked) = furnished();
    let folder = tempfile::tempdir().unwrap();
    let mut hops = Vec::new();
    let postgres = Postgres::start();
    if let Some(postgres) = &postgres {
        hops.push((postgres.url(), Some(postgres.password().to_owned())));
    }
    hops.push((in_file(&folder, "last"), None));

    let (before, mut from, mut password) = (everything(&first), first.database_url(), None::<String>);
    for (to, next_password) in hops {
        let copied = copy(&from, password.as_deref(), &to);
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let said = String::from_utf8(copied.stdout).unwrap();
        assert!(said.contains("       1 llms\n") && said.contains("       3 tokens\n"), "{said}");

        let second = Mcpd::builder().on_url(&to).administered_by(first.admin_token()).start();
        assert_eq!(everything(&second), before);
        assert_eq!(probe(&second, CHAT, &dana).status, 200);
        assert_eq!(probe(&second, CHAT, &revoked).status, 401);
        second.create_user("eve");
        second.delete_user("eve");

        let again = copy(&from, password.as_deref(), &to);
        assert!(!again.status.success());
        drop(second);
        let again = copy(&from, password.as_deref(), &to);
        assert!(!again.status.success());
        assert!(String::from_utf8_lossy(&again.stderr).contains("needs an empty one"));
        (from, password) = (without(&to, next_password.as_deref()), next_password);
    }
}

/// The URL as it may stand on a command line.
fn without(url: &str, password: Option<&str>) -> String {
    password.map_or_else(|| url.to_owned(), |password| url.replacen(&format!(":{password}@"), "@", 1))
}

#[test]
fn a_copy_of_nothing_is_refused_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let target = in_file(&folder, "target");
    for (from, said) in [
        (in_file(&folder, "missing"), "unable to open"),
        ("postgres://mcpd:canary@127.0.0.1:9/mcpd".to_owned(), "PGPASSWORD"),
        ("postgres://mcpd@127.0.0.1:9/mcpd".to_owned(), "refused"),
    ] {
        let refused = copy(&from, None, &target);
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && stderr.contains(said), "{stderr}");
        assert!(!stderr.contains("canary"), "{stderr}");
    }
    let (first, ..) = furnished();
    assert!(copy(&first.database_url(), None, &target).status.success(), "the target was spoilt");
}
