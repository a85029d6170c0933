//! The provider file: from text to checked entries, every error with its line and column.
//!
//! It names programs to run, so a file that others may write is refused. It never breaks the primary path: that is
//! for the caller to see to, who gets an error and goes on without a failover.

mod entry;
mod schema;

pub use entry::{ApiKey, Kind, Llamacpp, Managed, OpenAi, Provider, Vllm};
pub use schema::schema;

use crate::{
    files::{self, FileError},
    registry::Registry,
    sabotage,
    yaml::{self, Mistakes, Problem},
};
use mcp_api::LlmName;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The largest provider file, in bytes.
pub const SIZE_MAX: u64 = 1 << 20;

/// The entries of a file, checked against each other.
#[derive(Debug)]
pub struct ProvidersFile {
    /// Where it was found.
    pub path: PathBuf,
    /// The providers and their failovers.
    pub registry: Registry<Provider>,
    /// The line of each `failoverFor`.
    pub lines: BTreeMap<LlmName, usize>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProvidersError {
    /// It cannot be read, or must not be trusted.
    #[error(transparent)]
    File(#[from] FileError),
    /// What it says is wrong.
    #[error("{0}")]
    Content(#[from] Mistakes),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    providers: Vec<entry::Raw>,
}

impl ProvidersFile {
    /// Reads and checks a file. The home folder is what `~` stands for in it.
    pub fn load(path: &Path, home: Option<&Path>) -> Result<Self, ProvidersError> {
        Ok(Self::read(path, files::read_trusted(path, SIZE_MAX)?, home)?)
    }

    /// Checks what such a file holds.
    pub fn read(path: &Path, bytes: Vec<u8>, home: Option<&Path>) -> Result<Self, Mistakes> {
        let wrong = |text: String, problems| Mistakes::new(path, text, problems);
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let text = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()])
                    .into_owned();
                let line = yaml::lines(&text).count().max(1);
                let place = yaml::Place { line, column: 1, width: 1 };
                let problem = Problem::new(place, "the file is not UTF-8").with_label("save it as UTF-8");
                return Err(wrong(text, vec![problem]));
            }
        };
        let plain = yaml::without_mark(&text);
        match parse(plain, home) {
            Ok((registry, lines)) => Ok(Self { path: path.into(), registry, lines }),
            Err(problems) => Err(wrong(plain.to_owned(), problems)),
        }
    }
}

type Parsed = (Registry<Provider>, BTreeMap<LlmName, usize>);

/// Checks a text; gives all problems that can be found at once.
fn parse(text: &str, home: Option<&Path>) -> Result<Parsed, Vec<Problem>> {
    let (raw, places): (Raw, _) = yaml::from_str(text)?;
    let (mut registry, mut lines, mut problems) = (Registry::default(), BTreeMap::new(), Vec::new());
    for (i, raw) in raw.providers.into_iter().enumerate() {
        let path = format!("providers[{i}]");
        let provider = match entry::check(raw, &path, &places, home) {
            Ok(provider) => provider,
            Err(mut found) => {
                problems.append(&mut found);
                continue;
            }
        };
        let (name, failover_for) = (provider.name.clone(), provider.failover_for.clone());
        if let Err(error) = registry.register(provider) {
            problems.push(Problem::new(places.value(&format!("{path}.name")), error.to_string()));
            continue;
        }
        for (j, llm) in failover_for.into_iter().enumerate() {
            let list = format!("{path}.failoverFor[{j}]");
            let place = places.value(&list).max(places.value(&format!("{path}.failoverFor")));
            match registry.register_failover(llm.clone(), &name) {
                Ok(()) => drop(lines.insert(llm, place.line)),
                Err(_) if sabotage::FIRST_CLAIM_WINS => {}
                Err(error) => {
                    let first = lines.get(&llm).copied().unwrap_or_default();
                    problems.push(
                        Problem::new(place, error.to_string())
                            .with_label(format!("line {first} claims it first; keep one of them")),
                    );
                }
            }
        }
    }
    if problems.is_empty() { Ok((registry, lines)) } else { Err(problems) }
}

#[cfg(test)]
mod tests;
