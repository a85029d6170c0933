//! The history of each machine beside the audit trail of the server: they have to tell the same of every failover.

use super::{
    load::run,
    stage::{Somebody, Stage},
    tally::{Breach, Tally},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// What each machine has written down, by person and id. A history is bounded, so it is read again and again.
#[derive(Debug, Default)]
pub(super) struct Journals(BTreeMap<&'static str, BTreeMap<String, Value>>);

/// How many failovers there were.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failovers {
    /// The server knows of them.
    pub(super) reported: u64,
    /// A machine wrote down that there was none, and why.
    pub(super) refused: u64,
}

impl Journals {
    /// Reads what is there now.
    pub(super) fn read(&mut self, stage: &Stage) {
        for somebody in &stage.people {
            let known = self.0.entry(somebody.name).or_default();
            for name in ["failovers.jsonl.1", "failovers.jsonl"] {
                let text = fs::read_to_string(somebody.person.state().join(name)).unwrap_or_default();
                for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                    // Of two with one id the first one knew more.
                    known.entry(text_of(&event["id"])).or_insert(event);
                }
            }
        }
    }

    /// Compares both ways.
    pub(super) fn compare(&self, tally: &Tally, trail: &Trail) -> Failovers {
        let disagree = |what: String| tally.violation(Breach::Disagreement, &what);
        let mut told: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for entry in &trail.failovers {
            told.entry(text_of(&entry["detail"]["id"])).or_default().push(entry);
        }
        let mut failovers = Failovers::default();
        for (who, events) in &self.0 {
            for (id, event) in events {
                let entries = told.remove(id).unwrap_or_default();
                match (text_of(&event["outcome"]).as_str(), entries.as_slice()) {
                    ("refused" | "not_ready", []) => failovers.refused += 1,
                    ("ok" | "incomplete" | "failed", [entry]) => {
                        failovers.reported += 1;
                        if let Some(what) = difference(who, event, entry) {
                            disagree(format!("{what}: {who} wrote {event}, the trail has {entry}"));
                        }
                        let permitted = trail.permitted.get(&text_of(&event["requestId"]));
                        if permitted.is_none_or(|name| name != who) {
                            let text = format!("no yes of the server to {who} is known for {event}");
                            tally.violation(Breach::Unauthorised, &text);
                        }
                    }
                    (_, entries) => {
                        disagree(format!("{who} wrote {event}, the trail has {} of it", entries.len()));
                    }
                }
            }
        }
        for entry in told.values().flatten() {
            disagree(format!("in no history: {entry}"));
        }
        failovers
    }
}

/// In what the two differ.
fn difference(who: &str, event: &Value, entry: &Value) -> Option<String> {
    let outcome = match text_of(&event["outcome"]).as_str() {
        "ok" => "complete".to_owned(),
        other => other.to_owned(),
    };
    let detail = &entry["detail"];
    let pairs = [
        ("person", who.to_owned(), text_of(&entry["subject"]["name"])),
        ("outcome", outcome, text_of(&detail["outcome"])),
        ("LLM", text_of(&event["llm"]), text_of(&entry["llm"])),
        ("request", text_of(&event["requestId"]), text_of(&entry["requestId"])),
        ("reason", text_of(&event["reason"]), text_of(&detail["reason"])),
        ("provider", text_of(&event["provider"]), text_of(&detail["provider"])),
        ("model", text_of(&event["model"]), text_of(&detail["model"])),
        ("token", text_of(&event["tokenId"]), text_of(&detail["tokenId"])),
        ("duration", event["durationMs"].to_string(), detail["durationMs"].to_string()),
    ];
    let different = pairs.into_iter().find(|(_, one, other)| one != other);
    different.map(|(what, one, other)| format!("{what} is {one:?} here and {other:?} there"))
}

/// What the audit trail has of failovers, and of questions for permission.
#[derive(Debug, Default)]
pub(super) struct Trail {
    failovers: Vec<Value>,
    /// Who was told yes, by the id of the request.
    permitted: BTreeMap<String, String>,
}

impl Trail {
    /// Asks for all of it.
    pub(super) fn ask(stage: &Stage) -> anyhow::Result<Self> {
        let items = |event: &str| -> anyhow::Result<Vec<Value>> {
            let args = ["audit", "list", "--event", event, "-o", "json"];
            let run = run(stage, None, &stage.admin, 0, &args)?;
            anyhow::ensure!(run.is(0), "{}", run.told());
            let document: Value = serde_json::from_str(&run.stdout)?;
            Ok(document["items"].as_array().cloned().unwrap_or_default())
        };
        let probes = items("probe")?;
        let allowed = probes.iter().filter(|entry| entry["verdict"] == "allowed");
        let permitted =
            allowed.map(|entry| (text_of(&entry["requestId"]), text_of(&entry["subject"]["name"])));
        Ok(Self { permitted: permitted.collect(), failovers: items("failover")? })
    }
}

/// The files of reports and notes that wait on somebody's machine.
pub(super) fn waiting(somebody: &Somebody) -> Vec<PathBuf> {
    let origins = fs::read_dir(somebody.person.state().join("v1/reports")).into_iter().flatten().flatten();
    let files = origins.flat_map(|origin| fs::read_dir(origin.path()).into_iter().flatten().flatten());
    // Beside them stands, under a name with a dot, what was half written by who was killed.
    files
        .filter(|file| !file.file_name().to_string_lossy().starts_with('.'))
        // A note of which nothing was written when its command was killed, and so before any prompt.
        .filter(|file| file.metadata().is_ok_and(|meta| meta.len() > 0))
        .map(|file| file.path())
        .collect()
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(outcome: &str) -> Value {
        json!({
            "id": "e1", "llm": "chat", "reason": "http_502", "provider": "laptop", "model": "m", "outcome": outcome,
            "durationMs": 7, "requestId": "r-1", "tokenId": "t",
        })
    }

    fn entry(outcome: &str) -> Value {
        json!({
            "llm": "chat", "requestId": "r-1", "subject": {"kind": "User", "name": "ana"},
            "detail": {
                "id": "e1", "reason": "http_502", "provider": "laptop", "model": "m", "outcome": outcome,
                "durationMs": 7, "tokenId": "t",
            },
        })
    }

    /// How many disagreements there are, and how many failovers without a permission.
    fn found(event: Option<Value>, failovers: Vec<Value>, permitted: &str) -> (u64, u64) {
        let events = event.into_iter().map(|event| (text_of(&event["id"]), event)).collect();
        let journals = Journals(BTreeMap::from([("ana", events)]));
        let permitted = BTreeMap::from([("r-1".to_owned(), permitted.to_owned())]);
        let tally = Tally::default();
        let _counts = journals.compare(&tally, &Trail { failovers, permitted });
        let counts = tally.snapshot();
        (counts.of(Breach::Disagreement), counts.of(Breach::Unauthorised))
    }

    #[test]
    fn each_failover_is_told_once_on_both_sides_in_the_same_words() {
        let ok = || Some(event("ok"));
        assert_eq!(found(ok(), vec![entry("complete")], "ana"), (0, 0));
        assert_eq!(found(ok(), vec![], "ana"), (1, 0), "never handed over");
        assert_eq!(found(ok(), vec![entry("complete"), entry("complete")], "ana"), (1, 0), "twice");
        assert_eq!(found(None, vec![entry("complete")], "ana"), (1, 0), "in no history");
        assert_eq!(found(ok(), vec![entry("incomplete")], "ana"), (1, 0), "another end");
        assert_eq!(found(ok(), vec![entry("complete")], "ben"), (0, 1), "somebody else's yes");
        assert_eq!(found(Some(event("refused")), vec![], "ben"), (0, 0));
        assert_eq!(found(Some(event("refused")), vec![entry("failed")], "ana"), (1, 0));
    }
}
