//! An empty cluster, made once and then copied: making one takes a second, a copy a tenth of it.

use super::programs::Programs;
use crate::program;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Mutex,
};
use tempfile::TempDir;

/// Moves whenever what is made here does.
const EDITION: u32 = 1;
/// Only its own user can reach the socket, so nothing is asked there; over TCP the password is.
const WHO_MAY_COME: &str =
    "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
const ROLE: &str = "CREATE ROLE mcpd LOGIN\n";
const DATABASE: &str = "CREATE DATABASE mcpd OWNER mcpd\n";

/// Puts a copy of the empty cluster at `data`, which does not exist yet.
pub(super) fn copy(programs: &Programs, data: &Path) {
    copy_folder(&template(programs), data);
}

/// The template in the build folder, after it was made.
fn template(programs: &Programs) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let user = programs.user().map_or_else(|| "self".to_owned(), |user| user.to_string());
    let version: String =
        programs.version().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folder = program::build_folder().join("fakes-postgres");
    let template = folder.join(format!("{version}-{user}-{EDITION}"));
    let _made_once = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !template.is_dir() {
        fs::create_dir_all(&folder).expect("the build folder is writable");
        make(programs, &folder, &template);
    }
    template
}

/// Makes it beside its place and gives it the name when it is whole. Of several processes the first one wins.
fn make(programs: &Programs, folder: &Path, template: &Path) {
    let made = programs.folder();
    let data = made.path().join("data");
    let mut initdb = programs.command("initdb", made.path());
    initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    succeed(&initdb.arg("--wal-segsize=1").arg("--pgdata").arg(&data).output().expect("initdb can be run"));
    fs::write(data.join("pg_hba.conf"), WHO_MAY_COME).expect("the cluster is ours");
    for statement in [ROLE, DATABASE] {
        single_user(programs, &data, statement);
    }
    let beside = TempDir::new_in(folder).expect("the build folder is writable");
    copy_folder(&data, &beside.path().join("data"));
    if let Err(error) = fs::rename(beside.path().join("data"), template) {
        assert!(template.is_dir(), "{}: {error}", template.display());
    }
}

/// One statement without starting a server. It says what it does on stdout and fails by its exit code only if it
/// cannot begin.
fn single_user(programs: &Programs, data: &Path, statement: &str) {
    let dir = data.parent().expect("it stands in a folder");
    let mut command = programs.command("postgres", dir);
    command.args(["--single", "-F", "-j", "-c", "exit_on_error=on", "-D"]).arg(data).arg("postgres");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("postgres can be run");
    // With `-j` a statement ends with a semicolon and two new lines.
    let whole = format!("{};\n\n", statement.trim());
    child.stdin.take().expect("it is piped").write_all(whole.as_bytes()).expect("postgres reads");
    succeed(&child.wait_with_output().expect("the child is ours"));
}

/// A copy with its owners, modes and times.
fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--reflink=auto", "--"]).arg(from).arg(to).output();
    succeed(&copied.expect("cp can be run"));
}

fn succeed(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}
