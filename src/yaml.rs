//! YAML with positions: a strict look at the text before serde sees it, and errors that point into it.
//!
//! Refused, in bounded time and memory: several documents where one is expected, keys that come twice, anchors and
//! aliases (an alias bomb needs them, nobody else here does), deep nesting, and more keys than anybody writes.

mod look;
mod mistakes;
mod show;
mod words;

pub use mistakes::Mistakes;

use crate::render::{escape_lines, unobeyed};
use look::look;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::HashMap, fmt};

/// A place in a text: line and column count from 1, the width in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// How many characters are meant.
    pub width: usize,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
    /// What to do about it; stands beside the caret.
    pub label: String,
}

impl Problem {
    /// A problem without advice.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), label: String::new() }
    }

    /// The problem with advice.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place.line, self.place.column, self.message)
    }
}

/// Where the values of a document stand: paths such as `providers[0].failoverFor`.
#[derive(Debug, Default)]
pub struct Places {
    keys: HashMap<String, Place>,
    values: HashMap<String, Place>,
}

/// How the message about a key begins that comes twice.
const DUPLICATE: &str = "duplicate key";

const START: Place = Place { line: 1, column: 1, width: 1 };

impl Places {
    /// Where the key at the end of a path stands; the value where it has no key.
    #[must_use]
    pub fn key(&self, path: &str) -> Place {
        self.keys.get(path).copied().unwrap_or_else(|| self.value(path))
    }

    /// Where the value of a path stands.
    #[must_use]
    pub fn value(&self, path: &str) -> Place {
        self.find(path).unwrap_or(START)
    }

    /// Leaves a key out of account: it was read already.
    pub fn forget_key(&mut self, path: &str) {
        self.keys.remove(path);
    }

    /// The paths of all values.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    fn find(&self, path: &str) -> Option<Place> {
        self.values.get(path).copied()
    }

    /// The keys that mappings at this path have and should not, in the order of the text; `providers[0]` stands for all
    /// entries of that list.
    fn unknown_keys(&self, path: &str, known: &[&str]) -> Vec<Problem> {
        let sort = without_numbers(path);
        let key_of = |full: &str| {
            let (inside, key) = full.rsplit_once('.').unwrap_or(("", full));
            (without_numbers(inside) == sort && !known.contains(&key)).then(|| key.to_owned())
        };
        let mut found: Vec<Problem> = self
            .keys
            .iter()
            .filter_map(|(full, place)| Some(unknown_key(*place, &key_of(full)?, known)))
            .collect();
        found.sort_by_key(|problem| problem.place);
        found
    }
}

/// Reads one document, or says what is wrong with it: all that can be found at once.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<(T, Places), Vec<Problem>> {
    let places = look(text).map_err(|problem| vec![problem])?;
    match serde_yaml::from_str(text) {
        Ok(value) => Ok((value, places)),
        Err(error) => Err(from_serde(text, &error, &places)),
    }
}

/// A value as YAML that [`from_str`] reads back, and in which nothing stands that a terminal would obey.
#[must_use]
pub fn to_string<T: Serialize>(value: &T) -> String {
    let text = serde_yaml::to_string(value).unwrap_or_default();
    if text == escape_lines(&text) && look(&text).is_ok() {
        return text;
    }
    // What writes YAML leaves such a character as it is, and a word such as `?4` without quotes. JSON is YAML too, and
    // has an escape for the one and quotes for the other.
    let json = serde_json::to_string_pretty(value).unwrap_or_default();
    unobeyed(&json) + "\n"
}

/// `providers[0].env` -> `providers[].env`.
fn without_numbers(path: &str) -> String {
    path.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// A text without the byte order mark that some editors put before it.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Splits a text at its document markers; gives each document with the number of lines before it.
///
/// Lines that start a block scalar's content cannot be `---` at column 1, so a line-wise split is exact.
#[must_use]
pub fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut start, mut first_line) = (0, 0);
    let mut offset = 0;
    for (number, line) in lines(text).enumerate() {
        let bare = line.trim_end();
        if bare == "---" || bare.starts_with("--- ") {
            found.push((first_line, &text[start..offset]));
            start = offset + 3;
            first_line = number;
        }
        offset += line.len();
    }
    found.push((first_line, &text[start..]));
    found.retain(|(_, document)| {
        lines(document).any(|line| !matches!(line.trim_start().chars().next(), None | Some('#')))
    });
    found
}

/// The lines of a text with their ends, which are LF, CR LF or CR: what YAML takes for one, and counts.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = match rest.find(['\n', '\r']) {
            Some(at) if rest[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let (line, after) = rest.split_at(end);
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

fn from_serde(text: &str, error: &serde_yaml::Error, places: &Places) -> Vec<Problem> {
    let full = error.to_string();
    let at = error.location();
    let message = at.as_ref().map_or(full.as_str(), |at| {
        let tail = format!(" at line {} column {}", at.line(), at.column());
        full.find(&tail).map_or(full.as_str(), |end| &full[..end])
    });
    let place = at.map_or(START, |at| {
        let width = word_width(text, at.line(), at.column());
        Place { line: at.line().max(1), column: at.column().max(1), width }
    });
    // "providers[0].port: invalid type": what has a path has a better place.
    match message.split_once(": ") {
        Some((path, rest)) if !path.contains([' ', '`']) => from_message(rest, path, places, place),
        Some(_) | None => from_message(message, "", places, place),
    }
}

/// The problems behind a message of serde about the value of a path. A key that a mapping does not have is looked for in
/// all mappings of its sort. `place` is for those whose path nobody knows.
pub fn from_message(message: &str, path: &str, places: &Places, place: Place) -> Vec<Problem> {
    match message.split('`').collect::<Vec<_>>()[..] {
        ["unknown field ", field, _, ref known @ ..] => {
            let known: Vec<&str> = known.iter().copied().step_by(2).collect();
            // The path of an unknown field ends with it, or with what it stands in.
            let inside = path.strip_suffix(field).map_or(path, |inside| inside.trim_end_matches('.'));
            let found = places.unknown_keys(inside, &known);
            if found.is_empty() { vec![unknown_key(place, field, &known)] } else { found }
        }
        ["unknown variant ", word, _, ref known @ ..] => {
            let known: Vec<&str> = known.iter().copied().step_by(2).collect();
            let problem = Problem::new(places.find(path).unwrap_or(place), "unknown word");
            vec![problem.with_label(words::of_choices(word, &known))]
        }
        _ => {
            let problem = Problem::new(places.find(path).unwrap_or(place), words::of_types(message));
            vec![problem]
        }
    }
}

/// An unknown key, with the nearest known one beside it.
#[must_use]
pub fn unknown_key(place: Place, unknown: &str, known: &[&str]) -> Problem {
    Problem::new(place, format!("unknown field `{unknown}`")).with_label(words::of_choices(unknown, known))
}

/// The known word that was most likely meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&word, &known.to_lowercase());
    let one_slip = |known: &str| strsim::damerau_levenshtein(&word, &known.to_lowercase()) <= 1;
    // What is one slip away goes before what is only like it.
    let order =
        |a: &&&str, b: &&&str| one_slip(a).cmp(&one_slip(b)).then(likeness(a).total_cmp(&likeness(b)));
    let best = known.iter().max_by(order)?;
    (one_slip(best) || likeness(best) > 0.85).then_some(*best)
}

fn word_width(text: &str, line: usize, column: usize) -> usize {
    let line = lines(text).nth(line.saturating_sub(1)).unwrap_or_default().trim_end();
    let width =
        line.chars().skip(column.saturating_sub(1)).take_while(|c| !matches!(c, ':' | ',' | ' ')).count();
    width.max(1)
}

#[cfg(test)]
mod tests;
