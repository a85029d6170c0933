//! Tables and documents, as values: what is shown is made here and printed elsewhere.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
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

/// A list that can be shown in all formats.
#[derive(Debug)]
pub struct Listing<T = Value> {
    /// The `kind` of the document.
    pub kind: &'static str,
    /// Titles of the columns.
    pub columns: &'static [&'static str],
    /// Titles of the columns that only the wide format has; they come last.
    pub wide: &'static [&'static str],
    /// The rows.
    pub rows: Vec<Row<T>>,
}

/// One row of a list.
#[derive(Debug)]
pub struct Row<T = Value> {
    /// What the format `name` shows.
    pub name: String,
    /// A cell for each column, the wide ones included.
    pub cells: Vec<String>,
    /// The same as a document.
    pub document: T,
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
        Format::Yaml => serde_yaml::to_string(document).unwrap_or_default(),
        Format::Json | Format::Text | Format::Table | Format::Wide | Format::Name | Format::Csv => {
            format!("{document:#}\n")
        }
        Format::Jsonl => format!("{document}\n"),
    }
}

impl<T: Serialize> Listing<T> {
    /// The list in a format. Ends with a newline, unless it is empty.
    #[must_use]
    pub fn text(&self, format: Format) -> String {
        match format {
            Format::Text | Format::Table => self.table(self.columns.len()),
            Format::Wide => self.table(self.columns.len() + self.wide.len()),
            Format::Json | Format::Yaml => document_text(&self.document(), format),
            Format::Jsonl => self.rows.iter().map(|row| format!("{}\n", json!(row.document))).collect(),
            Format::Name => self.rows.iter().map(|row| format!("{}\n", row.name)).collect(),
            Format::Csv => self.csv(),
        }
    }

    fn document(&self) -> Value {
        let items: Vec<&T> = self.rows.iter().map(|row| &row.document).collect();
        document(self.kind, json!({ "items": items }))
    }

    fn titles(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().chain(self.wide).copied()
    }

    fn table(&self, columns: usize) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.titles().take(columns));
        for row in &self.rows {
            table.add_row(
                row.cells
                    .iter()
                    .take(columns)
                    .map(|cell| if cell.is_empty() { "-".into() } else { plain(cell) }),
            );
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let text = table.to_string();
        let trimmed: Vec<&str> = text.lines().map(str::trim_end).collect();
        trimmed.join("\n") + "\n"
    }

    fn csv(&self) -> String {
        let titles: Vec<String> = self.titles().map(|title| title.to_lowercase().replace(' ', "_")).collect();
        let mut text = titles.join(",") + "\n";
        for row in &self.rows {
            let cells: Vec<String> = row.cells.iter().map(|cell| csv_cell(cell)).collect();
            text += &(cells.join(",") + "\n");
        }
        text
    }
}

/// Quoted where RFC 4180 wants it; a leading `= + - @` would be a formula to a spreadsheet and gets a quote before it.
fn csv_cell(cell: &str) -> String {
    let cell = plain(cell);
    let safe = if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell };
    if safe.contains([',', '"', '\'']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

/// A text from outside without anything that a terminal would obey.
///
/// Controls become the replacement character; line breaks and tabs are kept by [`escape_lines`] only.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_bidi(c) { '\u{fffd}' } else { c }).collect()
}

/// The same for text of several lines.
#[must_use]
pub fn escape_lines(text: &str) -> String {
    let keep = |c: char| matches!(c, '\n' | '\t');
    text.chars().map(|c| if (c.is_control() && !keep(c)) || is_bidi(c) { '\u{fffd}' } else { c }).collect()
}

/// Characters that turn the direction of what follows, and can hide it.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let row = |name: &str, model: &str| Row {
            name: name.into(),
            cells: vec![name.into(), model.into(), "x".into()],
            document: json!({ "name": name }),
        };
        let rows = vec![row("chat-prod", "gpt-5-mini"), row("a", "=cmd|'/c calc'!A1"), row("b", "")];
        Listing { kind: "LlmList", columns: &["NAME", "MODEL"], wide: &["MORE"], rows }
    }

    #[test]
    fn a_table_has_no_frame_and_no_trailing_spaces() {
        let text = listing().text(Format::Table);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME       MODEL");
        assert_eq!(lines[1], "chat-prod  gpt-5-mini");
        assert_eq!(lines[3], "b          -");
        assert!(listing().text(Format::Wide).starts_with("NAME       MODEL              MORE\n"));
    }

    #[test]
    fn csv_is_safe_for_spreadsheets() {
        let text = listing().text(Format::Csv);
        assert!(text.starts_with("name,model,more\nchat-prod,gpt-5-mini,x\n"), "{text}");
        assert!(text.contains("a,\"'=cmd|'/c calc'!A1\",x\n"), "{text}");
    }

    #[test]
    fn s10_nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(plain("a\x1b[31mb\u{202e}c\nd"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
        assert_eq!(escape_lines("a\x1b]0;x\x07\nb\t"), "a\u{fffd}]0;x\u{fffd}\nb\t");
    }
}
