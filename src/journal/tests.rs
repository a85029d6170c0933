//! What stays when commands end, are killed, or come together.

use super::*;
use mcp_api::failover_report::FailoverReport;
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
        failover(llm).begins(laptop(), &self.env()).unwrap()
    }

    fn past(&self) -> Past {
        Past::read(&self.env(), None).unwrap()
    }

    fn waiting(&self) -> Vec<(String, FailoverReport)> {
        Spool::find(&self.env(), ORIGIN).map_or(Vec::new(), |spool| spool.waiting().unwrap())
    }

    fn history(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.state().join("failovers.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn failover(llm: &str) -> Failover {
    Failover {
        server: ORIGIN.into(),
        user: None,
        llm: llm.into(),
        llm_id: None,
        reason: "refused".into(),
        request_id: "r-1".into(),
        token_id: Some("abc".into()),
    }
}

fn laptop() -> StandIn {
    StandIn { provider: "laptop".into(), provider_type: "openai".into(), model: "tiny".into() }
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
    assert_eq!((&history[0]["login"], &history[0]["outcome"]), (&"dana".into(), &"ok".into()));
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
    let (note, report) = (underway.note.clone(), serde_json::to_vec(&underway.event).unwrap());
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
    // However often it was written down, it happened once, and the end that was known is told.
    let outcomes: Vec<_> = home.past().events.iter().map(|event| event.outcome).collect();
    assert_eq!(outcomes, [Ended::Ok]);
}

#[test]
fn what_was_killed_between_the_report_and_the_history_is_in_the_history_too() {
    let home = Home::new();
    let underway = home.begin("chat");
    let (note, event) = (underway.note.clone(), serde_json::to_vec(&underway.event).unwrap());
    underway.end(Outcome::Complete).unwrap();
    fs::remove_file(home.state().join("failovers.jsonl")).unwrap();
    let note = Spool::find(&home.env(), ORIGIN).unwrap().folder().path().join(note);
    fs::write(&note, event).unwrap();
    chmod(&note);
    settle(&home.env()).unwrap();
    let events = home.past().events;
    assert_eq!((events.len(), events[0].outcome), (1, Ended::Ok));
}

#[test]
fn a_report_is_told_when_the_history_has_it_too() {
    let home = Home::new();
    let underway = home.begin("chat");
    // As far as `end` has come when its command is killed, or when another one looks.
    let mut event = underway.event.clone();
    event.outcome = Ended::Ok;
    let spool = Spool::find(&home.env(), ORIGIN).unwrap();
    let report = serde_json::to_vec(&event.report()).unwrap();
    spool.folder().write(&underway.note.replace(".open", ".json"), &report).unwrap();
    // Whoever told it now and forgot it would leave a note behind of which nobody knows how it ended.
    assert_eq!(home.waiting().len(), 0);
    drop(underway);
    let told: Vec<_> = home.waiting().into_iter().map(|(_, it)| it.outcome).collect();
    assert_eq!(told, ["complete"]);
    let outcomes: Vec<_> = home.past().events.iter().map(|event| event.outcome).collect();
    assert_eq!(outcomes, [Ended::Ok]);
}

#[test]
fn a_refusal_is_history_and_no_report() {
    let home = Home::new();
    assert!(home.past().events.is_empty());
    assert!(!home.state().exists(), "a look made a folder");
    let took = Duration::from_millis(3004);
    failover("chat").refused(Permission::Unknown, "no answer".into(), took, &home.env()).unwrap();
    failover("chat").not_ready(laptop(), took, &home.env()).unwrap();
    assert_eq!(home.waiting().len(), 0);
    let told = |event: &Event| (event.verdict, event.provider.clone(), event.outcome, event.duration_ms);
    let events: Vec<_> = home.past().events.iter().map(told).collect();
    let expected = [
        (Permission::Unknown, None, Ended::Refused, 3004),
        (Permission::Allowed, Some("laptop".into()), Ended::NotReady, 3004),
    ];
    assert_eq!(events, expected);
}

#[test]
fn what_is_withdrawn_before_the_prompt_is_reported_to_nobody() {
    let home = Home::new();
    let took = Duration::from_millis(5);
    home.begin("chat").withdraw(Some((Permission::Denied, "run is not granted".into())), took).unwrap();
    home.begin("chat").withdraw(None, took).unwrap();
    assert_eq!(home.waiting().len(), 0);
    let told = |event: &Event| (event.verdict, event.provider.is_some(), event.outcome);
    let events: Vec<_> = home.past().events.iter().map(told).collect();
    let expected =
        [(Permission::Denied, false, Ended::Refused), (Permission::Allowed, true, Ended::NotReady)];
    assert_eq!(events, expected);
}

#[test]
fn half_lines_and_junk_cost_nothing_but_themselves() {
    let home = Home::new();
    let refuse = |llm: &str| {
        failover(llm).refused(Permission::Denied, "no".into(), Duration::ZERO, &home.env()).unwrap();
    };
    refuse("first");
    let path = home.state().join("failovers.jsonl");
    let append = |bytes: &[u8]| {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(bytes).unwrap();
    };
    let long = vec![b'x'; 200 << 10];
    append(&[b"\xff\xfe\n{}\n[1]\n\n", long.as_slice(), b"\n"].concat());
    refuse("second");
    // As a full disk leaves it: the next line begins on a line of its own.
    let whole = fs::read(&path).unwrap();
    let line = whole.split(|byte| *byte == b'\n').next().unwrap();
    append(&line[..line.len() / 2]);
    assert_eq!(home.past().unreadable, 5);
    refuse("third");
    let past = home.past();
    let llms: Vec<_> = past.events.iter().map(|event| event.llm.as_str()).collect();
    assert_eq!((llms, past.unreadable), (vec!["first", "second", "third"], 5));
    let since = past.events[2].at;
    let left = Past::read(&home.env(), Some(since)).unwrap().events;
    assert!(left.iter().all(|event| event.at >= since) && left.last() == past.events.last());
}

#[test]
fn a_reader_misses_nothing_and_sees_nothing_twice_while_files_change_their_names() {
    let home = Home::new();
    let add = |n: usize| {
        let why = "x".repeat(20_000);
        failover(&format!("llm-{n:04}"))
            .refused(Permission::Denied, why, Duration::ZERO, &home.env())
            .unwrap();
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..120).for_each(add));
        while !writer.is_finished() {
            let past = home.past();
            let mut numbers: Vec<usize> = past.events.iter().map(|it| it.llm[4..].parse().unwrap()).collect();
            numbers.sort_unstable();
            // The oldest may have been dropped; after them there is no gap and no number twice.
            assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
        }
    });
    assert!(home.past().events.len() < 120 && home.state().join("failovers.jsonl.1").exists());
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

#[test]
fn a_report_of_the_longest_model_is_told_whatever_has_to_be_escaped_in_it() {
    let home = Home::new();
    // What the provider file takes at most, of characters of which each becomes six.
    let stand_in = StandIn { model: "\u{1}".repeat(2048), ..laptop() };
    failover(&"l".repeat(63)).begins(stand_in, &home.env()).unwrap().end(Outcome::Complete).unwrap();
    assert_eq!((home.waiting().len(), home.history().len(), home.past().events.len()), (1, 1, 1));
}
