//! Names, ids and keys: the grammars do not overlap, a text that is one prints as it was, and nothing is one that means
//! something to a path, a terminal or an eye.

use mcp_api::{LlmId, LlmKey, LlmName, Nonce, SubjectName, name::check_name, paths};

pub(crate) fn check(bytes: &[u8]) {
    let lossy = String::from_utf8_lossy(bytes);
    one(&lossy);
    // Many names in one input: their beginnings and ends are what is interesting.
    lossy.split(['\n', ' ']).for_each(one);
}

fn one(text: &str) {
    let (name, id) = (text.parse::<LlmName>(), text.parse::<LlmId>());
    assert!(name.is_err() || id.is_err(), "{text:?} is a name and an id");
    let is_id = text.len() == 25 && text.starts_with('c') && text.chars().all(is_base_36);
    assert_eq!(id.is_ok(), is_id, "{text:?}");
    let starts_well = text.starts_with(is_base_36) && text.len() <= 63 && !text.contains("..");
    let is_plain = starts_well && text.chars().all(|c| is_base_36(c) || ['.', '_', '-'].contains(&c));
    assert_eq!(check_name(text).is_ok(), is_plain, "{text:?}");
    assert_eq!(name.is_ok(), is_plain && !is_id, "{text:?}");
    let key = text.parse::<LlmKey>();
    assert_eq!(key.is_ok(), name.is_ok() || id.is_ok(), "{text:?}");
    let subject = text.parse::<SubjectName>();
    let printed = [
        name.as_ref().map(ToString::to_string).ok(),
        id.as_ref().map(ToString::to_string).ok(),
        key.as_ref().map(ToString::to_string).ok(),
        subject.as_ref().map(ToString::to_string).ok(),
        text.parse::<Nonce>().map(|nonce| nonce.to_string()).ok(),
    ];
    for printed in printed.into_iter().flatten() {
        assert_eq!(printed, text, "it prints as something else");
        let is_quiet = text.chars().all(|c| c.is_ascii_graphic());
        assert!(is_quiet && !text.contains(['/', '\\', '%', '?', '#', ';', '&', '"']), "{text:?}");
        assert!(!text.contains("..") && !text.starts_with('.') && !text.starts_with('-'), "{text:?}");
    }
    as_json(text, name.is_ok());
    let path = key.map(|key| paths::llm(&key)).or(subject.map(|name| paths::rbac(&name)));
    if let Ok(path) = path {
        assert_eq!(path.split('/').count(), 5, "{path}");
    }
}

/// What comes as JSON is the same as what is typed.
fn as_json(text: &str, is_name: bool) {
    let json = serde_json::Value::from(text);
    assert_eq!(serde_json::from_value::<LlmName>(json).is_ok(), is_name, "{text:?}");
}

fn is_base_36(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9')
}
