//! What stays when commands end, are killed, or come together.

use super::*;
use std::{collections::BTreeSet, fs, path::PathBuf};

const ORIGIN: &str = "https://mcpd.example";

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn env(&self) -> Environment {
        Environment::from([("XDG_STATE_HOME", self.0.path().to_str().unwrap()), ("USER", "dana")])
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("mcpctl")
    }

    fn begin(&self, llm: &str) -> Underway {
        let failover = Failover {
            llm: llm.into(),
            llm_id: None,
            reason: "refused".into(),
            provider: "laptop".into(),
            provider_type: "openai".into(),
            model: "tiny".into(),
            request_id: "r-1".into(),
            token_id: Some("abc".into()),
        };
        failover.begins(&self.env(), ORIGIN).unwrap()
    }

    fn waiting(&self) -> Vec<(String, FailoverReport)> {
        Spool::find(&self.env(), ORIGIN).map_or(Vec::new(), |spool| spool.waiting().unwrap())
    }

    fn history(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.state().join("failovers.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn a_report_waits_until_it_is_forgotten() {
    let home = Home::new();
    assert!(Spool::find(&home.env(), ORIGIN).is_none());
    home.begin("chat").end(Outcome::Complete).unwrap();
    home.begin("code").end(Outcome::Failed).unwrap();
    let waiting = home.waiting();
    let told: Vec<_> = waiting.iter().map(|(_, it)| (it.llm.as_str(), it.outcome.as_str())).collect();
    assert_eq!(told, [("chat", "complete"), ("code", "failed")]);
    assert!(Spool::find(&home.env(), "https://other.example").is_none(), "reports go to their own server");
    let spool = Spool::find(&home.env(), ORIGIN).unwrap();
    spool.forget(&waiting[0].0).unwrap();
    assert_eq!(home.waiting().len(), 1);
    let history = home.history();
    assert_eq!((history.len(), &history[1]["server"]), (2, &ORIGIN.into()));
    assert_eq!((&history[0]["user"], &history[0]["outcome"]), (&"dana".into(), &"complete".into()));
}

#[test]
fn one_that_is_under_way_is_not_told_and_one_whose_command_is_gone_is() {
    let home = Home::new();
    let underway = home.begin("chat");
    assert_eq!(home.waiting().len(), 0);
    // As the kernel does for a command that was killed.
    drop(underway);
    let waiting = home.waiting();
    assert_eq!((waiting.len(), waiting[0].1.outcome.as_str()), (1, "incomplete"));
    assert_eq!(home.waiting().len(), 1);
    assert_eq!(home.history().len(), 1);
}

#[test]
fn a_command_that_is_killed_anywhere_leaves_one_report_or_none() {
    let home = Home::new();
    let folder = |home: &Home| Spool::find(&home.env(), ORIGIN).unwrap().folder().path().to_owned();
    // Between the report and the removal of its note.
    let underway = home.begin("chat");
    let (note, report) = (underway.note.clone(), serde_json::to_vec(&underway.report).unwrap());
    underway.end(Outcome::Complete).unwrap();
    fs::write(folder(&home).join(&note), &report).unwrap();
    chmod(&folder(&home).join(&note));
    let told = |home: &Home| home.waiting().into_iter().map(|(_, it)| it.outcome).collect::<Vec<_>>();
    assert_eq!(told(&home), ["complete"]);
    assert!(!folder(&home).join(&note).exists());
    // Before the note was written, and in the middle of it.
    for part in [&b""[..], &report[..report.len() / 2]] {
        fs::write(folder(&home).join(&note), part).unwrap();
        chmod(&folder(&home).join(&note));
        assert_eq!(told(&home), ["complete"]);
    }
}

fn chmod(path: &std::path::Path) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn the_oldest_make_room_and_are_counted() {
    let home = Home::new();
    home.begin("first").end(Outcome::Complete).unwrap();
    let spool = Spool::find(&home.env(), ORIGIN).unwrap();
    for number in 1..spool::REPORTS_MAX {
        let name = spool.folder().path().join(format!("9999999999999-{number:032}.json"));
        fs::write(&name, "{}").unwrap();
        chmod(&name);
    }
    assert_eq!(home.begin("second").end(Outcome::Complete).unwrap(), 1);
    let left: Vec<_> = home.waiting().into_iter().map(|(_, report)| report.llm).collect();
    assert_eq!(left, ["second"], "the oldest went, and what is no report");
}

#[test]
fn commands_at_the_same_time_lose_no_line_and_the_history_stays_bounded() {
    let home = Home::new();
    fs::create_dir_all(home.state()).unwrap();
    fs::set_permissions(home.state(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let full = format!("{{\"llm\":\"{}\"}}\n", "x".repeat(usize::try_from(history::SIZE_MAX).unwrap()));
    let file = home.state().join("failovers.jsonl");
    fs::write(&file, full).unwrap();
    chmod(&file);
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let home = &home;
            scope.spawn(move || {
                for n in 0..5 {
                    home.begin(&format!("llm-{worker}-{n}")).end(Outcome::Complete).unwrap();
                }
            });
        }
    });
    let lines: BTreeSet<_> = home.history().into_iter().map(|line| line["llm"].to_string()).collect();
    assert_eq!((lines.len(), home.waiting().len()), (40, 40));
    assert!(fs::metadata(home.state().join("failovers.jsonl.1")).unwrap().len() > history::SIZE_MAX);
}
