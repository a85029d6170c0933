//! A change of many things that ended at one of them.

use super::report::{Changed, Report};
use crate::{
    cmd::Failure,
    documents::{Key, Source},
    failover::CallFailure,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// So many names are told; whoever wants all of them asks for `-o json`.
const NAMED_MAX: usize = 8;

/// What failed, what was done before it, and what was not done.
#[derive(Debug)]
pub(in crate::cmd) struct Halted {
    source: Option<Source>,
    key: Key,
    done: Vec<Changed>,
    left: Vec<Key>,
    failure: Failure,
    /// What was most likely meant by what failed.
    meant: Option<String>,
}

impl Halted {
    /// `left` begins with the one that failed.
    pub(in crate::cmd) fn new(
        source: Option<&Source>,
        key: Key,
        report: Report,
        left: Vec<Key>,
        failure: CallFailure,
    ) -> Self {
        Self {
            source: source.cloned(),
            key,
            done: report.into_items(),
            left,
            failure: Failure(failure),
            meant: None,
        }
    }

    /// Adds what was most likely meant.
    #[must_use]
    pub(in crate::cmd) fn or_meant(self, meant: Option<String>) -> Self {
        Self { meant, ..self }
    }

    /// The call that failed.
    pub(in crate::cmd) fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Lines below the error.
    pub(in crate::cmd) fn hints(&self) -> Vec<String> {
        let done: Vec<String> = self.done.iter().map(Changed::to_string).collect();
        let left: Vec<String> = self.left.iter().map(Key::to_string).collect();
        let meant = self.meant.as_ref().map(|meant| format!("did you mean {meant}?"));
        let done = [format!("done: {}", some_of(&done)), format!("not done: {}", some_of(&left))];
        meant.into_iter().chain(done).collect()
    }

    /// What a document about the error holds beside its message.
    pub(in crate::cmd) fn detail(&self) -> HaltedDetail<'_> {
        HaltedDetail { done: &self.done, not_done: self.left.iter().map(Key::to_string).collect() }
    }
}

/// What the document of an error has beside the message if a change of many things ended at one of them.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cmd) struct HaltedDetail<'a> {
    /// What was done before it.
    done: &'a [Changed],
    /// What was not done, as KIND/NAME; the first is what failed.
    not_done: Vec<String>,
}

fn some_of(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".into();
    }
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

impl fmt::Display for Halted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{source}: {}", self.key),
            None => self.key.fmt(f),
        }
    }
}

impl std::error::Error for Halted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.failure)
    }
}
