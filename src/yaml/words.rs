//! What parsers say, in the words of somebody who has never heard of them.

use super::nearest;

pub(super) const TAB: &str = "a tab";
/// The parser notices at the next thing, which is most often in the next line.
pub(super) const NO_COLON: &str = "a key without `: ` after it";

/// What the text as YAML does wrong, and what to do about it.
pub(super) fn of_parser(info: &str) -> (String, &'static str) {
    const INDENT: &str = "keys of one mapping begin in one column";
    const QUOTE: &str = "put the value in quotes";
    let (message, label) = match info {
        _ if info.contains("tab") => (TAB, "indent with spaces"),
        _ if info.contains("simple key") || info.contains("expected ':'") => (NO_COLON, "write KEY: VALUE"),
        _ if info.contains("mapping values are not allowed") => (
            "a `: ` where none can be",
            "quote a value that holds one; keys of one mapping begin in one column",
        ),
        _ if info.contains("'-' indicator") || info.contains("expected key") => {
            ("this line does not go with those before it", INDENT)
        }
        _ if info.contains("node content") => ("a value is missing, or a bracket is not closed", ""),
        _ if info.contains("quoted scalar") => ("a quote that is not closed", "close it in the same line"),
        _ if info.contains("',' or '}'") => ("a `,` or a `}` is missing", ""),
        _ if info.contains("',' or ']'") => ("a `,` or a `]` is missing", ""),
        _ if info.contains("misplaced bracket") => ("a bracket that closes nothing", ""),
        _ if info.contains("unexpected character") => ("a value cannot begin like this", QUOTE),
        _ if info.contains("anchor") => ("anchors and aliases are not taken here", "write the value out"),
        _ => {
            // "while parsing a node, did not ...": what the parser was at helps nobody.
            let rest = info.split_once(", ").filter(|(what, _)| what.starts_with("while "));
            return (rest.map_or(info, |(_, rest)| rest).to_owned(), "");
        }
    };
    (message.to_owned(), label)
}

/// serde's message without its types, and without the values that it quotes: one of them might be a secret that stands
/// in the wrong place.
pub(super) fn of_types(message: &str) -> String {
    let mismatch = ["invalid type: ", "invalid value: "].iter().find_map(|it| message.strip_prefix(it));
    if let Some((found, expected)) = mismatch.and_then(|rest| rest.rsplit_once(", expected ")) {
        let expected = expected_in_words(expected);
        let is_number = expected.starts_with("a whole number") && found.starts_with("integer");
        let found = if is_number { "another" } else { found_in_words(found) };
        return format!("expected {expected}, and this is {found}");
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        return format!("{key} is missing");
    }
    match (message.find('"'), message.rfind('"')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}{}", message[..start].trim_end(), &message[end + 1..])
        }
        _ => message.to_owned(),
    }
}

/// What was meant by a word that is none of those that can stand there; a short list is given whole.
pub(super) fn of_choices(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("expected one of: {}", known.join(", ")),
    }
}

fn found_in_words(found: &str) -> &'static str {
    match found.split([' ', '`']).next().unwrap_or_default() {
        "sequence" => "a list",
        "map" => "a mapping",
        "string" | "character" => "a text",
        "integer" => "a number",
        "floating" => "a fraction",
        "boolean" => "true or false",
        "null" | "unit" | "Option" => "nothing",
        _ => "something else",
    }
}

fn expected_in_words(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" => "a mapping",
        "a string" => "a text",
        "a boolean" => "true or false",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        _ if expected.starts_with("struct ") || expected.starts_with("internally tagged ") => "a mapping",
        _ if expected.starts_with("a sequence of ") || expected.starts_with("tuple ") => "a list",
        _ => expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_in_words_and_without_values() {
        for (message, told) in [
            (
                "invalid type: string \"sk-canary\", expected struct Raw",
                "expected a mapping, and this is a text",
            ),
            ("invalid type: integer `5`, expected a sequence", "expected a list, and this is a number"),
            (
                "invalid value: integer `-1`, expected u16",
                "expected a whole number from 0 to 65535, and this is another",
            ),
            (
                "invalid type: map, expected a name or a list of names",
                "expected a name or a list of names, and this is a mapping",
            ),
            ("missing field `model`", "`model` is missing"),
            ("bad \"sk-canary\" here", "bad here"),
        ] {
            assert_eq!(of_types(message), told);
        }
    }
}
