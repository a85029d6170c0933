//! `audit list` and `audit verify`, against a trail that somebody with the database in hand has changed.

use crate::support::{Client, PROMPT, Stage, says};
use fakes::{Canary, Mcpd};
use mcp_api::{AuditEntry, audit::GENESIS, paths};
use predicates::prelude::*;
use serde_json::{Value, json};
use sqlx::Connection;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::Stdio,
};

/// A server with a trail, and a person who may read it.
struct Archive {
    mcpd: Mcpd,
    auditor: Client,
}

const ENTRIES: u64 = 12;

impl Archive {
    fn new() -> Self {
        let mcpd = Mcpd::start();
        let token = mcpd.user_with("auditor", &[("view", "audit", None)]);
        mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
        mcpd.create_user("dana");
        for _ in 0..4 {
            let _token = mcpd.token_for("dana");
        }
        let auditor = Client::of(&mcpd.url(), &token);
        let archive = Self { mcpd, auditor };
        assert_eq!(archive.entries().len() as u64, ENTRIES);
        archive
    }

    /// Does what no statement of the program does.
    fn sql(&self, statements: &[String]) {
        sqlx::any::install_default_drivers();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut connection =
                sqlx::AnyConnection::connect(&self.mcpd.database_url()).await.expect("it opens");
            for statement in statements {
                let statement = sqlx::AssertSqlSafe(statement.clone());
                sqlx::query(statement).execute(&mut connection).await.expect("it is SQL");
            }
            connection.close().await.expect("it closes");
        });
    }

    fn entries(&self) -> Vec<AuditEntry> {
        let output = self.auditor.cmd(["audit", "list", "-o", "jsonl"]).output().expect("it ran");
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).expect("text");
        lines.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
    }

    fn verify(&self, more: &[&str]) -> assert_cmd::assert::Assert {
        self.auditor.cmd(["audit", "verify"].iter().chain(more)).assert()
    }

    /// Changes the trail, has it checked by `look`, and puts everything back.
    fn tampered(&self, statements: &[String], look: impl FnOnce()) {
        let tables = ["audit", "audit_head"];
        self.sql(&tables.map(|table| format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}")));
        self.sql(statements);
        look();
        for table in tables {
            self.sql(&[
                format!("DELETE FROM {table}"),
                format!("INSERT INTO {table} SELECT * FROM kept_{table}"),
                format!("DROP TABLE kept_{table}"),
            ]);
        }
        self.verify(&[]).code(0);
    }
}

fn texts<const N: usize>(statements: [&str; N]) -> [String; N] {
    statements.map(str::to_owned)
}

#[test]
fn d12_an_entry_that_was_edited_is_found_whichever_field_it_is() {
    let archive = Archive::new();
    archive.verify(&[]).code(0).stdout(says("The audit trail is sound: 12 entries.").and(says("head 12:")));
    for column in [
        "event",
        "subject_kind",
        "subject_name",
        "token_id",
        "verb",
        "object",
        "llm",
        "llm_id",
        "verdict",
        "binding",
        "request_id",
        "detail",
        "prev",
        "hash",
    ] {
        let edit = format!("UPDATE audit SET {column} = 'another' WHERE seq = 5");
        archive.tampered(&[edit], || {
            archive.verify(&[]).code(3).stdout(says("  entry 5 was changed"));
        });
    }
    archive.tampered(&texts(["UPDATE audit SET at = at + 1 WHERE seq = 5"]), || {
        archive.verify(&[]).code(3).stdout(says("  entry 5 was changed"));
    });
}

#[test]
fn d12_an_entry_that_was_removed_added_or_exchanged_is_found() {
    let archive = Archive::new();
    archive.tampered(&texts(["DELETE FROM audit WHERE seq = 5"]), || {
        archive.verify(&[]).code(3).stdout(says("  entry 5 is missing\n"));
    });
    archive.tampered(&texts(["DELETE FROM audit WHERE seq IN (5, 6)"]), || {
        archive.verify(&[]).code(3).stdout(says("  entries 5 to 6 are missing\n"));
    });
    archive.tampered(&texts(["DELETE FROM audit WHERE seq = 1"]), || {
        archive.verify(&[]).code(3).stdout(says("  entry 1 is missing\n"));
    });
    let exchange = [
        "UPDATE audit SET seq = 99 WHERE seq = 5",
        "UPDATE audit SET seq = 5 WHERE seq = 6",
        "UPDATE audit SET seq = 6 WHERE seq = 99",
    ];
    archive.tampered(&texts(exchange), || {
        archive.verify(&[]).code(3).stdout(says("entry 5 was changed").and(says("entry 6 was changed")));
    });
    // One that is right in itself, at the end, where no hash of a later one is in the way.
    let last = archive.entries().pop().expect("an entry");
    let mut added = AuditEntry { seq: last.seq + 1, prev: last.hash.clone(), ..last };
    added.hash = added.computed();
    let add = format!(
        "INSERT INTO audit SELECT {seq}, at, event, subject_kind, subject_name, token_id, verb, object, llm, llm_id, \
         verdict, binding, request_id, detail, '{prev}', '{hash}' FROM audit WHERE seq = {last}",
        seq = added.seq,
        prev = added.prev,
        hash = added.hash,
        last = added.seq - 1,
    );
    archive.tampered(&[add], || {
        archive.verify(&[]).code(3).stdout(says("something was added by hand"));
    });
}

#[test]
fn d12_a_tail_that_was_cut_off_is_found_by_who_has_seen_it() {
    let archive = Archive::new();
    let head = archive.entries().pop().expect("an entry").head().to_string();
    let cut = "DELETE FROM audit WHERE seq > 8";
    archive.tampered(&texts([cut]), || {
        archive.verify(&[]).code(3).stdout(says("the trail ends with entry 8, but entry 12 was there"));
    });
    let hidden = "UPDATE audit_head SET seq = 8, hash = (SELECT hash FROM audit WHERE seq = 8)";
    let newcomer = Client::of(&archive.mcpd.url(), archive.mcpd.admin_token());
    archive.tampered(&texts([cut, hidden]), || {
        // This machine has seen more.
        archive.verify(&[]).code(3).stdout(says("the trail ends with entry 8, but entry 12 was there"));
        // Another one has not, unless it was told.
        newcomer.cmd(["audit", "verify", "--head", &head]).assert().code(3).stdout(says("cut off"));
        newcomer.cmd(["audit", "verify"]).assert().code(0).stdout(says("sound: 8 entries"));
    });
}

/// The end of the trail that this machine remembers.
fn remembered(auditor: &Client) -> std::path::PathBuf {
    let folder = auditor.home().join(".local/state/mcpctl/v1/audit-heads");
    let mut files = fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    files.next().expect("an end")
}

#[test]
fn d12_what_was_seen_is_not_forgotten_because_it_is_gone() {
    let archive = Archive::new();
    archive.verify(&[]).code(0);
    let file = remembered(&archive.auditor);
    let seen = fs::read_to_string(&file).expect("an end");
    let hidden = "UPDATE audit_head SET seq = 8, hash = (SELECT hash FROM audit WHERE seq = 8)";
    archive.sql(&texts(["DELETE FROM audit WHERE seq > 8", hidden]));
    for _ in 0..2 {
        archive.verify(&[]).code(3).stdout(says("entry 12 was there")).stderr(says("--forget"));
        assert_eq!(fs::read_to_string(&file).expect("an end"), seen);
    }
    // What cannot be read was not nothing either.
    fs::write(&file, "?").expect("the file");
    archive.verify(&[]).code(2).stdout("").stderr(says("does not hold the end of a trail"));
    assert_eq!(fs::read_to_string(&file).expect("an end"), "?");
    fs::write(&file, &seen).expect("the file");
    // A trail with a flaw is not accepted, whatever is to be forgotten.
    archive.sql(&texts(["UPDATE audit SET verb = 'view' WHERE seq = 5"]));
    archive.verify(&["--forget"]).code(3);
    assert_eq!(fs::read_to_string(&file).expect("an end"), seen);
    archive.sql(&texts(["DELETE FROM audit WHERE seq > 4"]));
    archive.sql(&[hidden.replace('8', "4")]);
    archive.verify(&[]).code(3);
    archive.verify(&["--forget"]).code(0).stdout(says("sound: 4 entries"));
    archive.verify(&[]).code(0);
    assert!(fs::read_to_string(&file).expect("an end").starts_with("4:"));
}

/// The chain as somebody would write it who can write the whole database.
fn written_anew(archive: &Archive) -> Vec<String> {
    let mut prev = GENESIS.to_owned();
    let mut statements = Vec::new();
    for mut entry in archive.entries() {
        if entry.seq == 5 {
            entry.object = Some("Llm/planted".into());
        }
        entry.prev.clone_from(&prev);
        entry.hash = entry.computed();
        prev.clone_from(&entry.hash);
        let AuditEntry { seq, object, prev, hash, .. } = &entry;
        let object = object.as_deref().unwrap_or_default();
        statements.push(format!(
            "UPDATE audit SET object = '{object}', prev = '{prev}', hash = '{hash}' WHERE seq = {seq}"
        ));
        statements.push(format!("UPDATE audit_head SET hash = '{hash}'"));
    }
    statements
}

#[test]
fn d12_a_trail_that_was_written_anew_is_found_by_who_has_seen_it() {
    let archive = Archive::new();
    let head = archive.entries().pop().expect("an entry").head().to_string();
    archive.verify(&[]).code(0);
    let newcomer = Client::of(&archive.mcpd.url(), archive.mcpd.admin_token());
    archive.tampered(&written_anew(&archive), || {
        archive.verify(&[]).code(3).stdout(says("entry 12 is not the one that was there"));
        newcomer.cmd(["audit", "verify", "--head", &head]).assert().code(3).stdout(says("written anew"));
        let document =
            newcomer.cmd(["audit", "verify", "-o", "json", "--head", &head]).output().expect("it ran");
        let document: Value = serde_json::from_slice(&document.stdout).expect("a document");
        assert_eq!((&document["kind"], &document["sound"]), (&json!("AuditVerification"), &json!(false)));
        assert_eq!(document["flaws"].as_array().map(Vec::len), Some(1));
    });
    // Nothing of that is remembered: what is sound goes on.
    let _more = archive.mcpd.token_for("dana");
    archive.verify(&["--head", &head]).code(0).stdout(says("13 entries"));
}

#[test]
fn d12_an_exported_trail_is_checked_without_a_server() {
    let mut archive = Archive::new();
    let output = archive.auditor.cmd(["audit", "list", "-o", "jsonl"]).output().expect("it ran");
    let whole = String::from_utf8(output.stdout).expect("text");
    let head = archive.entries().pop().expect("an entry").head().to_string();
    archive.mcpd.stop();
    let path = archive.auditor.home().join("audit.jsonl");
    let check = |lines: &[&str], more: &[&str]| {
        fs::write(&path, lines.join("\n") + "\n").expect("the file");
        let file = path.to_str().expect("text");
        archive.auditor.cmd(["audit", "verify", "--file", file].iter().chain(more)).assert()
    };
    let lines: Vec<&str> = whole.lines().collect();
    check(&lines, &["--head", &head]).code(0).stdout(says(&format!("12 entries.\nhead {head}\n")));
    let edited = lines[4].replace("admin", "eve");
    check(&[&lines[..4], &[&edited], &lines[5..]].concat(), &[]).code(3).stdout(says("entry 5 was changed"));
    check(&[&lines[..4], &lines[5..]].concat(), &[]).code(3).stdout(says("entry 5 is missing"));
    let swapped = [&lines[..4], &[lines[5], lines[4]], &lines[6..]].concat();
    check(&swapped, &[]).code(3).stdout(says("entry 5 is out of order"));
    check(&lines[..8], &[]).code(0);
    check(&lines[..8], &["--head", &head]).code(3).stdout(says("cut off"));
    let part = says("This part of the audit trail is sound: entries 5 to 12.\n");
    check(&lines[4..], &["--head", &head]).code(0).stderr(says("begins with entry 5")).stdout(part);
    check(&[&lines[4..6], &lines[8..]].concat(), &[]).code(3).stdout(says("entries 7 to 8 are missing"));
    fs::write(&path, "").expect("the file");
    let file = path.to_str().expect("text");
    archive.auditor.cmd(["audit", "verify", "--file", file]).assert().code(2).stderr(says("holds no entry"));
    let piped = |text: &str| {
        let mut command = archive.auditor.cmd(["audit", "verify", "--file", "-"]);
        command.write_stdin(text).assert()
    };
    piped(&whole).code(0).stdout(says("sound: 12 entries."));
    piped("").code(2).stderr(says("stdin: it holds no entry"));
    check(&["{}"], &[]).code(2).stderr(says("line 1 is no audit entry"));
    check(&lines, &["--head", "12"]).code(2).stderr(says("expected SEQ:HASH"));
}

/// More entries than one page holds.
fn many_reports(mcpd: &Mcpd, token: &str) {
    for batch in 0..12 {
        let report = |number: u32| {
            let id = batch * 100 + number;
            json!({
                "id": format!("{id:032x}"), "at": "2026-01-02T03:04:05.678Z", "llm": "chat", "reason": "refused",
                "provider": "laptop", "providerType": "openai", "model": "=cmd|'/c calc'!A1", "outcome": "complete",
                "durationMs": 1234, "requestId": format!("r-{id}"),
            })
        };
        let body = json!({ "reports": (0..100).map(report).collect::<Vec<_>>() });
        let answer = mcpd.api("POST", paths::FAILOVER_REPORTS, token, &body);
        let _taken = answer.expect_success("reports");
    }
}

#[test]
fn a_long_trail_is_read_page_by_page_and_can_be_left() {
    let archive = Archive::new();
    let dana = archive.mcpd.token_for("dana");
    many_reports(&archive.mcpd, &dana);
    archive.verify(&[]).code(0).stdout(says("sound: 1213 entries"));
    let listed = |args: &[&str]| {
        let output = archive.auditor.cmd(["audit", "list"].iter().chain(args)).output().expect("it ran");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(listed(&["-o", "name"]).lines().count(), 1213);
    assert_eq!(listed(&["--failovers", "-o", "jsonl"]).lines().count(), 1200);
    assert_eq!(listed(&["--user", "dana", "--event", "failover"]).lines().count(), 1201);
    assert_eq!(listed(&["--until", "2026-01-01T00:00:00Z", "-o", "jsonl"]), "");
    assert_eq!(listed(&["--since", "1h", "--llm", "chat", "-o", "name"]).lines().count(), 1201);
    let document: Value = serde_json::from_str(&listed(&["-o", "json"])).expect("a document");
    assert_eq!(
        (&document["kind"], document["items"].as_array().map(Vec::len)),
        (&json!("AuditList"), Some(1213))
    );

    let csv = listed(&["--failovers", "-o", "csv"]);
    assert_eq!(csv.lines().count(), 1201, "one line of titles, over all pages");
    assert!(
        csv.starts_with("time,who,llm,reason,provider,outcome,took,type,model,reported,seq,request\n"),
        "{csv}"
    );
    let row = csv.lines().nth(1).expect("a row");
    assert!(
        row.starts_with("2026-01-02T03:04:05.678Z,dana,chat,refused,laptop,complete,1234,openai,"),
        "{row}"
    );
    assert!(csv.lines().skip(1).all(|row| row.contains(",'=cmd|'/c calc'!A1,")), "a formula");
    let table = listed(&["--failovers"]);
    assert!(
        table.contains("2026-01-02T03:04:05Z  dana  chat  connection refused  laptop    ok\n"),
        "{table}"
    );

    for format in ["jsonl", "csv", "table"] {
        let mut command = archive.auditor.raw(["audit", "list", "-o", format]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdout.read_line(&mut String::new()).expect("a line");
        drop(stdout);
        let mut told = String::new();
        child.stderr.take().expect("it is piped").read_to_string(&mut told).expect("text");
        assert_eq!((child.wait().expect("it ends").code(), told.as_str()), (Some(141), ""), "{format}");
    }
}

#[test]
fn a09_who_may_not_view_the_trail_is_told_so_and_by_whom_to_be_asked() {
    let archive = Archive::new();
    let dana = Client::of(&archive.mcpd.url(), &archive.mcpd.token_for("dana"));
    for args in [&["audit", "list"][..], &["audit", "verify"], &["audit", "list", "--failovers"]] {
        dana.cmd(args).assert().code(5).stdout("").stderr(says("403").and(says("can-i")));
    }
    archive.auditor.cmd(["auth", "can-i", "view", "audit"]).assert().code(0);
    archive.auditor.cmd(["audit", "list", "--event", "all"]).assert().code(2);
    archive.auditor.cmd(["audit", "list", "--since", "yesterday"]).assert().code(2).stderr(says("24h, 7d"));
}

#[test]
fn k09_neither_the_trail_nor_what_is_made_of_it_holds_a_secret() {
    let stage = Stage::new();
    let mut canary = Canary::new();
    canary.watch("dana's token", &stage.dana_token);
    canary.watch("the administrator's token", stage.mcpd.admin_token());
    canary.watch("the prompt", PROMPT);
    stage.dana.infer(&[]).code(0);
    stage.upstream.stop();
    stage.dana.infer(&[]).code(0);
    let boss = Client::of(&stage.mcpd.url(), stage.mcpd.admin_token());
    let mut seen = Vec::new();
    for format in ["table", "wide", "json", "yaml", "jsonl", "csv", "name"] {
        for view in
            [&["audit", "list", "-v", "-o", format][..], &["audit", "list", "--failovers", "-o", format]]
        {
            let output = boss.cmd(view).output().expect("it ran");
            assert!(output.status.success(), "{output:?}");
            seen.write_all(&[output.stdout, output.stderr].concat()).expect("memory");
        }
    }
    assert!(predicate::str::contains("laptop").eval(&String::from_utf8_lossy(&seen)));
    canary.sweep(&[stage.dana.home(), &stage.mcpd.data_dir(), boss.home()], &[("what was shown", &seen)]);
}
