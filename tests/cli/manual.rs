//! What the program says about itself: manual pages and help.

use crate::support::{Client, says};
use clap::CommandFactory as _;
use std::{collections::BTreeMap, fs, path::Path};

fn pages(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|it| (it.file_name().into_string().unwrap(), fs::read_to_string(it.path()).unwrap()))
        .collect()
}

#[test]
fn every_command_has_a_manual_page_and_it_is_the_same_every_time() {
    let nobody = Client::stranger("http://127.0.0.1:9");
    let (first, second) = (nobody.home().join("man/man1"), nobody.home().join("again"));
    for folder in [&first, &second] {
        nobody.cmd(["man", folder.to_str().unwrap()]).env("TERM", "dumb").env("LANG", "C").assert().code(0);
    }
    let pages = pages(&first);
    assert_eq!(pages, self::pages(&second));
    for name in ["mcpctl.1", "mcpctl-infer.1", "mcpctl-llm.1", "mcpctl-llm-head.1", "mcpctl-completion.1"] {
        let page = &pages[name];
        assert!(
            page.contains(".TH ") && page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"),
            "{name}"
        );
    }
    assert!(pages["mcpctl-infer.1"].contains("Capital of France?"), "the examples are missing");
    for (name, page) in &pages {
        let what = page.split(".SH NAME\n").nth(1).unwrap().lines().next().unwrap();
        assert!(what.len() < 160 && !what.contains(". "), "{name} is not told in a line: {what}");
        assert!(!page.contains(".SH EXTRA"), "{name}");
    }
    for title in [".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", ".SH FILES"] {
        assert!(pages["mcpctl.1"].contains(title), "{title}");
    }
    assert!(pages["mcpctl-infer.1"].contains("mcpctl infer"), "no synopsis");
    let home = nobody.home().to_str().unwrap();
    assert!(pages.values().all(|page| !page.contains(home)), "a page knows the machine it was made on");
    nobody.cmd(["man", "/dev/null/x"]).assert().code(2).stderr(says("error: cannot write to /dev/null/x"));
}

/// Every command that does something, as it is typed.
fn commands() -> Vec<String> {
    fn walk(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
            let path = format!("{path} {}", one.get_name()).trim_start().to_owned();
            if one.has_subcommands() { walk(one, &path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(&mcpctl::cmd::Cli::command(), "", &mut found);
    assert!(found.len() > 30, "{found:?}");
    found
}

fn help(command: &str) -> String {
    let nobody = Client::stranger("http://127.0.0.1:9");
    let output = nobody.cmd(command.split(' ').chain(["--help"])).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{command}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_help_of_every_command_has_two_examples() {
    let lacks: Vec<String> = commands()
        .into_iter()
        .filter(|command| {
            let help = help(command);
            let examples = help.split_once("Examples:\n").map_or("", |(_, examples)| examples);
            let examples = examples.lines().take_while(|line| line.starts_with("  "));
            examples.filter(|line| line.contains("mcpctl ")).count() < 2
        })
        .collect();
    assert!(lacks.is_empty(), "no two examples: {lacks:#?}");
}

/// What the help of a command offers it takes, and it offers no more: the server that is asked here does not exist, so
/// that a wrong format is all that can be a mistake of the command line.
#[test]
fn the_help_of_every_command_offers_the_formats_that_it_takes() {
    let arguments = |command: &str| match command {
        "infer" => "infer chat-prod hi".to_owned(),
        "llm get" | "llm head" => format!("{command} chat-prod"),
        "providers get" => "providers get laptop".into(),
        "get" => "get llm".into(),
        "apply" | "diff" | "delete" => format!("{command} -f -"),
        "token create" => "token create --user dana".into(),
        "auth can-i" => "auth can-i run llms".into(),
        other => other.to_owned(),
    };
    let mut offering = 0;
    for command in commands() {
        let help = help(&command);
        assert!(!help.contains("- csv:"), "{command} lists all formats there are");
        let offered =
            help.split_once("How the answer is shown: ").map(|(_, rest)| rest.lines().next().unwrap());
        let Some(offered) = offered else { continue };
        offering += 1;
        for format in ["text", "table", "wide", "json", "yaml", "jsonl", "name", "csv", "raw"] {
            let nobody = Client::of("http://127.0.0.1:9", "mcpd_a_b");
            nobody.failover("chat-prod", "http://127.0.0.1:9/v1");
            let words = arguments(&command);
            let mut run = nobody.cmd(words.split(' ').chain(["-o", format]));
            let output = run.write_stdin("kind: User\nname: a\n").output().unwrap();
            let refused = String::from_utf8_lossy(&output.stderr).contains("this command has no -o");
            let is_offered = offered.split(", ").any(|one| one == format);
            assert_eq!(refused, !is_offered, "{command} -o {format}: {output:?}");
        }
    }
    assert!(offering > 20, "{offering}");
}

#[test]
fn every_topic_is_named_where_people_look_for_it() {
    let nobody = Client::stranger("http://127.0.0.1:9");
    for topic in ["exit-codes", "environment", "failover", "credentials", "output", "providers", "scripts"] {
        nobody.cmd(["--help"]).assert().code(0).stdout(says(topic));
        nobody.cmd(["help", "--help"]).assert().code(0).stdout(says(topic));
    }
    nobody.cmd(["help", "scripts"]).assert().code(0).stdout(says("mcpctl diff -f team/ || [ $? = 3 ]"));
}
