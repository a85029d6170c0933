//! The body of a request for an upstream: looked at on its top level only, and sent on with the upstream's name as
//! `model`.
//!
//! Values are never parsed, so what they hold can neither be lost nor cost anything.

use super::Endpoint;
use crate::{problem::Problem, sabotage};
use axum::body::Bytes;
use mcp_api::LlmSpec;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, mem};

/// Keys by which some upstreams let a request choose its target or its key. The target comes from the registry only.
const REFUSED: [&str; 7] =
    ["api_base", "base_url", "api_key", "url", "organization", "headers", "extra_headers"];

/// The types of tools that the caller runs itself.
const TOOLS: [&str; 2] = ["function", "custom"];

/// A value of as many bytes goes on without being copied.
const LARGE: usize = 4 << 10;

/// More keys on its top level than any request has.
const KEYS_MAX: usize = 1000;

/// A caller's body, looked at and not yet meant for a certain upstream.
#[derive(Debug)]
pub(crate) struct Prompt<'a> {
    body: &'a Bytes,
    fields: Vec<Field<'a>>,
}

impl<'a> Prompt<'a> {
    /// Refuses what is no JSON object, names a key twice, or would choose where it goes.
    pub(crate) fn read(body: &'a Bytes) -> Result<Self, Problem> {
        let Fields(fields) = serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                Problem::Invalid(format!("The body must be a JSON object of at most {KEYS_MAX} keys."))
            }
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => {
                Problem::Malformed(format!("The body is not JSON: {error}."))
            }
        })?;
        for (at, (key, _)) in fields.iter().enumerate() {
            if fields[..at].iter().any(|(earlier, _)| earlier == key) {
                return Err(Problem::Invalid(format!("The key {key:?} is there twice.")));
            }
            if REFUSED.contains(&key.as_ref()) && !sabotage::BODY_CHOOSES_TARGET {
                let message = format!("The key {key:?} is not taken: this server chooses the upstream.");
                return Err(Problem::Invalid(message));
            }
        }
        Ok(Self { body, fields })
    }

    /// Refuses what an upstream would do beside its answer, or for another caller: all callers share its account.
    pub(crate) fn fits(&self, endpoint: Endpoint) -> Result<(), Problem> {
        if endpoint != Endpoint::Responses {
            return Ok(());
        }
        for (key, value) in &self.fields {
            let value = value.get();
            let is_refused = match key.as_ref() {
                "previous_response_id" | "conversation" | "prompt" => value != "null",
                "background" | "store" => !matches!(value, "null" | "false"),
                _ => false,
            };
            if is_refused {
                let message = format!(
                    "`{key}` is not taken: all callers share this server's account at the upstream, which would keep \
                     what is theirs."
                );
                return Err(Problem::Invalid(message));
            }
        }
        let Some((_, tools)) = self.fields.iter().find(|(key, _)| key == "tools") else { return Ok(()) };
        let no_tools =
            |_| Problem::Invalid("`tools` must be a list of objects, each with its `type`.".into());
        let tools: Option<Vec<Tool<'_>>> = serde_json::from_str(tools.get()).map_err(no_tools)?;
        match tools.into_iter().flatten().find(|tool| !TOOLS.contains(&&*tool.kind)) {
            None => Ok(()),
            Some(_) => Err(Problem::Invalid(
                "`tools` may hold those of type `function` and `custom` only: others run at the upstream, with this \
                 server's account."
                    .into(),
            )),
        }
    }

    /// What it names as `model`, if it does.
    pub(crate) fn model(&self) -> Result<Option<String>, Problem> {
        let Some((_, value)) = self.fields.iter().find(|(key, _)| key == "model") else { return Ok(None) };
        let text = serde_json::from_str(value.get());
        text.map(Some).map_err(|_| Problem::Invalid("`model` must be a text.".into()))
    }

    /// Writes the upstream's body, in pieces: what is large is not written again.
    pub(crate) fn for_upstream(&self, llm: &LlmSpec) -> Vec<Bytes> {
        let (mut pieces, mut written) = (Vec::new(), Vec::with_capacity(512));
        written.extend_from_slice(b"{\"model\":");
        push_text(&mut written, &llm.model);
        for (key, value) in self.fields.iter().filter(|(key, _)| key != "model") {
            written.push(b',');
            push_text(&mut written, key);
            written.push(b':');
            let value = value.get().as_bytes();
            if value.len() < LARGE {
                written.extend_from_slice(value);
            } else {
                pieces.push(mem::take(&mut written).into());
                pieces.push(self.body.slice_ref(value));
            }
        }
        written.push(b'}');
        pieces.push(written.into());
        pieces
    }
}

fn push_text(written: &mut Vec<u8>, text: &str) {
    // Serialising a str into a Vec cannot fail.
    let _ = serde_json::to_writer(written, text);
}

/// What is looked at of a tool.
#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

type Field<'a> = (Cow<'a, str>, &'a RawValue);

/// An object as a list, so that order and duplicates can be seen.
struct Fields<'a>(Vec<Field<'a>>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    if fields.len() == KEYS_MAX {
                        return Err(A::Error::custom("too many keys"));
                    }
                    fields.push((key, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// A key, borrowed unless it holds escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn llm() -> LlmSpec {
        serde_json::from_str(
            r#"{"name": "chat", "type": "vllm", "url": "http://a/v1", "model": "Qwen/\"3\""}"#,
        )
        .unwrap()
    }

    fn sent(body: &str) -> String {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let pieces = Prompt::read(&body).unwrap().for_upstream(&llm());
        String::from_utf8(pieces.concat()).unwrap()
    }

    fn refusal(body: &str) -> String {
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        match Prompt::read(&bytes).and_then(|prompt| prompt.model()) {
            Err(Problem::Invalid(message)) => message,
            other => panic!("{body} gave {other:?}"),
        }
    }

    fn model(body: &str) -> Option<String> {
        Prompt::read(&Bytes::copy_from_slice(body.as_bytes())).unwrap().model().unwrap()
    }

    #[test]
    fn only_model_is_rewritten_and_the_rest_keeps_its_bytes_and_its_order() {
        assert_eq!(
            sent(r#"{ "messages": [ {"a":1.0e2} ], "model":"chat", "seed":12345678901234567890123 }"#),
            r#"{"model":"Qwen/\"3\"","messages":[ {"a":1.0e2} ],"seed":12345678901234567890123}"#
        );
        assert_eq!(sent("{}"), r#"{"model":"Qwen/\"3\""}"#);
    }

    #[test]
    fn what_is_large_is_the_same_and_not_copied() {
        let long = "x".repeat(LARGE);
        let body = Bytes::from(format!(r#"{{"a":"{long}","model":"chat","b":["{long}"],"c":1}}"#));
        let pieces = Prompt::read(&body).unwrap().for_upstream(&llm());
        let wanted = format!(r#"{{"model":"Qwen/\"3\"","a":"{long}","b":["{long}"],"c":1}}"#);
        assert_eq!(String::from_utf8(pieces.concat()).unwrap(), wanted);
        let is_of_body = |piece: &&Bytes| body.as_ptr_range().contains(&piece.as_ptr());
        assert_eq!(pieces.iter().filter(is_of_body).count(), 2);
    }

    #[test]
    fn x02_the_body_does_not_choose_the_target() {
        for key in REFUSED {
            let body = format!(r#"{{"messages":[],"{key}":"http://evil"}}"#);
            assert!(refusal(&body).contains(key), "{key}");
        }
        assert!(refusal(r#"{"api_b\u0061se":1}"#).contains("api_base"));
        for body in [r#"{"model":null}"#, r#"{"mod\u0065l":["chat"]}"#] {
            assert!(refusal(body).contains("model"), "{body}");
        }
    }

    #[test]
    fn x02_a_second_model_is_refused_rather_than_guessed() {
        assert!(refusal(r#"{"model":"chat","m\u006fdel":"chat"}"#).contains("twice"));
        assert!(refusal(r#"{"stream":true,"stream":false}"#).contains("twice"));
    }

    #[test]
    fn the_model_is_found_however_it_is_written() {
        assert_eq!(model(r#"{"a":{"model":"other"},"mod\u0065l":"ch\u0061t"}"#), Some("chat".into()));
        assert_eq!(model(r#"{"messages":[]}"#), None);
    }

    #[test]
    fn x05_a_body_of_very_many_keys_costs_nothing() {
        let keys = |n: usize| (0..n).map(|at| format!("\"{at}\":0")).collect::<Vec<_>>().join(",");
        assert!(sent(&format!("{{{}}}", keys(KEYS_MAX))).ends_with("\"999\":0}"));
        assert!(refusal(&format!("{{{}}}", keys(500_000))).contains("1000"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["[]", "1", "null", "\"x\""] {
            refusal(body);
        }
        for body in ["", "{", "{\"a\":}", "{} {}", "\u{feff}{}"] {
            let bytes = Bytes::from_static(body.as_bytes());
            assert!(matches!(Prompt::read(&bytes), Err(Problem::Malformed(_))), "{body:?}");
        }
    }

    #[test]
    fn s11_a_deep_value_does_not_overflow_the_stack() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert!(sent(&deep).ends_with("]}"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Prompt::read(&body.into()).map(|prompt| (prompt.model().is_ok(), prompt.for_upstream(&llm())));
        }
    }
}
