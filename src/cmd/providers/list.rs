//! `providers list` and `providers get`: what the file says.

use super::{
    entry::{self, ProviderDocument},
    roster,
};
use crate::{
    cmd::{Run, columns::ColumnArgs},
    engine::Status,
    environment::Environment,
    exit::Exit,
    providers_file::Provider,
    render::{Columns, Format, Item, Listing, Row},
};
use mcp_api::LlmName;
use schemars::JsonSchema;
use serde::Serialize;

/// A provider of the file, and how its engine is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cmd) struct ProviderItem {
    #[serde(flatten)]
    provider: ProviderDocument,
    /// How its engine is, as in `mcpctl providers status`; null for an endpoint that mcpctl does not run.
    state: Option<&'static str>,
}

impl Item for ProviderItem {
    const LIST: &'static str = "ProviderList";
}

const COLUMNS: Columns =
    Columns { usual: &["NAME", "TYPE", "STATE", "MODEL", "FAILOVER FOR"], wide: &["ENDPOINT"] };

pub(super) fn list(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, COLUMNS)?;
    let file = run.providers()?;
    let rows = file.iter().flat_map(|file| file.registry.providers()).map(|provider| row(provider, &run.env));
    let listing = Listing { view, rows: rows.collect() };
    run.show(&listing)?;
    Ok(Exit::Ok)
}

fn row(provider: &Provider, env: &Environment) -> Row<ProviderItem> {
    let state = state(provider, env);
    let llms: Vec<_> = provider.failover_for.iter().map(LlmName::as_str).collect();
    let cells = vec![
        provider.name.clone(),
        provider.kind.as_str().into(),
        state.unwrap_or_default().into(),
        provider.model.clone(),
        llms.join(","),
        entry::endpoint(provider),
    ];
    let document = ProviderItem { provider: ProviderDocument::of(provider), state };
    Row { name: provider.name.clone(), cells, document }
}

/// How its engine is. An endpoint that is not ours has no state: only a request would tell.
fn state(provider: &Provider, env: &Environment) -> Option<&'static str> {
    roster::managed(provider).ok()?;
    Some(Status::of(env, &provider.name).map_or("unknown", |status| status.condition.as_str()))
}

pub(super) fn get(run: &mut Run<'_>, name: &str) -> anyhow::Result<Exit> {
    let format = run.format(Format::Yaml, &[Format::Yaml, Format::Json])?;
    let file = run.providers()?;
    let provider = roster::provider(file.as_ref(), name)?;
    run.show_document(&ProviderDocument::of(provider), format)?;
    Ok(Exit::Ok)
}
