//! Tables and documents, as values: what is shown is made here and printed elsewhere.

mod listing;

pub use listing::{Columns, Listing, Row, UnknownColumn, View};

use crate::yaml;
use clap::ValueEnum;
use mcp_api::document::API_VERSION;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The text of an answer.
    Text,
    /// Columns for people.
    Table,
    /// More columns for people.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// One JSON document a line.
    Jsonl,
    /// Names only, one a line.
    Name,
    /// Comma-separated values.
    Csv,
    /// The text of an answer as it is, nothing added and nothing escaped.
    Raw,
}

/// A document of `-o json`. It is an API: its schema is shipped in `schemas/`, made from the type by
/// [`crate::schemas`].
pub trait Document: Serialize + JsonSchema {
    /// The `kind` that it says it is.
    const KIND: &'static str;
}

/// One of many, which are shown as a list.
pub trait Item: Serialize + JsonSchema {
    /// The `kind` of the list.
    const LIST: &'static str;
}

/// A document as a value, its version and kind in front.
#[must_use]
pub fn envelope<D: Document>(content: &D) -> Value {
    document(D::KIND, json!(content))
}

/// A document with its version and kind in front.
#[must_use]
pub fn document(kind: &str, content: Value) -> Value {
    let mut document = json!({ "apiVersion": API_VERSION, "kind": kind });
    if let (Some(document), Value::Object(content)) = (document.as_object_mut(), content) {
        document.extend(content);
    }
    document
}

/// A document as JSON or YAML. Ends with a newline.
#[must_use]
pub fn document_text(document: &Value, format: Format) -> String {
    match format {
        Format::Yaml => yaml::to_string(document),
        Format::Json
        | Format::Text
        | Format::Table
        | Format::Wide
        | Format::Name
        | Format::Csv
        | Format::Raw => unobeyed(&format!("{document:#}\n")),
        Format::Jsonl => unobeyed(&format!("{document}\n")),
    }
}

/// JSON in which nothing stands that a terminal would obey. It writes most of that as escapes of its own; so is the rest
/// here, which means the same.
#[must_use]
pub fn unobeyed(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if (c.is_control() && c != '\n') || is_layout(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// A text from outside without anything that a terminal would obey.
///
/// Controls become the replacement character; line breaks and tabs are kept by [`escape_lines`] only.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_layout(c) { '\u{fffd}' } else { c }).collect()
}

/// The same for text of several lines.
#[must_use]
pub fn escape_lines(text: &str) -> String {
    let keep = |c: char| matches!(c, '\n' | '\t');
    text.chars().map(|c| if (c.is_control() && !keep(c)) || is_layout(c) { '\u{fffd}' } else { c }).collect()
}

/// Characters that turn the direction of what follows, and can hide it; and those that end a line for some readers.
fn is_layout(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_json_for_a_terminal_means_the_same() {
        let odd = json!({ "a": "\u{1b}[31m \u{7f} \u{9b}31m \u{202e} \u{2028} \u{2066} é 漢 🦀\n" });
        for format in [Format::Json, Format::Jsonl, Format::Yaml] {
            let text = document_text(&odd, format);
            assert_eq!(text, escape_lines(&text), "{text}");
            assert_eq!(serde_yaml::from_str::<Value>(&text).unwrap(), odd);
        }
    }

    #[test]
    fn s10_nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(plain("a\x1b[31mb\u{202e}c\nd"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
        assert_eq!(escape_lines("a\x1b]0;x\x07\nb\t"), "a\u{fffd}]0;x\u{fffd}\nb\t");
    }
}
