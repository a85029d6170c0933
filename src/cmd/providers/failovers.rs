//! `providers failovers`: which provider stands in for which LLM, and whether it could now.

use super::entry;
use crate::{
    cmd::{
        Run,
        columns::ColumnArgs,
        permission::{self, Known},
    },
    config::Server,
    exit::Exit,
    gateway::Gateway,
    provider::{self, Readiness},
    providers_file::Provider,
    render::{Columns, Listing, Row},
};
use mcp_api::{LlmKey, LlmName};
use serde_json::json;

const DECLARED: Columns =
    Columns { usual: &["LLM", "PROVIDER", "TYPE", "MODEL", "DECLARED AT"], wide: &["ENDPOINT"] };

const PROBED: Columns =
    Columns { usual: &["LLM", "PROVIDER", "TYPE", "MODEL", "PERMISSION", "ENGINE", "READY"], wide: &[] };

/// Every failover as it is declared.
pub(super) fn list(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, DECLARED)?;
    let file = run.providers()?;
    let home = run.env.home();
    let rows = file.iter().flat_map(|file| {
        let path = match home.as_deref().and_then(|home| file.path.strip_prefix(home).ok()) {
            Some(rest) => format!("~/{}", rest.display()),
            None => file.path.display().to_string(),
        };
        file.registry.failovers().map(move |(llm, provider)| {
            let line = file.lines.get(llm).copied().unwrap_or_default();
            let mut row = row(llm, provider);
            row.document["declaredAt"] = json!({ "file": file.path, "line": line });
            row.cells.push(format!("{path}:{line}"));
            row.cells.push(entry::endpoint(provider));
            row
        })
    });
    let listing = Listing { kind: "FailoverList", view, rows: rows.collect() };
    run.show(&listing)?;
    Ok(Exit::Ok)
}

/// Every failover as it would go now: is it permitted, and does the provider answer?
pub(super) fn probe(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, PROBED)?;
    let file = run.providers()?;
    let server = run.server()?;
    let gateway = Gateway::for_calls(&server, run.credential(&server)?.token)?;
    let mut rows = Vec::new();
    let mut all_ready = true;
    for (llm, provider) in file.iter().flat_map(|file| file.registry.failovers()) {
        let key = LlmKey::Name(llm.clone());
        let verdict = permission::ask(run, &gateway, &server.origin(), &key, Known::default()).verdict;
        let readiness = readiness(run, provider, &server);
        let can_answer = matches!(readiness, Readiness::Running | Readiness::Startable(_));
        let ready = verdict.outcome().is_ok() && can_answer;
        all_ready &= ready;
        let engine = match &readiness {
            Readiness::Running => "running".to_owned(),
            Readiness::Startable(state) => (*state).to_owned(),
            Readiness::Down(_) => "not ready".to_owned(),
        };
        let mut row = row(llm, provider);
        row.document["permission"] = json!({ "verdict": verdict.word(), "why": verdict.to_string() });
        row.document["ready"] = json!(ready);
        row.document["engine"] = match &readiness {
            Readiness::Running => json!({ "state": "running" }),
            Readiness::Startable(state) => json!({ "state": state, "startable": true }),
            Readiness::Down(why) => json!({ "state": "not_ready", "why": why }),
        };
        row.cells.extend([verdict.to_string(), engine, if ready { "yes" } else { "no" }.into()]);
        if let Readiness::Down(why) = readiness {
            run.note(format_args!("{}: {why}", provider.name));
        }
        rows.push(row);
    }
    run.show(&Listing { kind: "FailoverProbeList", view, rows })?;
    Ok(if all_ready { Exit::Ok } else { Exit::No })
}

fn readiness(run: &Run<'_>, provider: &Provider, server: &Server) -> Readiness {
    if provider::is_at(provider, &server.url) {
        return Readiness::Down("this is the central server itself; it cannot stand in for itself".into());
    }
    provider::readiness(provider, &run.env)
}

fn row(llm: &LlmName, provider: &Provider) -> Row {
    let mut document = json!({ "llm": llm, "provider": provider.name, "type": provider.kind.as_str(), "model": provider.model });
    document["remote"] = json!(entry::is_remote(provider));
    let cells =
        vec![llm.to_string(), provider.name.clone(), provider.kind.as_str().into(), provider.model.clone()];
    Row { name: llm.to_string(), cells, document }
}
