//! The program as an operator sees it: what it prints, what it refuses, and how it exits.

use crate::cases::{error_of, sql, with_database};
use fakes::Mcpd;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// Runs `mcpd` and waits for its end.
fn run(data_dir: &PathBuf, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcpd"));
    command.args(args).env_clear().env("MCPD_DATA_DIR", data_dir).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_second_process_is_told_who_has_the_database() {
    let mcpd = Mcpd::builder().sqlite().start();
    for args in [&["bootstrap", "--admin", "eve"][..], &["migrate"], &["serve", "--listen", "127.0.0.1:0"]] {
        let refused = run(&mcpd.data_dir(), args);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{args:?}");
        assert!(stderr(&refused).contains("is running on"), "{args:?}: {}", stderr(&refused));
    }
    let beside = run(&mcpd.data_dir(), &["check"]);
    assert!(beside.status.success(), "{}", stderr(&beside));
}

#[test]
fn bootstrap_prints_the_token_and_only_it_and_only_once() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let first = run(&dir, &["bootstrap", "--admin", "ana"]);
    assert!(first.status.success(), "{}", stderr(&first));
    let text = String::from_utf8(first.stdout).unwrap();
    assert_eq!((text.lines().count(), text.trim_end().len()), (1, 5 + 16 + 1 + 64));
    let second = run(&dir, &["bootstrap", "--admin", "ana"]);
    assert!(!second.status.success() && second.stdout.is_empty());
    assert!(stderr(&second).contains("mcpctl token create"), "{}", stderr(&second));
}

#[test]
fn the_server_prints_one_line_and_all_else_is_json_on_stderr() {
    let mut mcpd = Mcpd::start();
    mcpd.request("GET", "/nope\"}{", None, &[], b"");
    mcpd.stop();
    let logs = mcpd.logs();
    let (json, plain): (Vec<_>, Vec<_>) =
        logs.lines().partition(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    assert_eq!(plain, [format!("mcpd listening on {}", mcpd.url())]);
    assert!(!json.is_empty());
}

#[test]
fn d06_a_database_of_a_newer_mcpd_is_left_alone() {
    let mut mcpd = Mcpd::start();
    mcpd.stop();
    sql(
        &mcpd,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    );
    let refused = mcpd.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(!refused.status.success() && refused.stdout.is_empty());
    assert!(stderr(&refused).contains("newer mcpd"), "{}", stderr(&refused));
    let check = mcpd.run(&["check"]);
    assert_eq!(check.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&check.stdout).contains("BAD the database was written by a newer mcpd"));
}

#[test]
fn d02_a_damaged_database_is_not_served() {
    let mut mcpd = Mcpd::builder().sqlite().start();
    mcpd.stop();
    let file = mcpd.data_dir().join("mcpd.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[..16].fill(b'x');
    fs::write(&file, bytes).unwrap();
    assert!(!run(&mcpd.data_dir(), &["serve", "--listen", "127.0.0.1:0"]).status.success());
    assert!(!run(&mcpd.data_dir(), &["check"]).status.success());
}

#[test]
fn d05_check_names_the_linked_sqlite() {
    let mcpd = Mcpd::builder().sqlite().start();
    let check = run(&mcpd.data_dir(), &["check"]);
    let found = String::from_utf8(check.stdout).unwrap();
    assert!(found.starts_with("ok  SQLite 3."), "{found}");
    assert!(found.contains("ok  schema") && found.contains("ok  integrity"), "{found}");
}

#[test]
fn k01_a_password_of_the_database_is_no_argument() {
    let home = tempfile::tempdir().unwrap();
    let refused = run(&home.path().to_owned(), &["serve", "--database", "postgres://mcpd:canary@db/mcpd"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("MCPD_DATABASE"), "{}", stderr(&refused));
    assert!(!stderr(&refused).contains("canary"));
}

#[test]
fn d01_a_database_that_somebody_else_has_locked_stops_writes_and_nothing_else() {
    let mcpd = Mcpd::builder().sqlite().start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let user = serde_json::json!({"kind": "User", "name": "dana"});
    with_database(&mcpd, "BEGIN EXCLUSIVE", || {
        let write = mcpd.api("POST", mcp_api::paths::SUBJECTS, mcpd.admin_token(), &user);
        assert_eq!(error_of(&write), (503, "database_unavailable".into(), "gateway".into()));
        assert!(write.header("retry-after").is_some());
        assert_eq!(crate::cases::probe(&mcpd, crate::cases::CHAT, mcpd.admin_token()).status, 200);
        assert_eq!(mcpd.request("GET", "/readyz", None, &[], b"").status, 200);
    });
    assert_eq!(mcpd.api("POST", mcp_api::paths::SUBJECTS, mcpd.admin_token(), &user).status, 201);
}

#[test]
fn a_log_that_cannot_be_written_is_no_outage() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    assert!(run(&dir, &["bootstrap", "--admin", "ana"]).status.success());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcpd"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).env_clear().env("MCPD_DATA_DIR", &dir);
    let mut mcpd = command.stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(mcpd.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let served = line.trim_end().rsplit("http://").next().map(|addr| {
        let answers = (0..3).map(|_| {
            let mut stream = TcpStream::connect(addr)?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        answers.collect::<Result<Vec<_>, _>>()
    });
    mcpd.kill().unwrap();
    mcpd.wait().unwrap();
    let answers = served.unwrap().unwrap();
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200")), "{answers:?}");
}

#[test]
fn who_has_the_file_gets_back_in_when_the_last_token_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    assert!(run(&dir, &["bootstrap", "--admin", "ana"]).status.success());
    let refused = run(&dir, &["bootstrap", "--admin", "ana"]);
    assert!(!refused.status.success() && stderr(&refused).contains("--recover"), "{}", stderr(&refused));
    for name in ["ana", "ben"] {
        let recovered = run(&dir, &["bootstrap", "--admin", name, "--recover"]);
        assert!(recovered.status.success(), "{}", stderr(&recovered));
        assert!(recovered.stdout.starts_with(b"mcpd_"));
    }
    assert!(run(&dir, &["check"]).status.success());
}
