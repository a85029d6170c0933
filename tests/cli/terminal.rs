//! What is shown on a terminal, by its width and kind, and in a pipe.

use crate::support::{Client, LIMIT, Stage, says};
use fakes::Mcpd;
use predicates::prelude::*;
use rexpect::session::spawn_command;
use std::process::Command;

/// What a command shows on a terminal of so many columns, stdout and stderr together.
fn shown_on(client: &Client, term: &str, columns: u16, args: &[&str]) -> String {
    let program = client.raw(args);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("stty rows 24 cols {columns} && exec \"$@\""), "sh"]);
    shell.arg(program.get_program()).args(program.get_args());
    shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", term);
    for (name, value) in program.get_envs() {
        shell.env(name, value.unwrap());
    }
    let limit = u64::try_from(LIMIT.as_millis()).unwrap();
    let mut session = spawn_command(shell, Some(limit)).unwrap();
    // rexpect takes every byte for a character.
    let bytes = session.exp_eof().unwrap().chars().map(|c| u8::try_from(c).unwrap()).collect();
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

/// An administrator of two LLMs with long and wide words.
fn boss(mcpd: &Mcpd) -> Client {
    let boss = Client::of(&mcpd.url(), mcpd.admin_token());
    let llm = |name: &str, model: &str| {
        format!(
            "kind: Llm\nname: {name}\ntype: openai\nurl: https://models.example.com:8443/v1\nmodel: {model}\n"
        )
    };
    let documents = [llm("chat-prod", "a model with a long name"), llm("code", "模型三")].join("---\n");
    boss.cmd(["apply", "-f", "-"]).write_stdin(documents).assert().code(0);
    boss
}

#[test]
fn a_list_fits_the_terminal_and_breaks_no_word() {
    let mcpd = Mcpd::start();
    let boss = boss(&mcpd);
    let whole = "NAME       MODEL                     URL                                 ENABLED  FAILOVER\n\
                 chat-prod  a model with a long name  https://models.example.com:8443/v1  yes      allowed\n\
                 code       模型三                    https://models.example.com:8443/v1  yes      allowed\n";
    let at = |columns| shown_on(&boss, "xterm-256color", columns, &["get", "llm"]);
    boss.cmd(["get", "llm"]).assert().code(0).stdout(whole);
    assert_eq!(at(200), whole);
    let broken = at(80);
    assert!(broken.lines().all(|line| line.chars().count() <= 80) && broken.lines().count() > 3, "{broken}");
    assert!(broken.contains("https://models.example.com:8443/v1"), "{broken}");
    let blocks = "NAME      chat-prod\nMODEL     a model with a long name\nURL       https://models.example.com:8443/v1\n\
                  ENABLED   yes\nFAILOVER  allowed\n\nNAME      code\n";
    assert!(at(60).starts_with(blocks), "{}", at(60));
    assert_eq!(
        shown_on(&boss, "dumb", 60, &["get", "llm"]),
        whole,
        "a row is a line where lines are read aloud"
    );
}

#[test]
fn columns_are_chosen_for_people_and_for_scripts() {
    let stage = Stage::new();
    let list = |more: &[&str]| stage.dana.cmd(["llm", "list"].iter().chain(more)).assert();
    list(&["--columns", "model,NAME"]).code(0).stdout("MODEL  NAME\ntiny   chat-prod\n");
    list(&["--columns", "name,enabled", "--no-headers"]).code(0).stdout("chat-prod  yes\n");
    list(&["--columns", "local_provider", "-o", "csv"]).code(0).stdout("local_provider\nlaptop\n");
    list(&["--no-headers", "-o", "csv"]).code(0).stdout(predicate::str::starts_with("chat-prod,tiny,"));
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    let mut audit = boss.cmd(["audit", "list", "--columns", "event", "--no-headers", "-o", "csv"]);
    audit.assert().code(0).stdout(predicate::str::starts_with("change\n"));
}

/// The server is out of reach: whatever is told was told before it was asked.
#[test]
fn a_column_that_no_list_has_is_told_before_the_server_is_asked() {
    let dana = Client::of("http://127.0.0.1:9", "mcpd_a_b");
    for list in [
        &["llm", "list"][..],
        &["get", "llm"],
        &["get", "all"],
        &["audit", "list"],
        &["token", "list"],
        &["auth", "status"],
        &["config", "get-contexts"],
        &["providers", "list"],
        &["providers", "status"],
        &["providers", "failovers"],
        &["providers", "failovers", "--probe"],
    ] {
        let wrong = |more: &[&str]| dana.cmd(list.iter().chain(more)).assert().code(2).stdout("");
        wrong(&["--columns", "nam"])
            .stderr(says("error: there is no column \"nam\"").and(says("; there are: ")));
        wrong(&["--no-headers", "-o", "yaml"]).stderr(says("only tables and CSV have columns"));
        wrong(&["-o", "text"]).stderr(says("this command has no -o text"));
    }
    for other in [&["llm", "head", "x"][..], &["infer", "x", "hi"], &["version"]] {
        dana.cmd(other.iter().chain(&["--no-headers"])).assert().code(2).stderr(says("unexpected argument"));
    }
}
