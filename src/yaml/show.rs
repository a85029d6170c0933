//! A problem as a terminal shows it.

use super::{Place, Problem, nearest};
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

/// Shows a problem with its source line and a caret, and with the line before it.
///
/// Of a line whose value could be a secret, only what stands before the value is shown.
#[must_use]
pub fn render(problem: &Problem, name: &str, text: &str) -> String {
    let Place { line, column, width } = problem.place;
    let before = line.saturating_sub(2);
    let lines: Vec<String> = text.lines().skip(before).take(line - before).map(masked).collect();
    let source = lines.join("\n");
    let line_start: usize = lines[..lines.len().saturating_sub(1)].iter().map(|line| line.len() + 1).sum();
    let last = lines.last().map(String::as_str).unwrap_or_default();
    let byte = |chars: usize| line_start + last.char_indices().nth(chars).map_or(last.len(), |(at, _)| at);
    let span = byte(column - 1)..byte(column - 1 + width).max(byte(column - 1));
    let snippet = Snippet::source(&source)
        .path(name)
        .line_start(before + 1)
        .fold(false)
        .annotation(AnnotationKind::Primary.span(span).label(&problem.label));
    Renderer::plain().render(&[Level::ERROR.primary_title(&problem.message).element(snippet)])
}

fn masked(line: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    let line: String = line.chars().map(plain).take(400).collect();
    let start = line.len() - line.trim_start_matches([' ', '-', '\t']).len();
    let Some((key, _)) = line[start..].split_once(':') else { return format!("{}...", &line[..start]) };
    let is_plain = PLAIN_KEYS.contains(&key) || nearest(key, PLAIN_KEYS).is_some();
    if is_plain { line } else { format!("{}{key}: ...", &line[..start]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k03_only_values_of_plain_keys_are_shown() {
        let lines = [
            "    failoverfor: chat-prod",
            "  - name: a",
            "    apiKey: x",
            "    - sk-x",
            "",
            "  type: openai",
        ];
        let shown = [
            "    failoverfor: chat-prod",
            "  - name: a",
            "    apiKey: ...",
            "    - ...",
            "...",
            "  type: openai",
        ];
        assert_eq!(lines.map(masked), shown.map(str::to_owned));
    }
}
