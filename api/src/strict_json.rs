//! JSON that says everything once. `serde_json` alone keeps the last of two values of one key without a word, and others
//! keep the first: a text that was found good here would be another one there.

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::fmt;

/// Reads a text in which no key of an object comes twice.
pub fn from_str(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).map(|Once(value)| value)
}

struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything).map(Self)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Once(value))) = fields.next_entry::<String, _>()? {
            if object.contains_key(&key) {
                return Err(Error::custom(format!("the key {key:?} comes twice")));
            }
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_that_comes_twice_is_an_error_wherever_it_stands() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            let error = from_str(text).unwrap_err();
            assert!(error.is_data() && error.to_string().contains("\"a\" comes twice"), "{error}");
        }
        assert!(from_str(&"[".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn everything_else_is_what_serde_json_makes_of_it(
            text in r#"[\[\]{}:," 0-9a-cé.eE+\-truefalsn]{0,40}"#,
            number in any::<f64>(), word in any::<String>(), whole in any::<i64>(),
        ) {
            let value = serde_json::json!({ "n": number, "w": [word, null, true], "i": whole, "o": {} }).to_string();
            for text in [text, value] {
                let (ours, theirs) = (from_str(&text), serde_json::from_str::<Value>(&text));
                match (ours, theirs) {
                    (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                    (Err(ours), Err(theirs)) => prop_assert_eq!(ours.line(), theirs.line()),
                    (Err(ours), Ok(_)) => prop_assert!(ours.to_string().contains("comes twice"), "{}", ours),
                    (Ok(_), Err(theirs)) => prop_assert!(false, "{}", theirs),
                }
            }
        }
    }
}
