//! The schemas as they are shipped, read more strictly than their users should: a field that a schema does not know
//! was added without a word about it.

use jsonschema::Validator;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// Where they are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// A schema as it is shipped.
pub(crate) fn schema(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a schema is JSON")
}

static VALIDATORS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let strict = |kind: &'static str| {
        let mut schema = schema(kind);
        close(&mut schema, true);
        (
            kind.to_owned(),
            jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{kind}: {error}")),
        )
    };
    mcpctl::schemas::all().into_iter().map(|(kind, _)| strict(kind)).collect()
});

/// Checks a document of `-o json` against the schema of its kind, and gives it back.
pub(crate) fn checked(document: Value) -> Value {
    assert_eq!(document["apiVersion"], "mcpctl/v1", "{document:#}");
    let kind = document["kind"].as_str().unwrap_or_else(|| panic!("it has no kind: {document:#}"));
    let validator = VALIDATORS.get(kind).unwrap_or_else(|| panic!("no schema is shipped for {kind}"));
    let flaws: Vec<_> =
        validator.iter_errors(&document).map(|flaw| format!("{}: {flaw}", flaw.instance_path())).collect();
    assert!(flaws.is_empty(), "{kind} is not as schemas/{kind}.json says: {flaws:#?}\n{document:#}");
    document
}

/// Makes a schema refuse the fields that it does not name. `is_whole`: it alone describes what stands there, and is
/// no part of a description.
fn close(schema: &mut Value, is_whole: bool) {
    let Some(schema) = schema.as_object_mut() else { return };
    for (word, part) in schema.iter_mut() {
        let is_part = matches!(word.as_str(), "$defs" | "oneOf" | "anyOf" | "allOf");
        match (word.as_str(), part) {
            ("properties" | "patternProperties" | "$defs", Value::Object(parts)) => {
                parts.values_mut().for_each(|part| close(part, !is_part));
            }
            ("prefixItems" | "oneOf" | "anyOf" | "allOf", Value::Array(parts)) => {
                for part in parts {
                    close(part, !is_part);
                }
            }
            ("items" | "additionalProperties", part) => close(part, true),
            _ => {}
        }
    }
    let names_fields =
        ["properties", "$ref", "oneOf", "anyOf", "allOf"].iter().any(|word| schema.contains_key(*word));
    if is_whole && names_fields {
        schema.insert("unevaluatedProperties".into(), json!(false));
    }
}

#[test]
fn a_field_that_no_schema_knows_is_found_wherever_it_stands() {
    let head = json!({ "apiVersion": "mcpctl/v1", "kind": "AuditList", "items": [] });
    let entry = json!({ "seq": 1, "at": "t", "event": "change", "prev": "0", "hash": "1",
        "subject": { "kind": "User", "name": "dana" }, "detail": { "anything": { "goes": [] } } });
    let with = |place: &str, value: Value| {
        let mut document = head.clone();
        document["items"] = json!([entry.clone()]);
        *document.pointer_mut(place).expect("a place") = value;
        document
    };
    let is_fine = |document: &Value| VALIDATORS["AuditList"].is_valid(document);
    assert!(is_fine(&head) && is_fine(&with("/items/0", entry.clone())));
    for (place, odd) in [
        ("", json!({ "apiVersion": "mcpctl/v1", "kind": "AuditList", "items": [], "more": 1 })),
        ("/items/0/subject", json!({ "kind": "User", "name": "dana", "more": 1 })),
        ("/items/0/subject", json!({ "kind": "User" })),
        ("/items/0/detail", json!("text")),
        ("/kind", json!("Audit")),
        ("/items/0", json!({ "seq": 1 })),
    ] {
        assert!(!is_fine(&with(place, odd.clone())), "{place}: {odd} was taken");
    }
}
