//! Documents of administration: what is accepted is written and read back as the same, what is refused is told without
//! anything that a terminal would obey. And JSON that says everything once.

use mcp_api::strict_json;
use mcpctl::{documents, render};
use serde_json::Value;
use std::collections::HashSet;

pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    json(&text);
    match documents::read("documents.yaml", &text) {
        Ok(found) => {
            let written: Vec<String> = found.iter().map(|it| documents::text(&it.document)).collect();
            let back = documents::read("back.yaml", &written.join("---\n"));
            let Ok(back) = back else { panic!("what was written is not read back: {written:?}") };
            assert!(
                found.iter().map(|it| &it.document).eq(back.iter().map(|it| &it.document)),
                "what is read back is something else: {written:?}"
            );
            let count = found.len();
            if let Ok(ordered) = documents::in_order(found) {
                let keys: HashSet<_> = ordered.iter().map(|it| documents::Key::of(&it.document)).collect();
                assert_eq!((keys.len(), ordered.len()), (count, count), "two documents about one thing");
                assert!(ordered.is_sorted_by_key(|it| it.document.kind()));
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.problems.is_empty(), "refused, and nobody knows why");
            let told = mistakes.rendered(None, false);
            assert_eq!(told, render::escape_lines(&told), "a terminal would obey this");
            let _ = (mistakes.to_string(), mistakes.advice());
        }
    }
}

/// It takes what others take, as they do, unless a key comes twice.
fn json(text: &str) {
    let (ours, theirs) = (strict_json::from_str(text), serde_json::from_str::<Value>(text));
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs, "another value");
            let keys = |value: &Value| value.to_string().matches("\":").count();
            assert_eq!(keys(&ours), keys(&theirs));
        }
        (Err(ours), Ok(_)) => assert!(ours.to_string().contains("comes twice"), "{ours}"),
        (Ok(_), Err(theirs)) => panic!("taken, and it is none: {theirs}"),
        (Err(_), Err(_)) => {}
    }
}
