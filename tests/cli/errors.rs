//! Errors as somebody meets them at three in the morning: what is wrong, where, and what to do next. Never a secret,
//! never a backtrace.

use crate::support::{Client, Stage, says};
use predicates::prelude::*;
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};

const CANARY: &str = "sk-canary-7f3a";

fn config(client: &Client, text: &str) {
    // Makes the folder too.
    client.providers("providers: []\n");
    let path = client.home().join(".config/mcpctl/config.yaml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn stderr(client: &Client, args: &[&str], code: i32) -> String {
    let output = client.cmd(args).env_remove("MCPCTL_SERVER").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn c02_all_slips_of_a_file_are_told_at_once_with_their_lines() {
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers(
        "providers:\n  - name: a\n    type: openai\n    failoverfor: x\n    modle: y\n  - name: b\n    typ: openai\n",
    );
    let told = stderr(&dana, &["providers", "validate"], 2);
    assert_eq!(
        told,
        "error: unknown field `failoverfor`\n --> ~/.config/mcpctl/providers.yaml:4:5\n  |\n\
         3 |     type: openai\n4 |     failoverfor: x\n  |     ^^^^^^^^^^^ did you mean `failoverFor`?\n\n\
         error: unknown field `modle`\n --> ~/.config/mcpctl/providers.yaml:5:5\n  |\n\
         4 |     failoverfor: x\n5 |     modle: y\n  |     ^^^^^ did you mean `model`?\n\n\
         error: unknown field `typ`\n --> ~/.config/mcpctl/providers.yaml:7:5\n  |\n\
         6 |   - name: b\n7 |     typ: openai\n  |     ^^^ did you mean `type`?\n"
    );
}

#[test]
fn c02_the_config_has_a_snippet_like_the_provider_file() {
    let dana = Client::stranger("http://127.0.0.1:9");
    config(&dana, "currentcontext: prod\ncontexts:\n- name: prod\n  sever: https://a.example\n");
    for command in
        [&["config", "get-contexts"][..], &["llm", "list"], &["infer", "x", "hi"], &["auth", "status"]]
    {
        let told = stderr(&dana, command, 2);
        assert!(told.contains(" --> ~/.config/mcpctl/config.yaml:1:1\n"), "{told}");
        assert!(told.contains("  | ^^^^^^^^^^^^^^ did you mean `currentContext`?"), "{told}");
    }
    config(
        &dana,
        "contexts:\n- name: prod\n  sever: https://a.example\n- nme: b\n  server: https://b.example\n",
    );
    let told = stderr(&dana, &["config", "get-contexts"], 2);
    assert!(told.contains("did you mean `server`?") && told.contains("config.yaml:4:3"), "{told}");
}

#[test]
fn documents_of_several_files_lines_and_kinds_point_at_every_slip() {
    let dana = Client::of("http://127.0.0.1:9", "mcpd_a_b");
    let text = "# team\nkind: Llm\nname: x\ntype: openai\nurll: y\nmodle: z\n---\nkind: Rbac\nname: r\nsubjects: []\n\
                roleBindings:\n- role: viw\n  resource: llms\n---\nkind: user\nname: a\n";
    let output = dana.cmd(["apply", "-f", "-"]).write_stdin(text).assert().code(2).stdout("");
    let told = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    for (place, advice) in [
        ("5:1", "did you mean `url`?"),
        ("6:1", "did you mean `model`?"),
        ("12:9", "did you mean `view`?"),
        ("15:7", "did you mean User?"),
    ] {
        assert!(
            told.contains(&format!(" --> standard input:{place}\n")) && told.contains(advice),
            "{place}: {told}"
        );
    }
    assert_eq!(told.matches("error: ").count(), 4, "{told}");
}

#[test]
fn no_parser_speaks_its_own_language_to_people() {
    let dana = Client::stranger("http://127.0.0.1:9");
    let entry = "providers:\n  - name: a\n    type: openai\n    model: m\n    url: http://127.0.0.1:1/v1\n";
    for (text, place, words) in [
        ("providers: 5\n".into(), "1:12", "expected a list, and this is a number"),
        ("providers:\n  - a\n".into(), "2:5", "expected a mapping, and this is a text"),
        ("hello\n".into(), "1:1", "expected a mapping, and this is a text"),
        (format!("{entry}    remote: maybe\n"), "6:13", "expected true or false, and this is a text"),
        (
            format!("{entry}    port: -1\n"),
            "6:11",
            "expected a whole number from 0 to 65535, and this is another",
        ),
        (
            format!("{entry}    startTimeoutSeconds: 1.5\n"),
            "6:26",
            "expected a whole number, and this is a fraction",
        ),
        (
            format!("{entry}    failoverFor: {{ a: b }}\n"),
            "2:5",
            "`failoverFor` is a name or a list of names",
        ),
        (entry.replace("    model: m\n", ""), "2:5", "`model` is missing"),
        (format!("{entry}\tremote: true\n"), "6:1", "indent with spaces"),
        (format!("{entry}   remote: true\n"), "6:4", "keys of one mapping begin in one column"),
        (entry.replace("type: openai", "type openai"), "3:5", "a key without `: ` after it"),
        ("providers:\n  - name: 'a\n    type: x\n".into(), "2:11", "a quote that is not closed"),
        ("providers:\n  - { name: a, type: openai model: m }\n".into(), "2:34", "a `,` or a `}` is missing"),
        ("providers:\n  - name: @a\n".into(), "2:11", "put the value in quotes"),
        ("providers: [\n".into(), "1:1", "a bracket is not closed"),
    ] {
        dana.providers(&text);
        let told = stderr(&dana, &["providers", "validate"], 2);
        assert!(
            told.contains(&format!("providers.yaml:{place}\n")) && told.contains(words),
            "{text}\n{told}"
        );
        for jargon in
            ["invalid type", "struct", "sequence", "scalar", "u16", "u64", "boolean", "while parsing"]
        {
            assert!(!told.contains(jargon), "{text}\n{told}");
        }
    }
}

/// Whatever is wrong with a file, and whatever stands in it: what could be a secret is not shown.
#[test]
fn k03_no_snippet_of_any_file_shows_a_secret() {
    let dana = Client::stranger("http://127.0.0.1:9");
    for line in [
        format!("token: {CANARY}"),
        format!("contextToken: {CANARY}"),
        format!("remote: {CANARY}"),
        format!("tokenCommand: {CANARY}"),
        format!("tokenCommand: [pass, {CANARY}, ["),
        format!("insecureHttp: [{CANARY}, x]"),
        format!("caFile: {CANARY}\n  caFile: {CANARY}"),
    ] {
        config(
            &dana,
            &format!(
                "contexts:\n- name: prod\n  server: https://user:{CANARY}@a.example\n  {line}\n  x: 1\n"
            ),
        );
        let told = stderr(&dana, &["llm", "list"], 2);
        assert!(!told.contains(CANARY), "{line}: {told}");
    }
}

#[test]
fn a_snippet_is_painted_only_where_colours_are_wanted() {
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers("providers:\n  - nme: \"\u{202e}red\"\n");
    let told = |more: &[&str], env: &[(&str, &str)]| {
        let mut command = dana.cmd(["providers", "validate"].iter().chain(more));
        String::from_utf8(command.envs(env.iter().copied()).output().unwrap().stderr).unwrap()
    };
    for plain in [
        told(&[], &[]),
        told(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]),
        told(&[], &[("CLICOLOR_FORCE", "0")]),
    ] {
        assert!(!plain.contains(['\u{1b}', '\u{202e}']) && plain.contains("did you mean `name`?"), "{plain}");
    }
    for painted in [told(&["--color", "always"], &[]), told(&[], &[("CLICOLOR_FORCE", "1")])] {
        assert!(painted.contains("\u{1b}[") && !painted.contains('\u{202e}'), "{painted}");
    }
}

#[test]
fn a_program_gets_the_same_error_as_a_document() {
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers("providers:\n  - nme: a\n  - nam: b\n");
    let output =
        dana.cmd(["providers", "list", "-o", "json"]).assert().code(2).stderr(says("did you mean `name`?"));
    let document: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!((&document["kind"], &document["exitCode"]), (&"Error".into(), &2.into()));
    assert_eq!(
        document["message"],
        "providers.yaml:2:5: unknown field `nme`; providers.yaml:3:5: unknown field `nam`"
    );
}

/// A mistake on the command line is a document too, however documents were asked for.
#[test]
fn wrong_usage_is_a_document_where_documents_are_asked_for() {
    let dana = Client::stranger("http://127.0.0.1:9");
    for args in
        [&["-o", "json"][..], &["-ojson"], &["--output=json"], &["-o", "jsonl"], &["--output", "jsonl"]]
    {
        let output = dana.cmd(["llm", "lst"].iter().chain(args)).assert().code(2).stderr(says("'list'"));
        let document: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        assert_eq!((&document["kind"], &document["exitCode"]), (&"Error".into(), &2.into()), "{args:?}");
    }
    dana.cmd(["providers", "logs", "a", "--tail", "x"])
        .assert()
        .code(2)
        .stderr(says("give a number of lines"));
    dana.cmd(["llm", "lst"])
        .env("MCPCTL_OUTPUT", "json")
        .assert()
        .code(2)
        .stdout(says("\"kind\": \"Error\""));
    dana.cmd(["llm", "lst", "-o", "csv"]).env("MCPCTL_OUTPUT", "json").assert().code(2).stdout("");
}

#[test]
fn no_error_comes_with_a_backtrace() {
    let stage = Stage::new();
    let broken = Client::stranger("http://127.0.0.1:9");
    broken.providers("providers: [");
    for (client, args) in [
        (&broken, &["providers", "list"][..]),
        (&broken, &["llm", "list"]),
        (&stage.dana, &["apply", "-f", "/nowhere"]),
        (&stage.dana, &["get", "rbac/none"]),
        (&stage.dana, &["infer", "other", "hi"]),
        (&stage.dana, &["llm", "lst"]),
    ] {
        let run =
            client.cmd(args).env("RUST_BACKTRACE", "1").env("RUST_LIB_BACKTRACE", "1").assert().failure();
        let no_trace = says("backtrace").or(says("panicked")).or(says(".rs:")).or(says("0: ")).not();
        run.stderr(no_trace.and(predicate::str::starts_with("error: ")));
    }
}

#[test]
fn what_was_misspelt_is_named_with_what_was_meant() {
    let stage = Stage::new();
    let dana = &stage.dana;
    dana.cmd(["config", "set-context", "prod", "--server", "https://a.example"]).assert().code(0);
    for (args, code, meant) in [
        (&["infr", "x"][..], 2, "'infer'"),
        (&["llm", "lst"], 2, "'list'"),
        (&["infer", "chat-prod", "hi", "--max-token", "5"], 2, "'--max-tokens'"),
        (&["infer", "chat-prod", "hi", "--route", "locl"], 2, "'local'"),
        (&["llm", "list", "-o", "jsn"], 2, "'json'"),
        (&["llm", "list", "--columns", "modle"], 2, "did you mean MODEL?"),
        (&["providers", "get", "laptp"], 2, "did you mean \"laptop\"?"),
        (&["llm", "list", "--context", "prd"], 2, "did you mean \"prod\"?"),
        (&["get", "lm"], 2, "did you mean llm?"),
        (&["explain", "llm.modl"], 2, "did you mean model?"),
        (&["help", "exit-code"], 2, "did you mean exit-codes?"),
        (&["help", "failovr"], 2, "did you mean failover?"),
        (&["help", "exit-codes", "x"], 2, "the topic exit-codes has no \"x\""),
        (&["infer", "chat-prod", "hi", "--max-tokens", "-1"], 2, "-1 is not in 1.."),
        (&["infer", "chat-prod", "hi", "--timeout", "0s"], 2, "more than 0, or none"),
        (&["completion", "bsh"], 2, "'bash'"),
    ] {
        let mut command = dana.cmd(args);
        if args.contains(&"--context") {
            command.env_remove("MCPCTL_SERVER");
        }
        command.assert().code(code).stderr(says(meant));
    }
}

#[test]
fn whatever_cannot_reach_the_server_points_at_the_doctor() {
    let dana = Client::of("http://127.0.0.1:9", "mcpd_a_b");
    fs::write(dana.home().join("u.yaml"), "kind: User\nname: u\n").unwrap();
    for args in [
        &["llm", "list"][..],
        &["llm", "head", "chat-prod"],
        &["get", "all"],
        &["apply", "-f", "u.yaml"],
        &["diff", "-f", "u.yaml"],
        &["delete", "user", "u"],
        &["token", "list"],
        &["audit", "list"],
        &["auth", "whoami"],
        &["auth", "can-i", "view", "audit"],
        &["infer", "chat-prod", "hi"],
        &["infer", "chat-prod", "hi", "--route", "central"],
    ] {
        dana.cmd(args).current_dir(dana.home()).assert().failure().stderr(says("tip: mcpctl doctor"));
    }
}

/// The tip of a refusal is one command, and it asks what was refused.
#[test]
fn a_refusal_tips_the_one_question_that_was_refused() {
    let stage = Stage::new();
    for (args, tip) in [
        (&["audit", "list"][..], "view audit"),
        (&["get", "rbac", "dana-chat"], "view rbac/dana-chat"),
        (&["delete", "llm", "chat-prod"], "delete llm/chat-prod"),
        (&["token", "create", "--user", "a"], "create tokens"),
    ] {
        let told =
            stage.dana.cmd(args).assert().code(5).stderr(says(&format!("  tip: mcpctl auth can-i {tip}\n")));
        assert!(!String::from_utf8_lossy(&told.get_output().stderr).contains([';', '|']), "{args:?}");
        let asked: Vec<&str> = ["auth", "can-i"].into_iter().chain(tip.split(' ')).collect();
        stage.dana.cmd(asked).assert().code(3).stdout("no\n");
    }
}

#[test]
fn what_does_not_exist_is_told_with_what_was_meant() {
    let stage = Stage::new();
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    let absent = "does not exist on the server, or you may not see it\n";
    for (args, what, meant) in [
        (&["get", "llm", "chat-prd"][..], "llm/chat-prd", "did you mean llm/chat-prod?"),
        (&["llm", "get", "chat-prd"], "llm/chat-prd", "did you mean llm/chat-prod?"),
        (&["get", "rbac/dana-cht"], "rbac/dana-cht", "did you mean rbac/dana-chat?"),
        (
            &["delete", "user", "dana@example.co"],
            "user/dana@example.co",
            "did you mean user/dana@example.com?",
        ),
    ] {
        let told =
            boss.cmd(args).assert().code(9).stdout("").stderr(says(&format!("error: {what} {absent}")));
        told.stderr(says(meant));
    }
    boss.cmd(["token", "revoke", "0123456789abcdef"])
        .assert()
        .code(9)
        .stderr(says(&format!("error: token 0123456789abcdef {absent}")));
    boss.cmd(["llm", "head", "chat-prd"]).assert().code(9).stderr("note: did you mean \"chat-prod\"?\n");
    // Who may see nothing else hears no names of it.
    stage.dana.cmd(["get", "rbac", "dana-cht"]).assert().code(5).stderr(says("did you mean").not());
}

#[test]
fn a_full_disk_is_told_whatever_was_to_be_written() {
    let dana = Client::stranger("http://127.0.0.1:9");
    for args in
        [&["--help"][..], &["llm", "-h"], &["version"], &["help", "failover"], &["completion", "bash"]]
    {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = dana.raw(args).stdout(full).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        assert_eq!(told, "error: cannot write to standard output: No space left on device (os error 28)\n");
    }
}

#[test]
fn wrong_usage_and_findings_are_painted_like_everything_else() {
    let dana = Client::stranger("http://127.0.0.1:9");
    let red = "\u{1b}[31merror";
    for (more, env, is_red) in [
        (&["--color", "always"][..], &[][..], true),
        (&["--color=always"], &[("NO_COLOR", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&["--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
        (&[], &[], false),
    ] {
        let mut command = dana.cmd(["llm", "lst"].iter().chain(more));
        let told = String::from_utf8(command.envs(env.iter().copied()).output().unwrap().stderr).unwrap();
        assert_eq!(
            (told.contains(red), told.contains('\u{1b}')),
            (is_red, is_red),
            "{more:?} {env:?}: {told}"
        );
    }
    let wrong = "\u{1b}[31mwrong\u{1b}[0m ";
    dana.cmd(["doctor", "--color", "always"]).assert().code(3).stdout(says(wrong));
    dana.cmd(["doctor"]).assert().code(3).stdout(says("\u{1b}").not());
}
