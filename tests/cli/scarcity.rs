//! Too few file descriptors, too little memory, no threads; stdin that is closed, binary or without end; arguments that
//! are no text. Each ends with an error in words, and never with a panic.

use crate::support::{Client, PROMPT, Stage, says};
use predicates::prelude::*;
use std::{
    ffi::OsStr,
    fs::File,
    os::unix::ffi::OsStrExt,
    process::{Command, Output, Stdio},
};

/// Runs a command of a client below limits of the shell, such as `-n 5`.
fn limited(client: &Client, limits: &str, redirect: &str, args: &[&str]) -> Output {
    let program = client.raw(args);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limits}; exec \"$@\" {redirect}"), "sh"]);
    shell.arg(program.get_program()).args(program.get_args()).env_clear();
    for (name, value) in program.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.stdin(Stdio::null()).env("RUST_BACKTRACE", "1").output().unwrap()
}

/// It ended by itself, and said so in words if it failed.
fn assert_clean(output: &Output, what: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    // Where descriptors are inherited, fewer are left: what the dynamic linker says then is before us too.
    if stderr.contains("error while loading shared libraries") {
        return;
    }
    let code = output.status.code().unwrap_or_else(|| panic!("{what}: killed: {output:?}"));
    assert!(!stderr.contains("panicked") && !stderr.contains("a bug of mcpctl"), "{what}: {stderr}");
    assert!(code == 0 || stderr.contains("error: "), "{what}: {code} without a word: {stderr}");
}

#[test]
fn g07_few_file_descriptors_are_an_error_in_words() {
    let stage = Stage::new();
    let mut worked = 0;
    // With three the dynamic linker cannot open its libraries: that is before us.
    for open in 4..24 {
        for args in [&["infer", "chat-prod", PROMPT][..], &["llm", "list"], &["providers", "status"]] {
            let output = limited(&stage.dana, &format!("ulimit -n {open}"), "", args);
            assert_clean(&output, &format!("{open} files, {args:?}"));
            worked += usize::from(output.status.success());
        }
    }
    assert!(worked > 0, "the limit was never high enough, so this shows nothing");
}

#[test]
fn g07_no_threads_are_an_error_in_words() {
    let stage = Stage::new();
    // Of this user there are more processes than that already; root is not bound by it.
    let output = limited(&stage.dana, "ulimit -u 1", "", &["infer", "chat-prod", PROMPT]);
    assert_clean(&output, "no threads");
    stage.assert_local_untouched();
}

#[test]
fn g07_little_memory_is_an_error_in_words_or_an_abort_and_never_an_answer_by_halves() {
    let stage = Stage::new();
    let mut worked = 0;
    for mebibytes in [64, 96, 128, 192, 256, 512] {
        let limits = format!("ulimit -v {}", mebibytes * 1024);
        let output = limited(&stage.dana, &limits, "", &["infer", "chat-prod", PROMPT]);
        // The allocator has no way to say no but an abort; whatever was written until then is no success.
        if output.status.code().is_some() {
            assert_clean(&output, &limits);
        }
        worked += usize::from(output.status.success());
        assert!(output.status.success() || output.stdout.is_empty(), "{limits}: {output:?}");
    }
    assert!(worked > 0, "the limit was never high enough, so this shows nothing");
    stage.assert_local_untouched();
}

#[test]
fn g09_a_closed_stdin_is_no_question() {
    let stage = Stage::new();
    for redirect in ["<&-", "</dev/null"] {
        let asked = limited(&stage.dana, ":", redirect, &["infer", "chat-prod", PROMPT]);
        assert_eq!(asked.status.code(), Some(0), "{redirect}: {asked:?}");
        let empty = limited(&stage.dana, ":", redirect, &["infer", "chat-prod"]);
        assert_eq!(empty.status.code(), Some(2), "{redirect}: {empty:?}");
        assert_clean(&empty, redirect);
        let login = limited(&stage.dana, ":", redirect, &["auth", "login", "--token-stdin"]);
        assert_eq!(login.status.code(), Some(2), "{redirect}: {login:?}");
    }
    assert_eq!(stage.upstream.requests(), 2);
}

#[test]
fn g09_a_stdin_that_is_no_text_or_has_no_end_is_refused_in_bounded_memory() {
    let stage = Stage::new();
    for args in [&["infer", "chat-prod"][..], &["apply", "-f", "-"], &["auth", "login", "--token-stdin"]] {
        let binary: Vec<u8> = (0..=255).collect();
        let refused = stage.dana.cmd(args).write_stdin(binary).assert().code(2).stdout("");
        refused.stderr(says("not UTF-8"));
        // Zeros without end: 1 GB would be the same, only sooner over.
        let mut endless = stage.dana.raw(args);
        let zeros = File::open("/dev/zero").unwrap();
        let output = endless.stdin(zeros).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("is larger than") || stderr.contains("no more than"), "{args:?}: {stderr}");
    }
    assert_eq!(stage.upstream.requests(), 0);
}

#[test]
fn g09_arguments_that_are_no_text_are_a_mistake_of_the_command_line() {
    let dana = Client::of("http://127.0.0.1:9", "mcpd_a_b");
    let odd = OsStr::from_bytes(b"\xff\xfe");
    for args in [
        &[OsStr::new("infer"), odd][..],
        &[OsStr::new("infer"), OsStr::new("chat-prod"), odd],
        &[OsStr::new("llm"), OsStr::new("get"), odd],
        &[odd],
        &[OsStr::new("--context"), odd, OsStr::new("llm"), OsStr::new("list")],
        &[OsStr::new("get"), OsStr::new("llm"), OsStr::new("--columns"), odd],
    ] {
        let no_panic = predicate::str::contains("panicked").not().and(predicate::str::starts_with("error: "));
        dana.cmd(args).assert().code(2).stdout("").stderr(no_panic);
    }
    let mut odd_file = dana.cmd([OsStr::new("apply"), OsStr::new("-f"), odd]);
    odd_file.assert().code(2).stderr(says("does not exist"));
}

#[test]
fn g09_the_language_of_the_terminal_changes_neither_bytes_nor_words() {
    let stage = Stage::new();
    stage.mcpd.create_llm("code", &stage.upstream.url());
    let outputs = ["C", "POSIX", "de_DE.UTF-8", "nonsense", ""].map(|language| {
        let mut command = stage.dana.cmd(["infer", "chat-prod", "Grüße, 世界"]);
        let output = command.env("LANG", language).env("LC_ALL", language).output().unwrap();
        (output.status.code(), output.stdout, output.stderr)
    });
    assert!(outputs.iter().all(|output| output == &outputs[0] && output.0 == Some(0)), "{outputs:?}");
    let said = &stage.upstream.bodies()[0]["messages"][0]["content"];
    assert_eq!(said, "Grüße, 世界");
}
