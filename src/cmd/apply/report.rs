//! What became of each document: a line, a name, or a part of one document at the end.

use crate::{
    cmd::Run,
    documents::{Key, Source},
    gateway::documents::Purpose,
    render::{Document, Format},
};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// What became of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::cmd) enum Action {
    /// It was not there.
    Created,
    /// It was otherwise.
    Configured,
    /// It was so already.
    Unchanged,
    /// It was in none of the documents.
    Pruned,
    /// It was to go.
    Deleted,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Pruned => "pruned",
            Self::Deleted => "deleted",
        })
    }
}

/// One thing, and what became of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cmd) struct Changed {
    /// Its kind.
    kind: &'static str,
    /// Its name.
    name: String,
    /// What became of it.
    action: Action,
    /// What the server warns of.
    warnings: Vec<String>,
    /// Where it is described: file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// `llm/chat-prod created`.
impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.kind.to_lowercase(), self.name, self.action)
    }
}

/// What `apply` did.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApplyResult {
    /// The server checked it all and wrote nothing.
    dry_run: bool,
    /// What became of each thing, in the order in which it was done.
    items: Vec<Changed>,
}

/// What `delete` did.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeleteResult(ApplyResult);

impl Document for ApplyResult {
    const KIND: &'static str = "ApplyResult";
}

impl Document for DeleteResult {
    const KIND: &'static str = "DeleteResult";
}

/// What was done so far.
#[derive(Debug)]
pub(in crate::cmd) struct Report {
    format: Format,
    purpose: Purpose,
    items: Vec<Changed>,
}

impl Report {
    /// An empty one.
    pub(in crate::cmd) fn new(run: &Run<'_>, purpose: Purpose) -> anyhow::Result<Self> {
        let format = run.format(Format::Text, &[Format::Text, Format::Json, Format::Name])?;
        Ok(Self { format, purpose, items: Vec::new() })
    }

    /// Tells what became of one thing, at once where that is a line.
    pub(in crate::cmd) fn add(
        &mut self,
        run: &mut Run<'_>,
        key: &Key,
        action: Action,
        source: Option<&Source>,
        warnings: &[String],
    ) -> anyhow::Result<()> {
        for warning in warnings {
            run.warn(format_args!("{key}: {warning}"));
        }
        self.items.push(Changed {
            kind: key.kind().as_str(),
            name: key.name().to_owned(),
            action,
            warnings: warnings.to_vec(),
            source: source.map(ToString::to_string),
        });
        let dry = match self.purpose {
            Purpose::Real => "",
            Purpose::DryRun => " (dry run)",
        };
        match self.format {
            Format::Json => Ok(()),
            Format::Name => run.say(key),
            _ => run.say(format_args!("{key} {action}{dry}")),
        }
    }

    /// Gives the document of `apply`, where one was asked for.
    pub(in crate::cmd) fn applied(self, run: &mut Run<'_>) -> anyhow::Result<()> {
        let format = self.format;
        if format == Format::Json { run.show_document(&self.into_result(), format) } else { Ok(()) }
    }

    /// Gives the document of `delete`, where one was asked for.
    pub(in crate::cmd) fn deleted(self, run: &mut Run<'_>) -> anyhow::Result<()> {
        let format = self.format;
        if format == Format::Json {
            run.show_document(&DeleteResult(self.into_result()), format)
        } else {
            Ok(())
        }
    }

    fn into_result(self) -> ApplyResult {
        ApplyResult { dry_run: self.purpose == Purpose::DryRun, items: self.items }
    }

    /// What was done.
    pub(super) fn into_items(self) -> Vec<Changed> {
        self.items
    }
}
