//! The history of failovers: other bytes cost nothing but themselves and invent no event, and a line of ours is read back
//! whatever stands before it.

use mcpctl::{
    fuzzing::{journal, journal_line},
    journal::{Ended, Event, Permission},
};
use serde_json::Value;
use std::collections::HashSet;

pub(crate) fn check(bytes: &[u8]) {
    let Ok(past) = journal(bytes) else { panic!("bytes that are there cannot be read") };
    let lines: Vec<Value> = bytes
        .split(|byte| *byte == b'\n')
        // What is no text may stand in a field that says nothing here.
        .filter_map(|line| serde_json::from_str(&String::from_utf8_lossy(line)).ok())
        .filter(|line: &Value| line.is_object() || line.is_array())
        .collect();
    for event in &past.events {
        let is_there = lines.iter().any(|line| says(line, event));
        assert!(is_there, "nobody wrote {event:?}");
    }
    let ids: HashSet<&str> = past.events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), past.events.len(), "an event that comes twice");
    assert!(past.events.is_sorted_by_key(|event| event.at));
    written(bytes, &past.events);
}

fn says(line: &Value, event: &Event) -> bool {
    let Ok(written) = serde_json::to_value(event) else { return false };
    let Some(fields) = written.as_object() else { return false };
    fields.iter().enumerate().all(|(place, (key, value))| {
        let said = if line.is_array() { &line[place] } else { &line[key.as_str()] };
        // A time may be written in more than one way.
        key == "at" || said == value || (said.is_null() && value.is_null())
    })
}

/// An event of which every text is what nobody would write there, on a line of its own after these bytes.
fn written(bytes: &[u8], before: &[Event]) {
    let text: String = String::from_utf8_lossy(bytes).chars().take(2000).collect();
    let mut event = Event {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        at: jiff::Timestamp::MAX,
        server: text.clone(),
        user: Some(text.clone()),
        login: None,
        llm: text.clone(),
        llm_id: None,
        reason: "http_502".to_owned(),
        verdict: Permission::Allowed,
        why: Some(text.clone()),
        provider: Some(text),
        provider_type: None,
        model: None,
        outcome: Ended::Incomplete,
        duration_ms: u64::MAX,
        request_id: String::new(),
        token_id: None,
    };
    if before.iter().any(|known| known.id == event.id) {
        event.id.push('0');
    }
    let Ok(line) = journal_line(&event) else { panic!("{event:?} cannot be written") };
    assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?}");
    let file = [bytes, b"\n", line.as_bytes()].concat();
    let Ok(past) = journal(&file) else { panic!("what was written cannot be read") };
    assert_eq!(past.events.last(), Some(&event), "what was written is not read back");
    assert_eq!(past.events[..past.events.len() - 1], *before, "a line of ours changed others");
}
