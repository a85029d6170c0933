//! `--schema`: the shape that an answer has to have. It is asked for, and whatever comes is held against it here, since
//! not every server keeps to what it is asked for.

use super::question::structured;
use crate::{chat::ToolCall, cmd::Usage, failover::Fault, limit::within};
use jsonschema::{ReferencingError, ValidationError, Validator, error::ValidationErrorKind};
use mcp_api::strict_json;
use serde_json::{Value, json};
use std::{fmt, path::Path, sync::Arc, time::Duration};

/// How many differences are told.
const TOLD: usize = 5;
/// How much of a difference is told, in characters: it repeats parts of the answer.
const TOLD_CHARS: usize = 200;
/// How long a check may take.
const CHECK_MAX: Duration = Duration::from_secs(10);
/// The longest name of a schema that servers take.
const NAME_MAX: usize = 64;

/// A schema that was found sound before anything was sent.
#[derive(Debug)]
pub(super) struct AnswerSchema {
    schema: Value,
    validator: Arc<Validator>,
}

/// An answer that is not what its schema says.
#[derive(Debug)]
pub(super) enum Mismatch {
    /// It is no JSON; carries why.
    NotJson(String),
    /// It comes with a call of a tool: one of the two is meant.
    Ambiguous,
    /// It could not be held against the schema in this time.
    NotChecked(Duration),
    /// It differs; carries the first difference and some more.
    Differs(String, Vec<String>),
}

impl AnswerSchema {
    /// Reads a schema. One that refers to another place is refused: nothing is fetched, here or at the server's.
    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let schema: Value = structured(path, "--schema takes a JSON Schema")?;
        let wrong = |why: String| Usage(format!("{}: {why} (--schema takes a JSON Schema)", path.display()));
        if !schema.is_object() {
            return Err(wrong("it is no object".into()).into());
        }
        let validator =
            jsonschema::options().offline().build(&schema).map_err(|error| wrong(unsound(&error)))?;
        Ok(Self { schema, validator: Arc::new(validator) })
    }

    /// The field of the request that asks for it.
    pub(super) fn response_format(&self) -> Value {
        json!({ "type": "json_schema", "json_schema": { "name": self.name(), "schema": self.schema } })
    }

    /// Says whether an answer is what the schema says. A small schema can be endless work, which is given up at the end
    /// of the caller's own time, or of [`CHECK_MAX`].
    pub(super) fn check(
        &self,
        content: &str,
        calls: &[ToolCall],
        time_left: Option<Result<Duration, Fault>>,
    ) -> Result<(), Mismatch> {
        if !calls.is_empty() {
            return Err(Mismatch::Ambiguous);
        }
        let answer = strict_json::from_str(content).map_err(|error| Mismatch::NotJson(error.to_string()))?;
        let limit = match time_left {
            Some(left) => left.unwrap_or_default().min(CHECK_MAX),
            None => CHECK_MAX,
        };
        let validator = Arc::clone(&self.validator);
        within(limit, move || {
            let mut differences = validator.iter_errors(&answer).map(|error| told(&error));
            match differences.next() {
                None => Ok(()),
                Some(first) => Err(Mismatch::Differs(first, differences.take(TOLD - 1).collect())),
            }
        })
        .unwrap_or(Err(Mismatch::NotChecked(limit)))
    }

    /// Its title, as far as that can be a name.
    fn name(&self) -> String {
        let title = self.schema["title"].as_str().unwrap_or_default();
        let fits = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let name: String = title.chars().take(NAME_MAX).map(fits).collect();
        if name.is_empty() { "answer".into() } else { name }
    }
}

/// Why a schema cannot be used.
fn unsound(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Referencing(ReferencingError::Unretrievable { uri, .. }) => {
            format!("it refers to {uri}, and nothing is fetched: put that under $defs")
        }
        _ => told(error),
    }
}

/// `at /label: "x" is not one of "bug" or "feature"`.
fn told(error: &ValidationError<'_>) -> String {
    let at = match error.instance_path().as_str() {
        "" => String::new(),
        path => format!("at {path}: "),
    };
    let text = error.to_string();
    let mut shown: String = text.chars().take(TOLD_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    at + &shown
}

impl Mismatch {
    /// What there is to say beside the first difference.
    pub(super) fn more(&self) -> &[String] {
        match self {
            Self::NotJson(_) | Self::Ambiguous | Self::NotChecked(_) => &[],
            Self::Differs(_, more) => more,
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(f, "the answer is no JSON: {why}"),
            Self::Ambiguous => f.write_str("the answer is one and a call of a tool at once"),
            Self::NotChecked(limit) => {
                write!(
                    f,
                    "the answer could not be held against the schema within {:.1} s",
                    limit.as_secs_f64()
                )
            }
            Self::Differs(first, _) => write!(f, "the answer is not what --schema says: {first}"),
        }
    }
}
