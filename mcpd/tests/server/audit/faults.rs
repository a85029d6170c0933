//! A database that does not take audit entries: there is no change without its entry, and requests do as they are told.

use super::{entries, sound_trail, wait_for};
use crate::cases::{CHAT, INFER, LIMIT, USES_CHAT, error_of, probe, prompt, sql};
use fakes::{Engine, Mcpd, required, wait_until};
use serde_json::json;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::DirBuilderExt,
    process::{Child, Command, Stdio},
};

/// Makes the table refuse new entries: SQL that both databases know.
fn refuse_entries(mcpd: &Mcpd) {
    sql(mcpd, "ALTER TABLE audit RENAME TO audit_away");
}

fn take_entries(mcpd: &Mcpd) {
    sql(mcpd, "ALTER TABLE audit_away RENAME TO audit");
}

#[test]
fn d03_a_change_whose_entry_cannot_be_written_is_not_made() {
    let mcpd = Mcpd::start();
    let before = sound_trail(&mcpd).len();
    refuse_entries(&mcpd);
    let rob = json!({"kind": "User", "name": "rob"});
    for _ in 0..3 {
        let answer = mcpd.api("POST", "/api/v1/users", mcpd.admin_token(), &rob);
        assert_eq!(error_of(&answer), (503, "database_unavailable".into(), "gateway".into()));
        let seen = mcpd.request("GET", "/api/v1/users/user/rob", Some(mcpd.admin_token()), &[], b"");
        assert_eq!(seen.status, 404, "a change without its entry");
    }
    take_entries(&mcpd);
    assert_eq!(mcpd.api("POST", "/api/v1/users", mcpd.admin_token(), &rob).status, 201);
    assert_eq!(sound_trail(&mcpd).len(), before + 1);
}

#[test]
fn d03_by_default_inference_goes_on_and_the_log_is_loud() {
    let engine = Engine::start();
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    refuse_entries(&mcpd);
    for _ in 0..5 {
        assert_eq!(mcpd.api("POST", INFER, &dana, &prompt(json!({}))).status, 200);
    }
    wait_until(LIMIT, "a complaint", || mcpd.logs().contains("audit rows cannot be written"));
    assert_eq!(mcpd.request("GET", CHAT, Some(&dana), &[], b"").status, 200);
    // Once it works again, what was waiting is written.
    take_entries(&mcpd);
    wait_for(&mcpd, "event=inference&user=dana", 5);
    sound_trail(&mcpd);
}

#[test]
fn d03_what_could_not_be_written_until_the_end_is_counted() {
    let engine = Engine::start();
    let mut mcpd = Mcpd::start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    refuse_entries(&mcpd);
    for _ in 0..7 {
        assert_eq!(probe(&mcpd, CHAT, &dana).status, 200);
    }
    mcpd.stop();
    assert!(mcpd.logs().contains("audit rows lost: 7"), "{}", mcpd.logs());
}

#[test]
fn d03_where_entries_are_required_nothing_goes_on_without_one() {
    let engine = Engine::start();
    let mcpd = Mcpd::builder().arg("--audit").arg("required").start();
    mcpd.create_llm("chat", &engine.url());
    let dana = mcpd.user_with("dana", USES_CHAT);
    assert_eq!(mcpd.api("POST", INFER, &dana, &prompt(json!({}))).status, 200);
    assert_eq!(entries(&mcpd, "event=inference").len(), 1, "it is there before the answer");
    refuse_entries(&mcpd);
    let asked = engine.connections();
    let refused = mcpd.api("POST", INFER, &dana, &prompt(json!({})));
    assert_eq!(error_of(&refused), (503, "database_unavailable".into(), "gateway".into()));
    assert_eq!(probe(&mcpd, CHAT, &dana).status, 503, "a probe fails closed");
    let denied = mcpd.api("POST", "/api/v1/llms/other/infer", &dana, &prompt(json!({})));
    assert_eq!(denied.status, 503);
    assert_eq!(engine.connections(), asked, "the upstream was asked");
    take_entries(&mcpd);
    assert_eq!(mcpd.api("POST", INFER, &dana, &prompt(json!({}))).status, 200);
    assert_eq!(entries(&mcpd, "event=inference").len(), 2, "what was refused is not there");
    sound_trail(&mcpd);
}

/// A server in a mount namespace of its own, with its data on a disk of one megabyte.
struct SmallDisk {
    child: Child,
    url: String,
    token: String,
    data: std::path::PathBuf,
    _room: tempfile::TempDir,
}

impl SmallDisk {
    fn start(more: &str) -> Option<Self> {
        let room = tempfile::tempdir().unwrap();
        let data = room.path().join("data");
        fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
        let script = format!(
            "mount -t tmpfs -o size=1m,mode=700 tmpfs {data} && {mcpd} bootstrap --admin admin --data-dir {data} \
             && exec {mcpd} serve --listen 127.0.0.1:0 --data-dir {data} {more}",
            data = data.display(),
            mcpd = env!("CARGO_BIN_EXE_mcpd"),
        );
        let mut command = Command::new("unshare");
        command.args(["-r", "-m", "sh", "-c", &script]).env_remove("MCPD_DATABASE").env("HOME", room.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
        let (token, listening) = (lines.next(), lines.next());
        let url = listening.and_then(|line| line.split("http://").nth(1).map(str::to_owned));
        let (Some(token), Some(url)) = (token, url) else {
            let _ended = (child.kill(), child.wait());
            return None;
        };
        Some(Self { child, url, token, data, _room: room })
    }

    /// Takes all the room that is left, as whoever shares the disk could.
    fn fill(&self) {
        let inside = format!("/proc/{}/root{}", self.child.id(), self.data.join("fill").display());
        let mut file = fs::File::create(inside).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(format!("/proc/{}/root{}", self.child.id(), self.data.join("fill").display()))
            .unwrap();
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = std::net::TcpStream::connect(&self.url).unwrap();
        let headers = format!(
            "host: x\r\nauthorization: Bearer {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             mcpd-probe: run; nonce=00112233445566778899aabbccddeeff\r\ncontent-length: {}\r\n",
            self.token,
            body.len()
        );
        write!(stream, "{method} {path} HTTP/1.1\r\n{headers}\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ended = (self.child.kill(), self.child.wait());
    }
}

#[test]
fn d03_a_full_disk_stops_changes_whole_and_not_inference() {
    let Some(disk) = SmallDisk::start("") else { return required("a mount namespace") };
    let llm =
        json!({"name": "chat", "type": "openai", "url": "http://127.0.0.1:9/v1", "model": "m"}).to_string();
    assert_eq!(disk.ask("POST", "/api/v1/llms", &llm).0, 201);
    disk.fill();
    let mut refused = 0;
    for number in 0..40 {
        let user = json!({"kind": "User", "name": format!("user-{number}")}).to_string();
        let (status, answer) = disk.ask("POST", "/api/v1/users", &user);
        assert!(matches!(status, 201 | 503), "{answer}");
        refused += usize::from(status == 503);
        assert_eq!(disk.ask("HEAD", "/api/v1/llms/chat", "").0, 200, "inference stops with the disk");
    }
    assert!(refused > 0, "the disk was not full");
    disk.make_room();
    wait_until(LIMIT, "room", || {
        disk.ask("POST", "/api/v1/users", &json!({"kind": "User", "name": "last"}).to_string()).0 != 503
    });
    // Each user that is there has its entry, and each entry its user.
    let (_, users) = disk.ask("GET", "/api/v1/users", "");
    let (_, trail) = disk.ask("GET", "/api/v1/audit?event=change", "");
    for number in 0..40 {
        let is_there = users.contains(&format!("\"user-{number}\""));
        let has_entry = trail.contains(&format!("\"User/user-{number}\""));
        assert_eq!(is_there, has_entry, "user-{number}");
    }
}
