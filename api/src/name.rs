//! Names and ids, and the two grammars that never overlap.
//!
//! A path segment of id shape is an id, everything else is a name, so that no LLM can be *named* like another
//! one's id and steal the bindings of it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{
    borrow::{Borrow, Cow},
    fmt,
    str::FromStr,
};

/// The longest name of an LLM or a provider, in bytes.
pub const NAME_MAX: usize = 63;
/// The length of an id: `c` and 24 characters of base 36 (the shape of a CUID).
pub const ID_LEN: usize = 25;
/// The longest name of a user, group or service account, in bytes.
pub const SUBJECT_MAX: usize = 128;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// The text is empty.
    Empty,
    /// The text is longer than the grammar allows; carries the limit in bytes.
    TooLong(usize),
    /// The first character is not allowed in that place.
    Start(char),
    /// A character that the grammar does not have.
    Char(char),
    /// Two dots in a row.
    DotDot,
    /// The text has the shape of an id, which only the server gives out.
    LooksLikeId,
    /// The text does not have the shape of an id.
    NotAnId,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name must not be empty"),
            Self::TooLong(max) => write!(f, "a name has at most {max} characters"),
            Self::Start(c) => write!(f, "a name starts with a lower-case letter or a digit, not {:?}", *c),
            Self::Char(c) => {
                write!(f, "a name has lower-case letters, digits, '.', '_' and '-' only, not {:?}", *c)
            }
            Self::DotDot => f.write_str("a name must not contain '..'"),
            Self::LooksLikeId => f.write_str("this name has the shape of an id; choose another one"),
            Self::NotAnId => f.write_str("an id is 'c' and 24 lower-case letters or digits"),
        }
    }
}

impl std::error::Error for NameError {}

/// Says whether `text` has the shape of an id.
#[must_use]
pub fn is_id_shaped(text: &str) -> bool {
    text.len() == ID_LEN
        && text.starts_with('c')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Checks the grammar that names of LLMs and of local providers share: `[a-z0-9][a-z0-9._-]{0,62}`, no `..`.
pub fn check_name(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if !(first.is_ascii_lowercase() || first.is_ascii_digit()) {
        return Err(NameError::Start(first));
    }
    if text.len() > NAME_MAX {
        return Err(NameError::TooLong(NAME_MAX));
    }
    if let Some(bad) =
        text.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')))
    {
        return Err(NameError::Char(bad));
    }
    if text.contains("..") {
        return Err(NameError::DotDot);
    }
    Ok(())
}

/// Gives a checked text newtype its string-like behaviour: parse once, then compare, print and serialise.
macro_rules! text_type {
    ($name:ident, $pattern:literal, $check:expr) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(text).map(|()| Self(text.to_owned()))
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

/// The human name of an LLM: `[a-z0-9][a-z0-9._-]{0,62}`, without `..`, never of id shape.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LlmName(String);

text_type!(LlmName, "^[a-z0-9][a-z0-9._-]{0,62}$", check_llm_name);

fn check_llm_name(text: &str) -> Result<(), NameError> {
    check_name(text)?;
    if is_id_shaped(text) { Err(NameError::LooksLikeId) } else { Ok(()) }
}

/// The id of an LLM, given out by the server: `c` and 24 characters of base 36.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LlmId(String);

text_type!(LlmId, "^c[a-z0-9]{24}$", check_llm_id);

fn check_llm_id(text: &str) -> Result<(), NameError> {
    if is_id_shaped(text) { Ok(()) } else { Err(NameError::NotAnId) }
}

/// What a person or a path says to mean one LLM: its id or its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LlmKey {
    /// An id-shaped text.
    Id(LlmId),
    /// Everything else.
    Name(LlmName),
}

impl LlmKey {
    /// The text, as it stands in a path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id(id) => id.as_str(),
            Self::Name(name) => name.as_str(),
        }
    }
}

impl FromStr for LlmKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_id_shaped(text) { text.parse().map(Self::Id) } else { text.parse().map(Self::Name) }
    }
}

impl fmt::Display for LlmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The name of a user, a group, a service account or a role binding: printable ASCII such as `dana@example.com`.
///
/// ASCII only, so that no two names look alike; a letter or a digit first, then also `. _ @ + -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubjectName(String);

text_type!(SubjectName, "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$", check_subject_name);

fn check_subject_name(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::Start(first));
    }
    if text.len() > SUBJECT_MAX {
        return Err(NameError::TooLong(SUBJECT_MAX));
    }
    if let Some(bad) =
        text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '+' | '-')))
    {
        return Err(NameError::Char(bad));
    }
    if text.contains("..") { Err(NameError::DotDot) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
