//! The strict look at a text: what stands where, and whether it stays within bounds.

use super::{DUPLICATE, Place, Places, Problem, lines, words};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// Lists and mappings inside each other. The files of this program need five.
const DEPTH_MAX: usize = 32;
/// Characters of a key, and keys and values of a document: ten thousand providers, more than a file of the largest size
/// has room for if they say anything.
const KEY_MAX: usize = 128;
const VALUES_MAX: usize = 150_000;
/// Characters of all paths together: what stands deep inside long keys has a long one.
const PATHS_MAX: usize = 16 << 20;

/// What stands open while a document is walked.
enum Open {
    Sequence { path: String, next: usize },
    Mapping { path: String, seen: HashMap<String, Place>, key: Option<String> },
}

/// Walks a text once.
pub(super) fn look(text: &str) -> Result<Places, Problem> {
    if let Some(problem) = odd_line_break(text) {
        return Err(problem);
    }
    let mut places = Places::default();
    let mut open: Vec<Open> = Vec::new();
    let (mut documents, mut values, mut paths) = (0, 0, 0);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            let (message, label) = words::of_parser(error.info());
            let place = Place { line: mark.line(), column: mark.col() + 1, width: 1 };
            let place = match message.as_str() {
                words::NO_COLON => before(text, place),
                words::TAB => first_tab(text, place),
                _ => place,
            };
            Problem::new(place, message).with_label(label)
        })?;
        let place = place_of(&span);
        if open.len() > DEPTH_MAX {
            return Err(Problem::new(place, format!("more than {DEPTH_MAX} levels of nesting")));
        }
        values += 1;
        if values > VALUES_MAX {
            return Err(Problem::new(place, format!("more than {VALUES_MAX} keys and values")));
        }
        if paths > PATHS_MAX {
            return Err(Problem::new(place, "too much inside of long keys"));
        }
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(Problem::new(place, "a second document; one is expected"));
                }
            }
            Event::Alias(_) => return Err(anchors(place)),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                return Err(anchors(place));
            }
            // In braces and brackets the parser that reads the values takes such a mark for that of a key.
            Event::Scalar(value, ScalarStyle::Plain, ..) if value.starts_with('?') => {
                let problem = Problem::new(place, "a word that begins with `?` is read in more than one way");
                return Err(problem.with_label("write it in quotes"));
            }
            Event::Scalar(value, ..) => {
                if let Some(Open::Mapping { path, seen, key: key @ None }) = open.last_mut() {
                    if value.len() > KEY_MAX {
                        return Err(Problem::new(place, format!("a key of more than {KEY_MAX} characters")));
                    }
                    let full = if path.is_empty() { value.to_string() } else { format!("{path}.{value}") };
                    if let Some(first) = seen.insert(value.to_string(), place) {
                        let label = format!("it stands in line {} already", first.line);
                        return Err(Problem::new(place, format!("{DUPLICATE} `{value}`")).with_label(label));
                    }
                    paths += full.len();
                    places.keys.insert(full, place);
                    *key = Some(value.into_owned());
                } else {
                    let path = value_path(&mut open);
                    paths += path.len();
                    places.values.insert(path, place);
                }
            }
            Event::SequenceStart(..) => {
                let path = value_path(&mut open);
                paths += path.len();
                places.values.insert(path.clone(), place);
                open.push(Open::Sequence { path, next: 0 });
            }
            Event::MappingStart(..) => {
                if matches!(open.last(), Some(Open::Mapping { key: None, .. })) {
                    return Err(Problem::new(place, "a key must be a plain word"));
                }
                let path = value_path(&mut open);
                paths += path.len();
                places.values.insert(path.clone(), place);
                open.push(Open::Mapping { path, seen: HashMap::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }
    Ok(places)
}

/// The parser that reads the values ends lines, and with them comments, where YAML 1.1 did; this look does not. What one
/// of them takes for a comment would be a key for the other.
fn odd_line_break(text: &str) -> Option<Problem> {
    let at = text.find(['\u{85}', '\u{2028}', '\u{2029}'])?;
    let before = &text[..at];
    let line = lines(before).filter(|line| line.ends_with(['\n', '\r'])).count() + 1;
    let column = before.rsplit(['\n', '\r']).next().unwrap_or_default().chars().count() + 1;
    let problem =
        Problem::new(Place { line, column, width: 1 }, "a character that ends a line for some readers only");
    Some(problem.with_label(r#"begin a new line, or write it as "\u2028""#))
}

/// The path of the value that comes now; the level it stands in moves on.
fn value_path(open: &mut [Open]) -> String {
    match open.last_mut() {
        None => String::new(),
        Some(Open::Sequence { path, next }) => {
            *next += 1;
            format!("{path}[{}]", *next - 1)
        }
        Some(Open::Mapping { path, key, .. }) => {
            let key = key.take().unwrap_or_default();
            if path.is_empty() { key } else { format!("{path}.{key}") }
        }
    }
}

/// The last line with something in it before this one.
fn before(text: &str, place: Place) -> Place {
    let lines = lines(text).enumerate().take(place.line.saturating_sub(1));
    let said = lines.filter(|(_, line)| !matches!(line.trim_start().chars().next(), None | Some('#')));
    said.last().map_or(place, |(at, line)| {
        let indent = line.chars().take_while(|c| matches!(c, ' ' | '-')).count();
        let width = line.trim_end().chars().count().saturating_sub(indent).max(1);
        Place { line: at + 1, column: indent + 1, width }
    })
}

/// The first line from there on that is indented with a tab.
fn first_tab(text: &str, place: Place) -> Place {
    let mut lines = lines(text).enumerate().skip(place.line.saturating_sub(1));
    let at = lines
        .find_map(|(at, line)| Some((at, line.find('\t').filter(|tab| line[..*tab].trim().is_empty())?)));
    at.map_or(place, |(line, column)| Place { line: line + 1, column: column + 1, width: 1 })
}

fn anchors(place: Place) -> Problem {
    Problem::new(place, "anchors and aliases are not taken here").with_label("write the value out")
}

fn place_of(span: &Span) -> Place {
    let one_line = span.start.line() == span.end.line();
    let width = if one_line { span.end.col().saturating_sub(span.start.col()).max(1) } else { 1 };
    Place { line: span.start.line(), column: span.start.col() + 1, width }
}
