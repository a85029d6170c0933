//! Files that are broken, too large, or not to be trusted: a clear error, and never an end of the primary path.

use crate::support::{Client, PROMPT, Stage, TEN_WORDS, provider, says};
use fakes::{Fault, Gate};
use predicates::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// `providers validate` exits 2 and says this, without a server, in no time.
fn invalid(text: &str, message: &str) {
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers(text);
    let started = Instant::now();
    dana.cmd(["providers", "validate"]).assert().code(2).stdout("").stderr(says(message));
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
}

#[test]
fn c01_an_alias_bomb_is_refused_at_once() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..30 {
        bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
    }
    invalid(&(bomb + "providers: *a29\n"), "anchors and aliases are not taken here");
}

#[test]
fn c02_a_typo_is_shown_with_its_line_and_what_was_meant() {
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers(
        &provider("laptop", "chat-prod", "http://127.0.0.1:1/v1", true).replace("failoverFor", "failoverfor"),
    );
    let shown = says("error: unknown field `failoverfor`")
        .and(says("providers.yaml:4:5"))
        .and(says("4 |     failoverfor: chat-prod"))
        .and(says("^^^^^^^^^^^ did you mean `failoverFor`?"));
    dana.cmd(["providers", "validate"]).assert().code(2).stdout("").stderr(shown);
    for command in [&["providers", "list"][..], &["providers", "failovers"], &["providers", "get", "laptop"]]
    {
        dana.cmd(command).assert().code(2).stdout("").stderr(says("did you mean `failoverFor`?"));
    }
}

#[test]
fn c02_duplicate_keys_and_second_documents_are_errors() {
    let entry = provider("laptop", "chat-prod", "http://127.0.0.1:1/v1", true);
    invalid(&(entry.clone() + "    model: other\n"), "duplicate key `model`");
    invalid(&(entry.clone() + "    env: { A: x, A: y }\n"), "duplicate key `A`");
    invalid(&format!("{entry}---\n{entry}"), "a second document");
}

#[test]
fn c03_huge_deep_and_oddly_encoded_files_are_errors_within_a_second() {
    invalid(&"# x\n".repeat(300_000), "larger than 1048576 bytes");
    invalid(&format!("providers: {}", "[".repeat(100_000)), "providers.yaml:1");
    invalid("providers:\n\t- name: a\n", "providers.yaml:2");
    invalid("x: &x {a: 1}\nproviders:\n  - <<: *x\n", "anchors and aliases");
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers("");
    let utf16: Vec<u8> = "\u{feff}providers: []\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(dana.providers_path(), utf16).unwrap();
    dana.cmd(["providers", "validate"]).assert().code(2).stderr(says("the file is not UTF-8"));
    dana.providers("\u{feff}providers: []\n");
    dana.cmd(["providers", "validate"]).assert().code(0).stdout(says("0 providers"));
}

#[test]
fn c03_a_file_of_a_hundred_megabytes_is_not_read() {
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers("");
    fs::File::options().write(true).open(dana.providers_path()).unwrap().set_len(100 << 20).unwrap();
    let started = Instant::now();
    dana.cmd(["providers", "validate"]).assert().code(2).stderr(says("larger than"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn c04_a_broken_provider_file_costs_a_warning_and_the_failover_never_the_answer() {
    let stage = Stage::new();
    for text in
        ["providers: [", "provider: []\n", "\u{0}", &provider("x", "Chat", "http://127.0.0.1:1/v1", true)]
    {
        stage.dana.providers(text);
        let warned =
            says("warning: ").and(says("failover is off until it is mended")).and(says("error").not());
        stage.dana.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(warned);
    }
    stage.upstream.stop();
    stage.dana.infer(&[]).code(7).stdout("").stderr(says("no failover: the provider file cannot be used"));
    stage.assert_local_untouched();
}

#[test]
fn c05_the_file_is_read_once_whatever_happens_to_it_during_a_run() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.upstream.set_fault(Fault::WaitAt(gate.clone()));
    let mut command = stage.dana.raw(["infer", "chat-prod", PROMPT, "--first-token-timeout", "60s"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    stage.upstream.wait_for_request(1, Duration::from_secs(30));
    // By the time the server fails, the file names nobody any more.
    stage.dana.providers("providers: []\n");
    stage.upstream.set_fault(Fault::Status(503, serde_json::json!({})));
    stage.upstream.stop();
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    stage.dana.infer(&[]).code(7).stderr(says("no provider declared"));
}

#[test]
fn k05_a_token_file_is_used_only_if_it_is_one_clean_line_of_ones_own() {
    let stage = Stage::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let refused = |message: &str| {
        let started = Instant::now();
        let named = ["llm", "list", "--token-file", path.to_str().unwrap()];
        stage.dana.cmd(named).assert().code(2).stdout("").stderr(says(message));
        assert!(started.elapsed() < Duration::from_secs(5), "it hung on {message}");
    };
    let write = |content: &[u8], mode| {
        let _ = fs::remove_file(&path);
        fs::write(&path, content).unwrap();
        chmod(&path, mode);
    };
    let token = stage.dana_token.as_bytes();
    refused("does not exist");
    for mode in [0o640, 0o604, 0o620, 0o666] {
        write(token, mode);
        refused("chmod 600");
    }
    for wrong in
        [[token, b"\r\n"].concat(), [token, b"\nx\n"].concat(), [token, b"\0"].concat(), vec![], vec![0xff]]
    {
        write(&wrong, 0o600);
        refused("must hold one line");
    }
    write(&[b'x'; 9000], 0o600);
    refused("larger than 8192 bytes");
    write(b"", 0o600);
    fs::File::options().write(true).open(&path).unwrap().set_len(100 << 20).unwrap();
    refused("larger than 8192 bytes");
    write(token, 0o600);
    let real = folder.path().join("real");
    fs::rename(&path, &real).unwrap();
    symlink(&real, &path).unwrap();
    refused("is not a regular file");
    fs::remove_file(&path).unwrap();
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    refused("is not a regular file");
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    refused("is not a regular file");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("is not a regular file");
    stage.dana.cmd(["llm", "list", "--token-file", real.to_str().unwrap()]).assert().code(0);
}

#[test]
fn k05_a_token_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: k05 with a second owner needs root, to make a file of another user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "mcpd_a_b").unwrap();
    chmod(&path, 0o600);
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.cmd(["llm", "list", "--token-file", path.to_str().unwrap()])
        .assert()
        .code(2)
        .stderr(says("belongs to another user (uid 12345)"));
}

#[test]
fn k06_a_provider_file_that_others_may_write_is_off_and_the_primary_goes_on() {
    let stage = Stage::new();
    let file = stage.dana.providers_path();
    let folder = file.parent().unwrap().to_owned();
    let above = folder.parent().unwrap().to_owned();
    for (path, bad, good) in
        [(&file, 0o620, 0o600), (&file, 0o602, 0o600), (&folder, 0o777, 0o700), (&above, 0o770, 0o700)]
    {
        chmod(path, bad);
        let chmod_hint = format!("chmod go-w {}", fs::canonicalize(path).unwrap().display());
        stage.dana.cmd(["providers", "validate"]).assert().code(2).stderr(says(&chmod_hint));
        stage.dana.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(says("failover is off"));
        chmod(path, good);
    }
    stage.dana.cmd(["providers", "validate"]).assert().code(0);
    chmod(&file, 0o622);
    stage.upstream.stop();
    stage.dana.infer(&[]).code(7);
    stage.assert_local_untouched();
}

#[test]
fn k06_a_link_in_a_folder_of_others_is_refused_like_the_file() {
    let dana = Client::stranger("http://127.0.0.1:9");
    dana.providers("providers: []\n");
    let shared = dana.home().join("shared");
    fs::create_dir(&shared).unwrap();
    let link = shared.join("providers.yaml");
    symlink(dana.providers_path(), &link).unwrap();
    let validate = || dana.cmd(["providers", "validate", "--providers", link.to_str().unwrap()]).assert();
    chmod(&shared, 0o755);
    validate().code(0);
    chmod(&shared, 0o777);
    validate().code(2).stderr(says("chmod go-w"));
}

#[test]
fn c03_long_keys_cost_neither_time_nor_the_answer() {
    let stage = Stage::new();
    let mut text = String::new();
    for depth in 0..28 {
        text += &format!("{}{}:\n", " ".repeat(depth), "k".repeat(1000));
    }
    for i in 0..60_000 {
        text += &format!("{}k{i}: 1\n", " ".repeat(28));
    }
    stage.dana.providers(&text[..text.len().min(1 << 20)]);
    let started = Instant::now();
    stage.dana.infer(&[]).code(0).stdout(format!("{TEN_WORDS}\n")).stderr(says("failover is off"));
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
}
