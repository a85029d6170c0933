//! The body of a chat completion: looked at on its top level only, and sent on with the upstream's name as `model`.
//!
//! Values are never parsed, so what they hold can neither be lost nor cost anything.

use crate::problem::Problem;
use mcp_api::LlmSpec;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Keys by which some upstreams let a request choose its target or its key. The target comes from the registry only.
const REFUSED: [&str; 7] =
    ["api_base", "base_url", "api_key", "url", "organization", "headers", "extra_headers"];

/// Checks a caller's body and writes the upstream's.
pub(crate) fn prompt(body: &[u8], llm: &LlmSpec) -> Result<Vec<u8>, Problem> {
    let Fields(fields) = serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::Invalid("The body must be a JSON object.".into()),
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => Problem::Malformed(format!("The body is not JSON: {error}.")),
    })?;
    check(&fields, llm)?;
    let mut written = Vec::with_capacity(body.len() + llm.model.len() + 16);
    written.extend_from_slice(b"{\"model\":");
    push_text(&mut written, &llm.model);
    for (key, value) in fields.iter().filter(|(key, _)| key != "model") {
        written.push(b',');
        push_text(&mut written, key);
        written.push(b':');
        written.extend_from_slice(value.get().as_bytes());
    }
    written.push(b'}');
    Ok(written)
}

fn check(fields: &[Field<'_>], llm: &LlmSpec) -> Result<(), Problem> {
    let invalid = |message: String| Err(Problem::Invalid(message));
    for (at, (key, value)) in fields.iter().enumerate() {
        if fields[..at].iter().any(|(earlier, _)| earlier == key) {
            return invalid(format!("The key {key:?} is there twice."));
        }
        if REFUSED.contains(&key.as_ref()) {
            return invalid(format!("The key {key:?} is not taken: this server chooses the upstream."));
        }
        let is_our_name =
            || serde_json::from_str::<String>(value.get()).is_ok_and(|n| n == llm.name.as_str());
        if key == "model" && !is_our_name() {
            return invalid(format!("`model` must be {:?} or absent.", llm.name.as_str()));
        }
    }
    Ok(())
}

fn push_text(written: &mut Vec<u8>, text: &str) {
    // Serialising a str into a Vec cannot fail.
    let _ = serde_json::to_writer(written, text);
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
        String::from_utf8(prompt(body.as_bytes(), &llm()).unwrap()).unwrap()
    }

    fn refusal(body: &str) -> String {
        match prompt(body.as_bytes(), &llm()) {
            Err(Problem::Invalid(message)) => message,
            other => panic!("{body} gave {other:?}"),
        }
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
    fn x02_the_body_does_not_choose_the_target() {
        for key in REFUSED {
            let body = format!(r#"{{"messages":[],"{key}":"http://evil"}}"#);
            assert!(refusal(&body).contains(key), "{key}");
        }
        assert!(refusal(r#"{"api_b\u0061se":1}"#).contains("api_base"));
        for body in [r#"{"model":"other"}"#, r#"{"model":null}"#, r#"{"mod\u0065l":"Qwen/3"}"#] {
            assert!(refusal(body).contains("chat"), "{body}");
        }
    }

    #[test]
    fn x02_a_second_model_is_refused_rather_than_guessed() {
        assert!(refusal(r#"{"model":"chat","m\u006fdel":"chat"}"#).contains("twice"));
        assert!(refusal(r#"{"stream":true,"stream":false}"#).contains("twice"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["[]", "1", "null", "\"x\""] {
            refusal(body);
        }
        for body in ["", "{", "{\"a\":}", "{} {}", "\u{feff}{}"] {
            assert!(matches!(prompt(body.as_bytes(), &llm()), Err(Problem::Malformed(_))), "{body:?}");
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
            let _ = prompt(&body, &llm());
        }
    }
}
