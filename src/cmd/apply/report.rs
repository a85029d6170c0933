//! What became of each document: a line, a name, or a part of one document at the end.

use crate::{
    cmd::Run,
    documents::{Key, Source},
    gateway::documents::Purpose,
    render::{self, Format},
};
use serde_json::{Value, json};

/// What became of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Pruned => "pruned",
            Self::Deleted => "deleted",
        }
    }
}

/// What was done so far.
#[derive(Debug)]
pub(in crate::cmd) struct Report {
    kind: &'static str,
    format: Format,
    purpose: Purpose,
    items: Vec<Value>,
}

impl Report {
    /// An empty one. `kind` is that of the document of `-o json`.
    pub(in crate::cmd) fn new(run: &Run<'_>, kind: &'static str, purpose: Purpose) -> anyhow::Result<Self> {
        let format = run.format(Format::Text, &[Format::Text, Format::Json, Format::Name])?;
        Ok(Self { kind, format, purpose, items: Vec::new() })
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
        let name = key.to_string();
        let mut item = json!({ "kind": key.kind().as_str(), "name": name.split_once('/').map(|(_, it)| it),
            "action": action.word(), "warnings": warnings });
        if let Some(source) = source {
            item["source"] = source.to_string().into();
        }
        self.items.push(item);
        let dry = match self.purpose {
            Purpose::Real => "",
            Purpose::DryRun => " (dry run)",
        };
        match self.format {
            Format::Json => Ok(()),
            Format::Name => run.say(&name),
            _ => run.say(format_args!("{name} {}{dry}", action.word())),
        }
    }

    /// Gives the document, where one was asked for.
    pub(in crate::cmd) fn finish(self, run: &mut Run<'_>) -> anyhow::Result<()> {
        if self.format != Format::Json {
            return Ok(());
        }
        let content = json!({ "dryRun": self.purpose == Purpose::DryRun, "items": self.items });
        run.print(&render::document_text(&render::document(self.kind, content), Format::Json))
    }

    /// What was done, as documents.
    pub(super) fn into_items(self) -> Vec<Value> {
        self.items
    }
}
