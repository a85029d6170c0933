//! The schema of the provider file, for editors: made of the type that the parser reads, and of its table of which key
//! goes with which type. What it refuses, the parser refuses, but for a number where a text is meant; the parser knows
//! more.
//!
//! It is of draft 7, which is what the YAML language server knows best.

use super::entry::{KEYS, KINDS, Raw};
use schemars::{Schema, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

/// The schema.
#[must_use]
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut entry = settings.into_generator().into_root_schema_for::<Raw>();
    let meta_schema = entry.remove("$schema");
    let Some(Value::Object(every_key)) = entry.remove("properties") else { return entry };
    let of_some = |name: &str| KEYS.iter().find(|key| key.name == name);
    let common: Map<_, _> = every_key
        .iter()
        .filter(|(name, _)| of_some(name).is_none())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let of_kind = |kind: &&str| {
        // What is said of a key of all types above holds here too.
        let keys = every_key.iter().filter_map(|(name, meaning)| match of_some(name) {
            None => Some((name.clone(), json!(true))),
            Some(key) => key.kinds.contains(kind).then(|| (name.clone(), meaning.clone())),
        });
        let mut rules = json!({ "properties": keys.collect::<Map<_, _>>(), "additionalProperties": false });
        if let Some(rules) = rules.as_object_mut().filter(|_| *kind == "openai") {
            rules.insert("required".into(), json!(["url"]));
            rules.insert("not".into(), json!({ "required": ["apiKeyEnv", "apiKeyFile"] }));
        }
        json!({ "if": { "properties": { "type": { "const": kind } }, "required": ["type"] }, "then": rules })
    };
    json_schema!({
        "$schema": meta_schema,
        "title": "The provider file of mcpctl",
        "description": "Local providers, and the LLMs for which they stand in.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "providers": {
                "description": "The providers; none if there are none.",
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": common,
                    "required": entry.remove("required"),
                    "allOf": KINDS.iter().map(of_kind).collect::<Vec<_>>(),
                },
            },
        },
    })
}

#[cfg(test)]
mod tests;
