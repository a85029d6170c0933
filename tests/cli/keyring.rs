//! Tokens in the real GNOME Keyring: `cargo test --test cli --features keyring keyring::`.

use crate::support::{Client, Stage, says};
use fakes::{Canary, Keyring};
use predicates::prelude::*;
use std::fs;

/// Dana, who has logged in with `--keyring`. None if this machine has no keyring.
fn logged_in(stage: &Stage) -> Option<(Client, Keyring)> {
    let Some(keyring) = Keyring::start() else {
        fakes::required("keyring");
        return None;
    };
    let dana = Client::stranger(&stage.mcpd.url());
    login(&dana, &keyring, stage, &["--keyring"]);
    Some((dana, keyring))
}

fn login(dana: &Client, keyring: &Keyring, stage: &Stage, more: &[&str]) {
    let mut login = dana.cmd(["auth", "login", "--token-stdin"].iter().chain(more));
    login.envs([keyring.env()]).write_stdin(&*stage.dana_token).assert().code(0).stderr("");
}

#[test]
fn k05_a_token_in_the_keyring_is_in_no_file_and_goes_to_its_own_server_only() {
    let (stage, other) = (Stage::new(), Stage::new());
    let Some((dana, keyring)) = logged_in(&stage) else { return };
    let cmd = |args: &[&str]| {
        let mut command = dana.cmd(args);
        command.envs([keyring.env()]);
        command
    };
    cmd(&["llm", "list"]).assert().code(0).stdout(says("chat-prod"));
    cmd(&["auth", "status"]).assert().code(0).stdout(says("  keyring  "));
    cmd(&["doctor"]).assert().code(0).stdout(says("in the keyring of the desktop"));
    let mut canary = Canary::new();
    canary.watch("dana's token", &stage.dana_token);
    canary.sweep(&[dana.home(), keyring.folder()], &[]);

    let elsewhere = cmd(&["llm", "list", "--server", &other.mcpd.url()]).assert();
    elsewhere.code(4).stderr(says("not logged in to"));
    cmd(&["auth", "logout"]).assert().code(0).stdout(says("Logged out of"));
    cmd(&["llm", "list"]).assert().code(4).stderr(says("not logged in to"));
}

#[test]
fn a_login_without_the_keyring_takes_the_token_out_of_it() {
    let stage = Stage::new();
    let Some((dana, keyring)) = logged_in(&stage) else { return };
    let file =
        fs::read_dir(dana.home().join(".config/mcpctl/credentials")).unwrap().next().unwrap().unwrap().path();
    let mark = fs::read(&file).unwrap();
    login(&dana, &keyring, &stage, &[]);
    dana.cmd(["auth", "status"]).assert().code(0).stdout(says("file (0600)"));
    // With the mark of before, the keyring is asked, and has nothing any more.
    fs::write(&file, mark).unwrap();
    dana.cmd(["llm", "list"]).envs([keyring.env()]).assert().code(4).stderr(says("not logged in to"));
}

#[test]
fn a_keyring_that_is_away_ends_the_command_before_anything_is_sent() {
    let stage = Stage::new();
    let Some((dana, keyring)) = logged_in(&stage) else { return };
    drop(keyring);
    let before = stage.mcpd.logs().matches("/api/v1/llms").count();
    let away = dana.cmd(["llm", "list"]).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere").assert();
    away.code(4).stdout("").stderr(says("the keyring: ").and(says("panic").not()));
    let doctor = dana.cmd(["doctor"]).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere").assert();
    doctor.code(3).stdout(says("wrong    credential"));
    assert_eq!(stage.mcpd.logs().matches("/api/v1/llms").count(), before);
}

#[test]
fn nobody_who_only_types_is_a_reason_to_ask_the_keyring() {
    let stage = Stage::new();
    let Some((dana, keyring)) = logged_in(&stage) else { return };
    let server = stage.mcpd.url();
    let asked = |typed: &[&str]| {
        let mut complete = dana.cmd(["--", "mcpctl"].iter().chain(typed));
        complete.envs([keyring.env()]).env("_MCPCTL_COMPLETE", "bash").env("_CLAP_IFS", "\n");
        complete.env("_CLAP_COMPLETE_INDEX", typed.len().to_string());
        let shown = complete.assert().code(0).get_output().stdout.clone();
        String::from_utf8(shown).unwrap().contains("chat-prod")
    };
    let lines = [&["infer", "chat"][..], &["infer", "--server", &server, "chat"]];
    // What is offered without the server comes from the provider file, and there is none.
    assert!(lines.iter().all(|line| !asked(line)), "a token came from the keyring");
    login(&dana, &keyring, &stage, &[]);
    assert!(lines.iter().all(|line| asked(line)), "a token in a file is used");
}
