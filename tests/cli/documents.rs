//! What `-o json` prints is an API: its types, the schemas that are shipped of them, and what the program really
//! prints are one.

use crate::shipped;
use serde_json::Value;
use snapbox::{Data, assert_data_eq};
use std::{collections::BTreeSet, fs};

/// `SNAPSHOTS=overwrite cargo test --test cli documents::` writes them anew.
#[test]
fn the_shipped_schemas_are_those_of_the_types() {
    for (kind, schema) in mcpctl::schemas::all() {
        let text = format!("{:#}\n", schema.as_value());
        assert_data_eq!(text, Data::read_from(&shipped::folder().join(format!("{kind}.json")), None).raw());
    }
}

#[test]
fn nothing_is_shipped_that_is_no_schema_of_a_type() {
    let shipped: BTreeSet<String> = fs::read_dir(shipped::folder())
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let typed: BTreeSet<String> =
        mcpctl::schemas::all().into_iter().map(|(kind, _)| kind.to_owned()).collect();
    assert_eq!(shipped, typed);
    for kind in shipped::UNTYPED {
        assert!(
            !typed.contains(*kind),
            "{kind} has a schema now: take it off the list of those that have none"
        );
    }
}

/// Whoever adds a field without saying what it means finds out here.
#[test]
fn every_field_of_every_document_has_a_meaning() {
    fn walk(path: &str, node: &Value, mute: &mut Vec<String>) {
        // The meaning of a choice stands beside its one field.
        let chosen = node["properties"].as_object().is_some_and(|fields| fields.len() == 1);
        let of_choice = node["description"].as_str().filter(|_| chosen).unwrap_or_default();
        for word in ["properties", "$defs"] {
            for (name, field) in node[word].as_object().into_iter().flatten() {
                let here = format!("{path}.{name}");
                let meaning = field["description"].as_str().unwrap_or(of_choice);
                if word == "properties"
                    && field["const"].is_null()
                    && (meaning.len() < 6 || meaning.contains("[`"))
                {
                    mute.push(format!("{here}: {meaning:?}"));
                }
                walk(&here, field, mute);
            }
        }
        for word in ["oneOf", "anyOf", "allOf"] {
            node[word].as_array().into_iter().flatten().for_each(|one| walk(path, one, mute));
        }
        if node["items"].is_object() {
            walk(path, &node["items"], mute);
        }
    }
    let mut mute = Vec::new();
    for (kind, schema) in mcpctl::schemas::all() {
        walk(kind, schema.as_value(), &mut mute);
    }
    assert!(mute.is_empty(), "fields without a meaning for their readers: {mute:#?}");
}
