//! A list, in every format. A terminal that is too narrow for a table without broken words gets a block of lines for
//! each row instead; a pipe is never wrapped.

use super::{Format, Item, document, document_text, plain};
use crate::yaml;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

/// What stands between two columns.
const GAP: u16 = 2;
/// The least that text in the last column needs to be read, in characters, with its gap.
const TEXT_LEAST: u16 = 40;

/// The titles of a list's columns.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// What every table shows.
    pub usual: &'static [&'static str],
    /// What only the wide format shows; it comes last.
    pub wide: &'static [&'static str],
}

/// How a list is shown, decided before there is one.
#[derive(Debug, Clone)]
pub struct View {
    format: Format,
    columns: Columns,
    /// Which columns, in which order.
    shown: Vec<usize>,
    headers: bool,
    width: Option<u16>,
}

/// A list that can be shown in all formats.
#[derive(Debug)]
pub struct Listing<T> {
    /// How it is shown.
    pub view: View,
    /// The rows.
    pub rows: Vec<Row<T>>,
}

/// One row of a list.
#[derive(Debug)]
pub struct Row<T> {
    /// What the format `name` shows.
    pub name: String,
    /// A cell for each column, the wide ones included.
    pub cells: Vec<String>,
    /// The same as a document.
    pub document: T,
}

/// A list has no such column.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no column \"{}\"{}; there are: {}", name.escape_debug(), near.map_or(String::new(), |near| format!(" (did you mean {near}?)")), known.join(", "))]
pub struct UnknownColumn {
    name: String,
    near: Option<&'static str>,
    known: Vec<&'static str>,
}

impl Columns {
    fn titles(self) -> impl Iterator<Item = &'static str> {
        self.usual.iter().chain(self.wide).copied()
    }

    /// A column by its title, as tables or CSV write it.
    fn find(self, name: &str) -> Result<usize, UnknownColumn> {
        let wanted = csv_title(name.trim());
        self.titles().position(|title| csv_title(title) == wanted).ok_or_else(|| {
            let known: Vec<_> = self.titles().collect();
            let near = yaml::nearest(&wanted.replace('_', " "), &known);
            UnknownColumn { name: name.to_owned(), near, known }
        })
    }
}

impl View {
    /// All columns that the format has.
    #[must_use]
    pub fn new(format: Format, columns: Columns) -> Self {
        let all = columns.usual.len() + columns.wide.len();
        let shown = match format {
            Format::Wide | Format::Csv => all,
            Format::Text
            | Format::Raw
            | Format::Table
            | Format::Json
            | Format::Yaml
            | Format::Jsonl
            | Format::Name => columns.usual.len(),
        };
        Self { format, columns, shown: (0..shown).collect(), headers: true, width: None }
    }

    /// Only these columns, in this order.
    pub fn with_columns(mut self, names: &[String]) -> Result<Self, UnknownColumn> {
        self.shown = names.iter().map(|name| self.columns.find(name)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Without the line of titles.
    #[must_use]
    pub fn without_headers(mut self) -> Self {
        self.headers = false;
        self
    }

    /// For a terminal of this width.
    #[must_use]
    pub fn within(mut self, width: Option<u16>) -> Self {
        self.width = width;
        self
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    fn titles(&self) -> Vec<&'static str> {
        let all: Vec<_> = self.columns.titles().collect();
        self.shown.iter().filter_map(|at| all.get(*at).copied()).collect()
    }
}

impl<T: Item> Listing<T> {
    /// The list as text. Ends with a newline, unless it is empty.
    #[must_use]
    pub fn text(&self) -> String {
        match self.view.format {
            Format::Text | Format::Raw | Format::Table | Format::Wide => self.table(),
            Format::Json | Format::Yaml => document_text(&self.document(), self.view.format),
            Format::Jsonl => {
                self.rows.iter().map(|row| document_text(&json!(row.document), Format::Jsonl)).collect()
            }
            Format::Name => self.rows.iter().map(|row| format!("{}\n", plain(&row.name))).collect(),
            Format::Csv => self.csv(),
        }
    }

    fn document(&self) -> Value {
        let items: Vec<&T> = self.rows.iter().map(|row| &row.document).collect();
        document(T::LIST, json!({ "items": items }))
    }

    /// The cells of the columns that are shown.
    fn cells(&self) -> impl Iterator<Item = Vec<String>> {
        let cell = |row: &Row<T>, at: usize| row.cells.get(at).map_or(String::new(), |cell| plain(cell));
        self.rows.iter().map(move |row| self.view.shown.iter().map(|at| cell(row, *at)).collect())
    }

    fn table(&self) -> String {
        let or_dash = |cell: String| if cell.is_empty() { "-".to_owned() } else { cell };
        let rows: Vec<Vec<String>> =
            self.cells().map(|cells| cells.into_iter().map(or_dash).collect()).collect();
        let titles = self.view.titles();
        // Without titles a block of lines would not say what is what.
        match self.view.width.filter(|_| self.view.headers && !rows.is_empty()) {
            None => aligned(self.view.headers.then_some(&titles), &rows),
            Some(width) => wrapped(&titles, &rows, width).unwrap_or_else(|| blocks(&titles, &rows)),
        }
    }

    fn csv(&self) -> String {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let titles = self.view.headers.then(|| self.view.titles().into_iter().map(csv_title).collect());
        let rows = self.cells().map(|cells| cells.into_iter().map(no_formula).collect());
        for record in titles.into_iter().chain(rows) {
            // Memory takes everything, and all records are of one length.
            let _ = csv.write_record::<Vec<String>, _>(record);
        }
        csv.into_inner().map_or(String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// `LOCAL PROVIDER`, as a program would rather have it.
fn csv_title(title: &str) -> String {
    title.to_lowercase().replace([' ', '-'], "_")
}

/// What would be a formula to a spreadsheet gets a quote before it.
fn no_formula(cell: String) -> String {
    let begins_one = cell.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if begins_one { format!("'{cell}") } else { cell }
}

/// Columns as wide as what stands in them.
fn aligned(titles: Option<&Vec<&'static str>>, rows: &[Vec<String>]) -> String {
    let mut table = bare();
    if let Some(titles) = titles {
        table.set_header(titles);
    }
    table.add_rows(rows);
    lines(table)
}

/// Columns that break between words to fit. Only the last one, where text stands, may break a word that is longer than
/// what is left for it, such as a path; none if that is too little.
fn wrapped(titles: &[&'static str], rows: &[Vec<String>], width: u16) -> Option<String> {
    let mut table = bare();
    // The gap after the last column is cut off again.
    let width = width.saturating_add(GAP);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(titles).add_rows(rows);
    let mut left = width;
    for (at, title) in titles.iter().enumerate() {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(String::as_str);
        let words = cells.chain([*title]).flat_map(str::split_whitespace);
        let longest = u16::try_from(words.map(UnicodeWidthStr::width).max().unwrap_or_default()).ok()?;
        let wanted = longest.saturating_add(GAP);
        let least = if at + 1 == titles.len() { wanted.min(left.max(TEXT_LEAST)) } else { wanted };
        let column = table.column_mut(at)?;
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
        left = left.checked_sub(least)?;
    }
    Some(lines(table))
}

/// A block of lines for each row.
fn blocks(titles: &[&'static str], rows: &[Vec<String>]) -> String {
    let block = |row: &Vec<String>| {
        let mut table = bare();
        table.add_rows(titles.iter().zip(row).map(|(title, cell)| [*title, cell]));
        lines(table)
    };
    let blocks: Vec<String> = rows.iter().map(block).collect();
    blocks.join("\n")
}

fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// The table as text, without spaces at the ends of lines.
fn lines(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests;
