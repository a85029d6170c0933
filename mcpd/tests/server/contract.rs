//! The golden exchanges of `api/contract`, replayed against the real server.

use crate::cases::NONCE;
use fakes::{Engine, Fault, Grant, Mcpd, Response, wire};
use mcp_api::{FailoverPolicy, LlmPatch, LlmSpec};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    given: String,
    request: Asked,
    response: Answer,
    /// Read by the tests of the client.
    #[serde(default, rename = "client")]
    _client: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    path: String,
    #[serde(rename = "as")]
    who: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Absent: not compared. Null: there is none.
    #[serde(default, deserialize_with = "some")]
    body: Option<Value>,
}

fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The server in the state that `given` names, and what must live as long.
struct Given {
    mcpd: Mcpd,
    engine: Engine,
    id: String,
}

impl Given {
    fn new(words: &str) -> Self {
        let engine = Engine::builder().text("Hello there.").start();
        let mcpd = Mcpd::start();
        let spec = LlmSpec {
            display_name: Some("Chat".into()),
            url: "http://upstream.example:8000/v1".into(),
            ..Mcpd::llm_spec("chat-prod", "")
        };
        let id = mcpd.create_llm_from(&spec).id.to_string();
        let uses: &[Grant<'_>] = &[("view", "llms", Some("chat-prod")), ("run", "llms", Some("chat-prod"))];
        let given = Self { mcpd, engine, id };
        let mcpd = &given.mcpd;
        let patch = |patch: LlmPatch| mcpd.patch_llm("chat-prod", &patch);
        let grants: &[Grant<'_>] = match words {
            "dana may do nothing" => &[],
            "dana may view chat-prod" => &uses[..1],
            "dana may view and run all LLMs" => &[("view", "llms", None), ("run", "llms", None)],
            "dana may view and run chat-prod" => uses,
            "dana may view and run chat-prod, which is disabled" => {
                patch(LlmPatch { enabled: Some(false), ..LlmPatch::default() });
                uses
            }
            "dana may view and run chat-prod, whose failover is forbidden" => {
                patch(LlmPatch { failover: Some(FailoverPolicy::Forbidden), ..LlmPatch::default() });
                uses
            }
            with_upstream => {
                given.set_upstream(with_upstream);
                patch(LlmPatch { url: Some(given.engine.url()), ..LlmPatch::default() });
                uses
            }
        };
        mcpd.create_user("dana");
        mcpd.create_subject(mcp_api::SubjectKind::Group, "data", &["dana"]);
        mcpd.grant("data-team", "dana", grants);
        given
    }

    fn set_upstream(&self, words: &str) {
        let rate_limited = [("content-type", "application/json"), ("retry-after", "7")];
        match words {
            "dana may view and run chat-prod, whose upstream answers" => {}
            "dana may view and run chat-prod, whose upstream is down" => self.engine.stop(),
            "dana may view and run chat-prod, whose upstream rejects the server's key" => {
                self.engine.set_fault(Fault::EchoKey);
            }
            "dana may view and run chat-prod, whose upstream is rate-limited" => {
                self.engine.set_fault(Fault::Raw(wire::http(429, &rate_limited, "{}")));
            }
            "dana may view and run chat-prod, whose upstream breaks off" => {
                self.engine.set_fault(Fault::CutAfter(1));
            }
            unknown => panic!("nobody knows how to make it so that {unknown:?}"),
        }
    }

    fn ask(&self, asked: &Asked) -> Response {
        let token = (asked.who != "nobody").then(|| self.mcpd.token_for(&asked.who));
        let fill = |text: &str| text.replace("{id}", &self.id).replace("{nonce}", NONCE);
        let headers: Vec<_> = asked.headers.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = if asked.body.is_null() { Vec::new() } else { asked.body.to_string().into_bytes() };
        self.mcpd.request(&asked.method, &fill(&asked.path), token.as_deref(), &headers, &body)
    }
}

/// What the placeholders of one file stand for, as far as it is known.
#[derive(Default)]
struct Known(BTreeMap<String, String>);

impl Known {
    /// Compares a text with a pattern, and takes note of what its placeholders stand for.
    fn text_fits(&mut self, pattern: &str, text: &str) -> bool {
        let Some((before, rest)) = pattern.split_once('{').filter(|(_, rest)| is_placeholder(rest)) else {
            return match pattern.split_once('{') {
                // A brace of JSON, not of ours.
                Some((before, rest)) => text
                    .strip_prefix(before)
                    .and_then(|text| text.strip_prefix('{'))
                    .is_some_and(|text| self.text_fits(rest, text)),
                None => pattern == text,
            };
        };
        let Some(text) = text.strip_prefix(before) else { return false };
        let (name, after) = rest.split_once('}').unwrap();
        if let Some(known) = self.0.get(name).cloned() {
            return text.strip_prefix(&*known).is_some_and(|text| self.text_fits(after, text));
        }
        let ends = (1..=text.len()).filter(|end| text.is_char_boundary(*end));
        for end in ends {
            let (value, rest) = text.split_at(end);
            if name != "any" && value.contains(char::is_whitespace) {
                return false;
            }
            let before = self.0.clone();
            if name != "any" {
                self.0.insert(name.to_owned(), value.to_owned());
            }
            if self.text_fits(after, rest) {
                return true;
            }
            self.0 = before;
        }
        false
    }

    fn json_fits(&mut self, pattern: &Value, value: &Value) -> bool {
        match (pattern, value) {
            (Value::String(pattern), Value::String(text)) => self.text_fits(pattern, text),
            (Value::Array(patterns), Value::Array(values)) => {
                patterns.len() == values.len()
                    && patterns.iter().zip(values).all(|(p, v)| self.json_fits(p, v))
            }
            (Value::Object(patterns), Value::Object(values)) => {
                patterns.len() == values.len()
                    && patterns
                        .iter()
                        .all(|(key, p)| values.get(key).is_some_and(|value| self.json_fits(p, value)))
            }
            (pattern, value) => pattern == value,
        }
    }
}

fn is_placeholder(after_brace: &str) -> bool {
    ["id}", "nonce}", "request-id}", "time}", "any}"].iter().any(|name| after_brace.starts_with(name))
}

fn replay(name: &str, golden: &Golden) {
    let given = Given::new(&golden.given);
    let answer = given.ask(&golden.request);
    let mut known = Known::default();
    known.0.insert("id".into(), given.id.clone());
    known.0.insert("nonce".into(), NONCE.into());
    assert_eq!(answer.status, golden.response.status, "{name}: {}", answer.text());
    for (header, pattern) in &golden.response.headers {
        let value = answer.header(header).unwrap_or_else(|| panic!("{name}: no header {header}"));
        assert!(known.text_fits(pattern, value), "{name}: {header}: {value:?} is not {pattern:?}");
    }
    match &golden.response.body {
        None => {}
        Some(Value::Null) => assert!(answer.body.is_empty(), "{name}: {}", answer.text()),
        Some(Value::String(pattern)) => {
            assert!(known.text_fits(pattern, &answer.text()), "{name}: {}", answer.text());
        }
        Some(pattern) => {
            assert!(known.json_fits(pattern, &answer.json()), "{name}: {}", answer.text());
        }
    }
}

#[test]
fn every_golden_exchange_is_what_the_server_does() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/contract");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(files.len() >= 12, "where are they?");
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let golden = serde_json::from_str(&std::fs::read_to_string(&file).unwrap());
        replay(&name, &golden.unwrap_or_else(|error| panic!("{name}: {error}")));
    }
}

#[test]
fn the_same_placeholder_means_the_same_text() {
    let mut known = Known::default();
    assert!(known.text_fits("a {id} b {id}", "a 1 b 1"));
    assert!(!Known::default().text_fits("a {id} b {id}", "a 1 b 2"));
    assert!(!Known::default().text_fits("{id}", "1 2"));
    assert!(Known::default().json_fits(&json!({"a": "{any}", "b": "{x}"}), &json!({"a": "1 2", "b": "{x}"})));
}
