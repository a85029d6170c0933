//! How an engine is, as a document.

use super::Seen;
use crate::{
    cmd::providers::{roster::Declared, times},
    engine::{Condition, End, State, Status, record::Ending},
    render::Item,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// How the engine of a managed provider is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cmd) struct StatusItem {
    /// The provider.
    name: String,
    /// `stopped`, `starting`, `running`, `stopping`, `failed`, `orphaned`, or `unknown` if its record cannot be read.
    state: &'static str,
    /// The provider file has an entry for it; null if the file cannot be read.
    declared: Option<bool>,
    /// The model that runs, else the one that is declared.
    model: Option<String>,
    /// Its first process.
    pid: Option<i32>,
    /// The process of mcpctl that watches it.
    supervisor_pid: Option<i32>,
    #[serde(flatten)]
    look: Look,
    /// Where it listens, in words.
    endpoint: Option<String>,
    /// The socket on which it listens.
    socket: Option<String>,
    /// Its log.
    log: Option<PathBuf>,
    /// The LLMs it stands in for.
    failover_for: Vec<String>,
}

impl Item for StatusItem {
    const LIST: &'static str = "ProviderStatusList";
}

/// What its record says.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Look {
    Seen(Details),
    Unreadable(Unreadable),
}

/// What is known of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Details {
    /// The stage of a start.
    stage: Option<String>,
    /// All processes that came of it.
    processes: Vec<i32>,
    /// For how long it has run.
    uptime_seconds: Option<u64>,
    /// When it stops if nobody uses it; null if it is used, or never stops by itself.
    idle_stop_seconds: Option<u64>,
    /// Somebody uses it or waits for it.
    used: bool,
    /// How the last one ended.
    last_end: Option<LastEnd>,
}

/// Nothing is known of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Unreadable {
    /// Why its record cannot be read.
    error: String,
}

/// How an engine ended.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LastEnd {
    /// In a word: `exited`, `killed`, `unseen`, `not_started`, `stalled`, `unwanted`, `idle`, `asked`, `hung`, `exposed`
    /// or `forgotten`.
    reason: &'static str,
    /// What its log says about it.
    cause: Option<String>,
    /// The same for people.
    message: String,
    /// Something was wrong with it.
    failure: bool,
}

impl StatusItem {
    pub(super) fn of(
        seen: &Seen<'_>,
        endpoint: &str,
        socket: &str,
        log: Option<PathBuf>,
        llms: &[&str],
    ) -> Self {
        let present = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let model = seen.record().map(|record| &record.model).or(seen.provider().map(|it| &it.model));
        Self {
            name: seen.name.to_owned(),
            state: seen.condition().map_or("unknown", Condition::as_str),
            declared: match seen.declared {
                Declared::As(_) => Some(true),
                Declared::Not => Some(false),
                Declared::Unknown => None,
            },
            model: model.cloned(),
            pid: seen.pid(),
            supervisor_pid: seen.supervisor_pid(),
            look: match &seen.status {
                Ok(status) => Look::Seen(Details::of(seen, status)),
                Err(error) => Look::Unreadable(Unreadable { error: error.to_string() }),
            },
            endpoint: present(endpoint),
            socket: present(socket),
            log,
            failover_for: llms.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Details {
    fn of(seen: &Seen<'_>, status: &Status) -> Self {
        Self {
            stage: stage(status),
            processes: status.processes.iter().map(|process| process.pid).collect(),
            uptime_seconds: status.uptime.map(|time| time.as_secs()),
            idle_stop_seconds: status.stops_in.map(times::whole_seconds),
            used: status.used,
            last_end: seen.last_end().map(LastEnd::of),
        }
    }
}

impl LastEnd {
    fn of(end: &End) -> Self {
        let reason = match end.why {
            Ending::Exited(_) => "exited",
            Ending::Killed(_) => "killed",
            Ending::Unseen => "unseen",
            Ending::NotStarted(_) => "not_started",
            Ending::Stalled(_) => "stalled",
            Ending::Unwanted => "unwanted",
            Ending::Idle => "idle",
            Ending::Asked => "asked",
            Ending::Hung => "hung",
            Ending::Exposed(_) => "exposed",
            Ending::Forgotten => "forgotten",
        };
        Self { reason, cause: end.cause.clone(), message: end.to_string(), failure: end.is_failure() }
    }
}

fn stage(status: &Status) -> Option<String> {
    match &status.record.as_ref()?.state {
        State::Loading { stage } if status.condition == Condition::Starting => stage.clone(),
        State::Loading { .. } | State::Ready | State::Stopping | State::Ended(_) => None,
    }
}
