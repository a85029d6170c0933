//! The pages for operators, done as they stand: every block of `sh` is run, in order, by the real shell with the real
//! programs. Blocks of `console` and `yaml` are to look at.

use crate::support::TEN_WORDS;
use fakes::{Engine, Postgres};
use std::{fs, net::TcpListener, path::Path, process::Command};
use tempfile::TempDir;

/// What a page takes for granted: `serve` runs beside it, a service manager can stop and start it, and all users are
/// one.
const STAGE: &str = r#"
set -euo pipefail
server=
stop() { if [ -n "$server" ]; then kill -TERM "$server"; wait "$server" || true; server=; fi; }
trap stop EXIT
mcpd() {
    if [ "$1" != serve ]; then command mcpd "$@"; return; fi
    stop
    # What the one before said must not be taken for what this one says.
    : > "$HOME/serve.log"
    # The service reads its EnvironmentFile each time.
    (set -a; if [ -f "$HOME/mcpd.env" ]; then . "$HOME/mcpd.env"; fi; exec mcpd serve) >> "$HOME/serve.log" 2>&1 &
    server=$!
    until grep -q '^mcpd listening' "$HOME/serve.log"; do
        kill -0 "$server" || { cat "$HOME/serve.log" >&2; return 1; }
        sleep 0.02
    done
}
systemctl() { if [ "$1" = stop ]; then stop; else mcpd serve; fi; }
sudo() { if [ "$1" = -H ]; then shift 3; fi; "$@"; }
"#;

/// A person with an empty home who follows pages.
struct Reader {
    home: TempDir,
    upstream: Engine,
    listen: String,
    env: Vec<(&'static str, String)>,
    exchanged: Vec<(&'static str, String)>,
}

impl Reader {
    fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let home = tempfile::tempdir().unwrap();
        Self { home, upstream: Engine::start(), listen: free.to_string(), env: vec![], exchanged: vec![] }
    }

    /// Gives every text of the pages that means a machine its counterpart here.
    fn here(&self, text: &str) -> String {
        let upstream = self.upstream.url();
        let upstream = upstream.strip_prefix("http://").unwrap_or(&upstream);
        let upstream = upstream.trim_end_matches("/v1").trim_end_matches('/');
        let text = text.replace("127.0.0.1:3100", &self.listen).replace("127.0.0.1:8000", upstream);
        let text = text.replace("/etc/mcpd.env", &self.home.path().join("mcpd.env").display().to_string());
        self.exchanged.iter().fold(text, |text, (from, to)| text.replace(from, to))
    }

    /// Follows some pages, one after the other, and gives what was printed.
    fn follows(&self, pages: &[&str]) -> String {
        let blocks: String = pages.iter().map(|page| blocks(page)).collect();
        assert!(!blocks.is_empty(), "the pages {pages:?} have nothing to run");
        let script = self.home.path().join("page.sh");
        fs::write(&script, format!("{STAGE}\n{}", self.here(&blocks))).unwrap();
        let programs = Path::new(env!("CARGO_BIN_EXE_mcpctl")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        // In a process group of its own, all of which ends if it takes too long.
        let done = Command::new("timeout")
            .args(["120", "bash"])
            .arg(&script)
            .env_clear()
            .envs([("PATH", path.as_str()), ("MCPD_LISTEN", &self.listen)])
            .env("HOME", self.home.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path())
            .output()
            .unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{}\n{stdout}\n{stderr}", done.status);
        stdout.into_owned()
    }
}

/// The blocks of `sh` of a page.
pub(crate) fn blocks(page: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page)).unwrap();
    let mut inside = false;
    let run = text.lines().filter(|line| match *line {
        "```sh" => {
            inside = true;
            false
        }
        "```" => {
            inside = false;
            false
        }
        _ => inside,
    });
    run.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_page_for_the_first_llm_leads_from_nothing_to_an_answer() {
    let said = Reader::new().follows(&["install.md", "first-llm.md"]);
    assert!(said.contains("ok  integrity") && said.contains("ana@example.com"), "{said}");
    assert!(said.contains(TEN_WORDS), "{said}");
    assert!(!said.contains("mcpd_"), "a token was shown: {said}");
}

#[test]
fn the_page_for_a_team_gives_it_access_and_takes_it_away() {
    let said = Reader::new().follows(&["install.md", "first-llm.md", "administration.md"]);
    assert_eq!(said.matches(TEN_WORDS).count(), 2, "{said}");
    for line in
        ["group/data created (dry run)\nrbac/data-team", "group/data created\n", "rbac/data-team unchanged\n"]
    {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
    assert!(said.ends_with("user/dana@example.com deleted\n"), "{said}");
}

#[test]
fn the_page_for_the_audit_trail_shows_it_and_proves_it() {
    let said = Reader::new().follows(&["install.md", "first-llm.md", "audit.md"]);
    assert!(said.contains("create Llm/chat-prod") && said.contains("rbac/auditors created"), "{said}");
    assert_eq!(said.matches("The audit trail is sound").count(), 3, "{said}");
}

#[test]
fn the_page_for_backups_leads_to_the_same_server() {
    let said = Reader::new().follows(&["install.md", "first-llm.md", "backup.md", "first-llm.md"]);
    assert_eq!(said.matches(TEN_WORDS).count(), 2, "{said}");
    assert!(said.contains("llm/chat-prod unchanged"), "{said}");
}

#[test]
fn the_page_for_postgresql_leads_there_with_everything() {
    let Some(postgres) = Postgres::start() else { return };
    postgres.create_database("empty");
    let mut reader = Reader::new();
    reader.env.push(("PGPASSWORD", postgres.password().to_owned()));
    reader.exchanged.push(("db.example", postgres.addr().to_string()));
    let said = reader.follows(&["install.md", "first-llm.md", "postgresql.md", "first-llm.md"]);
    assert_eq!(said.matches(TEN_WORDS).count(), 2, "{said}");
    assert_eq!(said.matches("ok  PostgreSQL").count(), 2, "{said}");
    assert!(said.contains("llm/chat-prod unchanged"), "{said}");
}
