//! The schema against the parser: key by key, with every type.

use super::{super::parse, *};
use jsonschema::Validator;
use std::path::Path;

/// A key, a value that it may have, and one that it may not.
const VALUES: &[(&str, &str, &str)] = &[
    ("failoverFor", "[chat, code]", "[Chat]"),
    ("failoverFor", "chat", "7"),
    ("venvPath", "~/vllm", "vllm"),
    ("gpuMemoryUtilization", "0.5", "0"),
    ("gpuMemoryUtilization", "1", "1.1"),
    ("maxModelLen", "8192", "0"),
    ("idleTimeoutMinutes", "0.5", "-1"),
    ("idleTimeoutMinutes", "525600", "525601"),
    ("startTimeoutSeconds", "1", "0"),
    ("startTimeoutSeconds", "86400", "86401"),
    ("port", "0", "65536"),
    ("env", "{ A: b, B: 1, C: true }", "{ A: [b] }"),
    ("extraArgs", "[--max-model-len, 8192, x, true]", "--enforce-eager"),
    ("binaryPath", "/opt/llama-server", "llama-server"),
    ("contextSize", "1", "0"),
    ("url", "HTTPS://localhost:1/v1", "ftp://localhost"),
    ("apiKeyEnv", "KEY_1", "sk-not-a-name"),
    ("apiKeyFile", "/run/key", "key"),
    ("remote", "false", "yes please"),
    ("model", "m", "''"),
    ("name", "b.c", "B"),
    ("extra", "1", "2"),
];

const MODELS: &[(&str, &str)] =
    &[("openai", "qwen"), ("vllm-managed", "org/qwen"), ("llamacpp-managed", "/qwen.gguf")];

fn validator() -> Validator {
    jsonschema::draft7::new(schema().as_value()).unwrap()
}

/// An entry of a type with one more key, which takes the place of the one it would have.
fn entry(kind: &str, model: &str, key: &str, value: &str) -> String {
    let mut keys = vec![("name", "a"), ("type", kind), ("model", model)];
    if kind == "openai" {
        keys.push(("url", "http://127.0.0.1:1/v1"));
    }
    let model = if value == "m" { model } else { value };
    keys.retain(|(name, _)| *name != key);
    keys.push((key, if key == "model" { model } else { value }));
    let lines: String = keys.iter().map(|(key, value)| format!("    {key}: {value}\n")).collect();
    format!("providers:\n  -\n{lines}")
}

fn judged(validator: &Validator, text: &str) -> (bool, bool) {
    let value: Value = serde_yaml::from_str(text).unwrap();
    (parse(text, Some(Path::new("/home/dana"))).is_ok(), validator.is_valid(&value))
}

#[test]
fn schema_and_parser_agree_on_every_key_of_every_type() {
    let validator = validator();
    let mut taken = 0;
    for (kind, model) in MODELS {
        for (key, good, bad) in VALUES {
            let text = entry(kind, model, key, good);
            let (parser, schema) = judged(&validator, &text);
            assert_eq!(parser, schema, "parser {parser}, schema {schema}:\n{text}");
            taken += usize::from(parser);
            assert_eq!(
                judged(&validator, &entry(kind, model, key, bad)),
                (false, false),
                "{kind} {key}: {bad}"
            );
        }
    }
    // As the page of the provider file says which key goes with which type.
    assert_eq!(taken, 36, "of {}", VALUES.len() * MODELS.len());
}

#[test]
fn every_key_of_the_parser_is_among_those_that_were_compared() {
    let schema = schema().to_value();
    let item = &schema["properties"]["providers"]["items"];
    let branches = item["allOf"].as_array().unwrap();
    let keys = branches.iter().flat_map(|branch| branch["then"]["properties"].as_object().unwrap().keys());
    let compared = |key: &str| key == "type" || VALUES.iter().any(|(known, ..)| *known == key);
    for key in keys {
        assert!(compared(key), "{key} has no values here");
    }
    for key in KEYS {
        assert!(
            branches.iter().any(|branch| !branch["then"]["properties"][key.name].is_null()),
            "{}",
            key.name
        );
    }
}

#[test]
fn schema_and_parser_agree_on_what_an_entry_must_have() {
    let validator = validator();
    for (text, is_good) in [
        ("providers: []", true),
        ("{}", true),
        ("provider: []", false),
        ("providers: [{ name: a, type: openai, model: m }]", false),
        ("providers: [{ name: a, type: opnai, model: m, url: 'http://localhost' }]", false),
        ("providers: [{ name: a, type: openai, url: 'http://localhost' }]", false),
        ("providers: [{ type: openai, model: m, url: 'http://localhost' }]", false),
        ("providers: [{ name: a, model: m, url: 'http://localhost' }]", false),
        (
            "providers: [{ name: a, type: openai, model: m, url: 'http://localhost', apiKeyEnv: A, apiKeyFile: /a }]",
            false,
        ),
    ] {
        assert_eq!(judged(&validator, text), (is_good, is_good), "{text}");
    }
}
