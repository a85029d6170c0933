//! A problem as a terminal shows it.

use super::{Place, Problem, lines};
use crate::render::{escape_lines, plain};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Keys whose values can be shown: none of them can hold a secret.
const PLAIN_KEYS: &[&str] = &[
    "apiVersion",
    "contextSize",
    "failoverFor",
    "gpuMemoryUtilization",
    "idleTimeoutMinutes",
    "kind",
    "maxModelLen",
    "model",
    "name",
    "port",
    "providers",
    "startTimeoutSeconds",
    "type",
];

/// So many characters of a line are shown.
const LINE_MAX: usize = 400;

/// Shows a problem with its source line and a caret, and with the line before it.
///
/// Of a line whose value could be a secret, only what stands before the value is shown.
#[must_use]
pub(super) fn render(problem: &Problem, name: &str, text: &str, in_colour: bool) -> String {
    let Place { line, column, width } = problem.place;
    let before = line.saturating_sub(2);
    let mut lines: Vec<String> = lines(text).skip(before).take(line - before).map(masked).collect();
    // What is hidden keeps its place, so that the caret and the column are right.
    if let Some(last) = lines.last_mut() {
        let shown = column.min(LINE_MAX);
        *last = format!("{last:shown$}");
    }
    let source = lines.join("\n");
    let line_start: usize = lines[..lines.len().saturating_sub(1)].iter().map(|line| line.len() + 1).sum();
    let last = lines.last().map(String::as_str).unwrap_or_default();
    let byte = |chars: usize| line_start + last.char_indices().nth(chars).map_or(last.len(), |(at, _)| at);
    let span = byte(column - 1)..byte(column - 1 + width).max(byte(column - 1));
    // What comes from outside is made harmless before it is painted.
    let (name, message, label) = (plain(name), plain(&problem.message), plain(&problem.label));
    let snippet = Snippet::source(&source)
        .path(&name)
        .line_start(before + 1)
        .fold(false)
        .annotation(AnnotationKind::Primary.span(span).label(&label));
    let renderer = if in_colour { Renderer::styled() } else { Renderer::plain() };
    let shown = renderer.render(&[Level::ERROR.primary_title(&message).element(snippet)]);
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn masked(line: &str) -> String {
    let line: String = escape_lines(line.trim_end_matches(['\n', '\r'])).chars().take(LINE_MAX).collect();
    let start = line.len() - line.trim_start_matches([' ', '-', '\t']).len();
    let Some((key, value)) = line[start..].split_once(':') else { return format!("{}...", &line[..start]) };
    if is_plain(key) && !has_keys(value) { line } else { format!("{}{key}: ...", &line[..start]) }
}

/// Whether keys may stand in a value, whose own values are another matter.
fn has_keys(value: &str) -> bool {
    value.contains(['{', '?'])
        || value.split(':').skip(1).any(|after| !after.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// A slip of the pen is forgiven, a likeness is not: `contextToken` is like `contextSize`.
fn is_plain(key: &str) -> bool {
    let key = key.trim_matches('"').to_lowercase();
    let slips = if key.len() > 4 { 2 } else { 1 };
    PLAIN_KEYS.iter().any(|plain| strsim::damerau_levenshtein(&key, &plain.to_lowercase()) <= slips)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_is_right_although_the_value_is_hidden() {
        let text = "labels: { team: sk-canary, x: y }\n";
        for (column, place) in [(17, "f:1:17\n"), (28, "f:1:28\n"), (70_000, "f:1:401\n")] {
            let problem = Problem::new(Place { line: 1, column, width: 9 }, "no");
            let shown = render(&problem, "f", text, false);
            assert!(shown.contains(place) && !shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn k03_only_values_of_plain_keys_are_shown() {
        let lines = [
            "    failoverfor: chat-prod",
            "  - name: a",
            "    apiKey: x",
            "    - sk-x",
            "",
            "  type: openai",
            "  contextToken: x",
            "  key: x",
            "  pat: x",
            "  - {name: a, apiKey: sk-x}",
            "providers: [{name: a, env: {T: sk-x}}]",
            "  failoverFor: [a, {\"key\":\"sk-x\"}]",
            "  name: a # key: sk-x",
            "  model: org/name:Q4",
            "\"type\":\"openai\",\"key\":\"sk-x\"",
        ];
        let shown = [
            "    failoverfor: chat-prod",
            "  - name: a",
            "    apiKey: ...",
            "    - ...",
            "...",
            "  type: openai",
            "  contextToken: ...",
            "  key: ...",
            "  pat: ...",
            "  - {name: ...",
            "providers: ...",
            "  failoverFor: ...",
            "  name: ...",
            "  model: org/name:Q4",
            "\"type\": ...",
        ];
        assert_eq!(lines.map(masked), shown.map(str::to_owned));
    }
}
