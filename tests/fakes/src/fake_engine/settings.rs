//! What the program is told: one environment variable that holds JSON.

use serde::{Deserialize, Serialize};
use std::{env, path::PathBuf};

/// The variable.
pub(super) const VARIABLE: &str = "FAKE_ENGINE";

/// What it is to do. Everything left out means: as a good engine would.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own; any set of them makes sense")]
pub(super) struct Settings {
    /// Where it notes what happened.
    pub(super) folder: Option<PathBuf>,
    /// Loading goes on until this file exists.
    pub(super) ready_gate: Option<PathBuf>,
    /// Logs nothing while it loads.
    pub(super) quiet_while_loading: bool,
    /// Logs a line now and then while it waits to become ready.
    pub(super) chatter: bool,
    /// Says something and ends instead of getting ready.
    pub(super) fail: Option<Fail>,
    /// Ends when this file appears.
    pub(super) exit_when: Option<PathBuf>,
    /// How it ends then.
    pub(super) exit_code: i32,
    /// What never gets an answer.
    pub(super) hang: Option<Hang>,
    /// What `fail`, `exit_when`, `hang`, `health` and `die_in_chat` say is true of the first process of this folder
    /// only: a restart cures it.
    #[serde(alias = "hang_once")]
    pub(super) once: bool,
    /// The status of `/health`.
    pub(super) health: Option<u16>,
    /// It has that status only when this file exists.
    pub(super) health_gate: Option<PathBuf>,
    /// The model that it serves, whatever it was asked for.
    pub(super) served_name: Option<String>,
    /// Goes on at SIGTERM.
    pub(super) ignore_term: bool,
    /// Closes its port at SIGTERM and then waits for its clients to leave, to whom it says nothing more.
    pub(super) hang_on_term_with_stream: bool,
    /// Its child processes.
    pub(super) workers: Vec<Worker>,
    /// Listens on a port of all interfaces too, and notes which in `everywhere`.
    pub(super) listen_everywhere: bool,
    /// Logs its key.
    pub(super) print_key: bool,
    /// Kills itself in the middle of the answer to the n-th chat of a process, counted from 1.
    pub(super) die_in_chat: Option<usize>,
    /// Begins every streamed answer, and goes on after some words when this file exists.
    pub(super) chat_gate: Option<PathBuf>,
    /// Ends with code 0 when a worker has ended.
    pub(super) end_with_worker: bool,
    /// How many bytes it logs at each chat.
    pub(super) noise: usize,
}

/// How a start fails.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Fail {
    pub(super) lines: Vec<String>,
    pub(super) code: i32,
    pub(super) after: After,
}

impl Default for Fail {
    fn default() -> Self {
        Self { lines: Vec::new(), code: 1, after: After::Start }
    }
}

/// When a start fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum After {
    /// At once.
    Start,
    /// When the model is loaded and the gate, if any, is open.
    Stages,
}

/// What never gets an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hang {
    /// `/health`.
    Health,
    /// A chat; `/health` and the list of models are fine.
    Chat,
    /// Nothing: it never gets ready.
    Load,
}

/// A child process of an engine. It outlives its parent, and does nothing.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// Leaves the session and the process group of its parent.
    pub setsid: bool,
    /// Takes another name, and has neither arguments nor an environment.
    pub rename: bool,
    /// Does not keep the log open.
    pub close_output: bool,
}

impl Settings {
    /// A panic if there is something else than settings.
    pub(super) fn from_environment() -> Self {
        let text = env::var(VARIABLE).unwrap_or_else(|_| "{}".to_owned());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{VARIABLE}: {error}"))
    }

    /// As JSON, without what is as it is by default.
    pub(super) fn json(&self) -> String {
        let value = |settings: &Self| serde_json::to_value(settings).expect("settings are JSON");
        let (mut set, default) = (value(self), value(&Self::default()));
        set.as_object_mut().expect("a map").retain(|key, value| *value != default[key]);
        set.to_string()
    }

    /// Without the faults that a restart cures.
    pub(super) fn cured(self) -> Self {
        Self { fail: None, exit_when: None, hang: None, health: None, die_in_chat: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_set_is_written_and_a_typo_is_an_error() {
        assert_eq!(Settings::default().json(), "{}");
        let settings = Settings { hang: Some(Hang::Chat), once: true, ..Settings::default() };
        assert_eq!(settings.json(), r#"{"hang":"chat","once":true}"#);
        assert!(serde_json::from_str::<Settings>(r#"{"hang":"chat","hang_once":true}"#).unwrap().once);
        assert!(serde_json::from_str::<Settings>(r#"{"hangs":"chat"}"#).is_err());
    }
}
