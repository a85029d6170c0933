//! Every failover as it is declared.

use crate::{
    cmd::{Run, columns::ColumnArgs, providers::entry},
    exit::Exit,
    providers_file::Provider,
    render::{Columns, Item, Listing, Row},
};
use mcp_api::LlmName;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// A failover as the provider file declares it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cmd) struct FailoverItem {
    #[serde(flatten)]
    failover: Declared,
    /// Where it is declared.
    declared_at: DeclaredAt,
}

impl Item for FailoverItem {
    const LIST: &'static str = "FailoverList";
}

/// Who stands in for which LLM.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Declared {
    /// The LLM.
    llm: String,
    /// The provider that stands in for it.
    provider: String,
    /// The provider's type.
    #[serde(rename = "type")]
    kind: String,
    /// The model that it is asked for.
    model: String,
    /// Prompts leave this machine.
    remote: bool,
}

/// A line of a file.
#[derive(Debug, Serialize, JsonSchema)]
struct DeclaredAt {
    /// The file.
    file: PathBuf,
    /// The line, from 1 on.
    line: usize,
}

impl Declared {
    pub(super) fn of(llm: &LlmName, provider: &Provider) -> Self {
        Self {
            llm: llm.to_string(),
            provider: provider.name.clone(),
            kind: provider.kind.as_str().into(),
            model: provider.model.clone(),
            remote: entry::is_remote(provider),
        }
    }

    /// The cells with which every row begins.
    pub(super) fn cells(&self) -> Vec<String> {
        vec![self.llm.clone(), self.provider.clone(), self.kind.clone(), self.model.clone()]
    }
}

const COLUMNS: Columns =
    Columns { usual: &["LLM", "PROVIDER", "TYPE", "MODEL", "DECLARED AT"], wide: &["ENDPOINT"] };

pub(super) fn list(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, COLUMNS)?;
    let file = run.providers()?;
    let home = run.env.home();
    let rows = file.iter().flat_map(|file| {
        let path = match home.as_deref().and_then(|home| file.path.strip_prefix(home).ok()) {
            Some(rest) => format!("~/{}", rest.display()),
            None => file.path.display().to_string(),
        };
        file.registry.failovers().map(move |(llm, provider)| {
            let line = file.lines.get(llm).copied().unwrap_or_default();
            let failover = Declared::of(llm, provider);
            let mut cells = failover.cells();
            cells.extend([format!("{path}:{line}"), entry::endpoint(provider)]);
            let declared_at = DeclaredAt { file: file.path.clone(), line };
            Row { name: llm.to_string(), cells, document: FailoverItem { failover, declared_at } }
        })
    });
    let listing = Listing { view, rows: rows.collect() };
    run.show(&listing)?;
    Ok(Exit::Ok)
}
