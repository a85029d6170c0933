//! A12: the configuration file: what goes before what, and what a mistake in it looks like.

use fakes::{Mcpd, McpdBuilder};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("mcpd.yaml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path
}

/// Runs `mcpd` with this file and nothing else, in a folder of its own.
fn run(home: &Path, text: &str, args: &[&str]) -> Output {
    let path = file(home, text);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcpd"));
    command.args(args).current_dir(home).env_clear().env("MCPD_CONFIG", path).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The limit of bodies, as a request that is too long is told.
fn limit(mcpd: McpdBuilder) -> String {
    let mcpd = mcpd.start();
    let long = json!({"kind": "User", "name": "x".repeat(9000)});
    let refused = mcpd.api("POST", mcp_api::paths::SUBJECTS, mcpd.admin_token(), &long);
    assert_eq!(refused.status, 413);
    let said: mcp_api::ErrorBody = refused.json();
    said.error.message.split(' ').find(|word| word.parse::<u32>().is_ok()).unwrap().to_owned()
}

#[test]
fn a12_a_flag_goes_before_the_environment_and_that_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "# the least of the three\nmaxBody: 1001\ndrain: 0s\n");
    let by_file = || Mcpd::builder().env("MCPD_CONFIG", path.to_str().unwrap());
    assert_eq!(limit(by_file()), "1001");
    assert_eq!(limit(by_file().env("MCPD_MAX_BODY", "1002")), "1002");
    assert_eq!(limit(by_file().env("MCPD_MAX_BODY", "1002").arg("--max-body=1003")), "1003");
    // And a file that is named by a flag goes before one that is named by the environment.
    let other = dir.path().join("other.yaml");
    fs::write(&other, "maxBody: 1004\n").unwrap();
    assert_eq!(limit(by_file().arg("--config").arg(other.to_str().unwrap())), "1004");
}

#[test]
fn a12_a_mistake_in_the_file_is_named_with_its_place_and_nothing_is_opened() {
    let home = tempfile::tempdir().unwrap();
    for (text, said) in [
        ("\nlisten: nowhere\n", "mcpd.yaml: listen: invalid value 'nowhere' for '--listen <ADDRESS>'"),
        ("listen: 127.0.0.1:0\ndrian: 3s\n", "there is no key `drian`; a similar one is `drain`"),
        ("audit: never\n", "[possible values: best-effort, required]"),
        ("drain: 3\n", "write a time such as 30s, 500ms or 2m"),
        ("database: postgres://mcpd:canary@db/mcpd\n", "password"),
        ("config: mcpd.yaml\n", "there is no key `config`"),
    ] {
        for args in [&["serve"][..], &["check"], &["migrate"], &["bootstrap", "--admin", "ana"]] {
            let refused = run(home.path(), text, args);
            let said_by_it = stderr(&refused);
            assert_eq!(refused.status.code(), Some(2), "{text:?} {args:?}: {said_by_it}");
            assert!(said_by_it.contains(said) && refused.stdout.is_empty(), "{text:?}: {said_by_it}");
            assert!(!said_by_it.contains("canary"), "{text:?}");
        }
    }
    let names = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["mcpd.yaml"]);
}

#[test]
fn a12_a_file_that_is_not_there_or_is_anybodys_is_no_default() {
    let home = tempfile::tempdir().unwrap();
    let path = file(home.path(), "maxBody: 1\n");
    let serve = |path: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcpd"));
        command.args(["serve", "--config"]).arg(path).env_clear().output().unwrap()
    };
    let missing = serve(&home.path().join("no.yaml"));
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("no.yaml: cannot be read: No such file"), "{}", stderr(&missing));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let open = serve(&path);
    assert_eq!(open.status.code(), Some(2));
    assert!(stderr(&open).contains("anybody may write it"), "{}", stderr(&open));
}

#[test]
fn a12_check_judges_the_settings_of_serving() {
    let mcpd = Mcpd::start();
    assert!(mcpd.run(&["check", "--drain", "5s"]).status.success());
    let refused = mcpd.run(&["check", "--drain", "soon"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--drain"), "{}", stderr(&refused));
}
