//! What reads bytes of others and is private elsewhere, as plain functions: `mcp-fuzz` calls them with bytes that nobody
//! would write. Nothing of the client uses this.

use crate::{
    journal::{Event, Past, history},
    yaml,
};
use serde_json::Value;
use std::{collections::BTreeSet, io};

/// A text of YAML as the parser reads it, and the paths of the values that the strict look before it has found.
pub fn yaml(text: &str) -> Option<(Value, BTreeSet<String>)> {
    let (value, places) = yaml::from_str::<Value>(text).ok()?;
    Some((value, places.paths().map(str::to_owned).collect()))
}

/// What is made of a file of past failovers that holds this.
pub fn journal(bytes: &[u8]) -> io::Result<Past> {
    let mut past = Past::default();
    past.take(bytes, None)?;
    past.put_in_order();
    Ok(past)
}

/// The line of an event, as it is added to such a file.
pub fn journal_line(event: &Event) -> io::Result<String> {
    history::line(event)
}
