//! A change of many things that ended at one of them.

use super::report::Report;
use crate::{
    cmd::Failure,
    documents::{Key, Source},
    failover::CallFailure,
};
use serde_json::{Map, Value, json};
use std::fmt;

/// So many names are told; whoever wants all of them asks for `-o json`.
const NAMED_MAX: usize = 8;

/// What failed, what was done before it, and what was not done.
#[derive(Debug)]
pub(in crate::cmd) struct Halted {
    source: Option<Source>,
    key: Key,
    done: Vec<Value>,
    left: Vec<Key>,
    failure: Failure,
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
        Self { source: source.cloned(), key, done: report.into_items(), left, failure: Failure(failure) }
    }

    /// The call that failed.
    pub(in crate::cmd) fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Lines below the error.
    pub(in crate::cmd) fn hints(&self) -> Vec<String> {
        let done: Vec<String> = self.done.iter().map(done_in_words).collect();
        let left: Vec<String> = self.left.iter().map(Key::to_string).collect();
        vec![format!("done: {}", some_of(&done)), format!("not done: {}", some_of(&left))]
    }

    /// What a document about the error holds beside its message.
    pub(in crate::cmd) fn document(&self) -> Map<String, Value> {
        let left: Vec<String> = self.left.iter().map(Key::to_string).collect();
        let mut content = Map::new();
        content.insert("done".into(), json!(self.done));
        content.insert("notDone".into(), json!(left));
        content
    }
}

fn done_in_words(item: &Value) -> String {
    let word = |field: &str| item[field].as_str().unwrap_or_default();
    format!("{}/{} {}", word("kind").to_lowercase(), word("name"), word("action"))
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
