//! Labels: short words by which administrators find again what belongs together. They grant nothing.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

/// The most labels that one thing can have.
pub const LABELS_MAX: usize = 32;
/// The longest key and the longest value, in bytes.
pub const LABEL_MAX: usize = 63;

/// Why a text or a number of them is no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelError {
    /// A key is empty.
    NoKey,
    /// A key or a value is longer than [`LABEL_MAX`].
    TooLong,
    /// A key or a value begins or ends with something else than a letter or a digit.
    Edge(char),
    /// A character that the grammar does not have.
    Char(char),
    /// More than [`LABELS_MAX`].
    TooMany,
    /// Not of the form `key=value`.
    NotAPair,
    /// A text that names one key twice.
    Twice,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("the key of a label must not be empty"),
            Self::TooLong => {
                write!(f, "the key and the value of a label have at most {LABEL_MAX} characters")
            }
            Self::Edge(c) => write!(f, "a label begins and ends with a letter or a digit, not {c:?}"),
            Self::Char(c) => {
                write!(f, "a label has letters, digits, '.', '_', '/' and '-' only, not {c:?}")
            }
            Self::TooMany => write!(f, "more than {LABELS_MAX} labels"),
            Self::NotAPair => f.write_str("expected key=value"),
            Self::Twice => f.write_str("one key is named twice"),
        }
    }
}

impl std::error::Error for LabelError {}

/// Checks `[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?`.
fn check(text: &str) -> Result<(), LabelError> {
    if text.len() > LABEL_MAX {
        return Err(LabelError::TooLong);
    }
    if let Some(bad) =
        text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-')))
    {
        return Err(LabelError::Char(bad));
    }
    let edges = [text.chars().next(), text.chars().next_back()];
    match edges.into_iter().flatten().find(|c| !c.is_ascii_alphanumeric()) {
        Some(bad) => Err(LabelError::Edge(bad)),
        None => Ok(()),
    }
}

/// The key of a label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelKey(String);

/// The value of a label; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelValue(String);

impl TryFrom<String> for LabelKey {
    type Error = LabelError;
    fn try_from(text: String) -> Result<Self, LabelError> {
        if text.is_empty() { Err(LabelError::NoKey) } else { check(&text).map(|()| Self(text)) }
    }
}

impl TryFrom<String> for LabelValue {
    type Error = LabelError;
    fn try_from(text: String) -> Result<Self, LabelError> {
        check(&text).map(|()| Self(text))
    }
}

impl From<LabelKey> for String {
    fn from(key: LabelKey) -> Self {
        key.0
    }
}

impl From<LabelValue> for String {
    fn from(value: LabelValue) -> Self {
        value.0
    }
}

/// The labels of one thing, in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<LabelKey, LabelValue>")]
pub struct Labels(BTreeMap<LabelKey, LabelValue>);

impl TryFrom<BTreeMap<LabelKey, LabelValue>> for Labels {
    type Error = LabelError;
    fn try_from(labels: BTreeMap<LabelKey, LabelValue>) -> Result<Self, LabelError> {
        if labels.len() > LABELS_MAX { Err(LabelError::TooMany) } else { Ok(Self(labels)) }
    }
}

impl Labels {
    /// Says whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `a=b,c=d`; nothing if there are none.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{}={}", key.0, value.0)?;
        }
        Ok(())
    }
}

/// The text that [`Labels`] prints.
impl FromStr for Labels {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let mut labels = BTreeMap::new();
        for pair in text.split(',').filter(|_| !text.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or(LabelError::NotAPair)?;
            let value = LabelValue::try_from(value.to_owned())?;
            if labels.insert(LabelKey::try_from(key.to_owned())?, value).is_some() {
                return Err(LabelError::Twice);
            }
        }
        Self::try_from(labels)
    }
}

/// What `-l` says: `key=value`, or several of them with commas between, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Labels);

impl Selector {
    /// Says whether all that is asked for is among the labels.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.0.iter().all(|(key, value)| labels.0.get(key) == Some(value))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Selector {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        // Nothing asked for would be everything selected.
        if text.is_empty() { Err(LabelError::NotAPair) } else { text.parse().map(Self) }
    }
}

impl JsonSchema for Labels {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Labels".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let edge = "[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?";
        json_schema!({
            "type": "object",
            "maxProperties": LABELS_MAX,
            "propertyNames": { "pattern": format!("^{edge}$") },
            "additionalProperties": { "type": "string", "pattern": format!("^({edge})?$") },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn labels(value: serde_json::Value) -> Result<Labels, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_label_is_a_short_plain_word() {
        for good in [json!({"team": "data"}), json!({"a": ""}), json!({"example.com/part-of": "v1.2_x"})] {
            assert!(labels(good.clone()).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            json!({"": "x"}),
            json!({"-a": "x"}),
            json!({"a": "x-"}),
            json!({"a": "x y"}),
            json!({"a": "tеam"}),
            json!({"a\n": "x"}),
            json!({ "a": long }),
            json!({ long: "a" }),
            json!({"a": 1}),
            json!({"a": null}),
            json!(["a"]),
        ] {
            assert!(labels(bad.clone()).is_err(), "{bad}");
        }
        let many: serde_json::Map<_, _> = (0..33).map(|i| (format!("k{i}"), json!(""))).collect();
        assert_eq!(labels(many.into()), Err("more than 32 labels".into()));
    }

    #[test]
    fn a_selector_selects_what_has_all_of_its_labels() {
        let selector: Selector = "team=data,tier=".parse().unwrap();
        assert!(selector.selects(&labels(json!({"team": "data", "tier": "", "x": "y"})).unwrap()));
        for other in [json!({}), json!({"team": "data"}), json!({"team": "data", "tier": "1"})] {
            assert!(!selector.selects(&labels(other.clone()).unwrap()), "{other}");
        }
        for odd in ["", "team", "=data", "team=data,", "team=data,team=x", "team==data", "team!=data"] {
            assert!(odd.parse::<Selector>().is_err(), "{odd:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn a_label_that_is_written_is_read_back(
            pairs in prop::collection::btree_map("[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?", "[a-z]{0,9}", 1..8)
        ) {
            let labels = labels(json!(pairs)).unwrap();
            prop_assert_eq!(&labels.to_string().parse::<Labels>().unwrap(), &labels);
            prop_assert!(labels.to_string().parse::<Selector>().unwrap().selects(&labels));
            prop_assert_eq!(serde_json::to_value(&labels).unwrap(), json!(pairs));
        }
    }
}
