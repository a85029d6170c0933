//! Every failover as it would go now: is it permitted, and does the provider answer? No prompt is sent.

use super::declared::Declared;
use crate::{
    cmd::{
        Run,
        columns::ColumnArgs,
        permission::{self, Known},
    },
    config::Server,
    exit::Exit,
    failover::{Denial, Verdict, Why},
    gateway::Gateway,
    provider::{self, Readiness},
    providers_file::{Provider, ProvidersFile},
    render::{Columns, Item, Listing, Row, View},
};
use jiff::Timestamp;
use mcp_api::{LlmKey, LlmName};
use schemars::JsonSchema;
use serde::Serialize;

/// A failover as it would go now.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cmd) struct ProbeItem {
    #[serde(flatten)]
    failover: Declared,
    /// What the server says to the question for permission.
    permission: Permission,
    /// It could take over now: it is permitted, and its provider answers or can be started.
    ready: bool,
    /// How the provider is.
    engine: Engine,
    /// When this was found out: RFC 3339, UTC.
    checked_at: String,
}

impl Item for ProbeItem {
    const LIST: &'static str = "FailoverProbeList";
}

/// What the server says to the question for permission.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Permission {
    /// In one word: `allowed`, `denied`, or `unknown` if it could not be asked.
    verdict: &'static str,
    /// The same for people.
    why: String,
}

/// How a provider is.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Engine {
    /// `running`, `not_ready`, or how its engine is that can be started.
    state: &'static str,
    /// It does not answer now and can be started.
    #[serde(skip_serializing_if = "Option::is_none")]
    startable: Option<bool>,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Who is asked for permission, again and again.
pub(super) struct Asker {
    server: Server,
    gateway: Gateway,
}

/// What was found out about all failovers at once.
pub(super) struct Round {
    rows: Vec<Row<ProbeItem>>,
    /// What a table has no room for.
    notes: Vec<String>,
    all_ready: bool,
    /// The server does not accept the credential.
    pub(super) is_rejected: bool,
}

/// The columns of a round.
pub(super) const COLUMNS: Columns = Columns {
    usual: &["LLM", "PROVIDER", "TYPE", "MODEL", "PERMISSION", "ENGINE", "READY"],
    wide: &["CHECKED AT"],
};

pub(super) fn once(run: &mut Run<'_>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, COLUMNS)?;
    let file = run.providers()?;
    let round = Asker::new(run)?.round(run, file.as_ref());
    let all_ready = round.all_ready;
    let (listing, notes) = round.listing(view);
    for note in &notes {
        run.note(note);
    }
    run.show(&listing)?;
    if listing.rows.is_empty() {
        run.warn(NOTHING_DECLARED);
    }
    Ok(if all_ready { Exit::Ok } else { Exit::No })
}

/// What nobody who looks whether failovers would hold should take for a yes.
pub(super) const NOTHING_DECLARED: &str = "no failover is declared, so none can take over";

impl Round {
    /// What is shown of it, and what a table has no room for.
    pub(super) fn listing(self, view: View) -> (Listing<ProbeItem>, Vec<String>) {
        (Listing { view, rows: self.rows }, self.notes)
    }
}

impl Asker {
    /// Finds server and token.
    pub(super) fn new(run: &Run<'_>) -> anyhow::Result<Self> {
        let server = run.server()?;
        let gateway = Gateway::for_calls(&server, run.credential(&server)?.token)?;
        Ok(Self { server, gateway })
    }

    /// Asks the server and every provider.
    pub(super) fn round(&self, run: &mut Run<'_>, file: Option<&ProvidersFile>) -> Round {
        let mut round = Round { rows: Vec::new(), notes: Vec::new(), all_ready: true, is_rejected: false };
        for (llm, provider) in file.into_iter().flat_map(|file| file.registry.failovers()) {
            let (key, origin) = (LlmKey::Name(llm.clone()), self.server.origin());
            let verdict = permission::ask(run, &self.gateway, &origin, &key, Known::default()).verdict;
            round.is_rejected |= verdict.outcome() == Err(&Why::Denied(Denial::Status(401)));
            if let (_, Some(all)) = shown(&verdict) {
                round.notes.push(format!("{llm}: {all}"));
            }
            let readiness = readiness(run, provider, &self.server);
            if let Readiness::Down(why) = &readiness {
                round.notes.push(format!("{}: {why}", provider.name));
            }
            let row = row(llm, provider, &verdict, readiness);
            round.all_ready &= row.document.ready;
            round.rows.push(row);
        }
        round.all_ready &= !round.rows.is_empty();
        round
    }
}

fn readiness(run: &Run<'_>, provider: &Provider, server: &Server) -> Readiness {
    if provider::is_at(provider, &server.url) {
        return Readiness::Down("this is the central server itself; it cannot stand in for itself".into());
    }
    provider::readiness(provider, &run.env)
}

fn row(llm: &LlmName, provider: &Provider, verdict: &Verdict, readiness: Readiness) -> Row<ProbeItem> {
    let engine = Engine::of(readiness);
    let document = ProbeItem {
        failover: Declared::of(llm, provider),
        permission: Permission::of(verdict),
        ready: verdict.outcome().is_ok() && engine.why.is_none(),
        engine,
        checked_at: format!("{:.0}", Timestamp::now()),
    };
    let mut cells = document.failover.cells();
    cells.extend([
        shown(verdict).0,
        document.engine.state.replace('_', " "),
        if document.ready { "yes" } else { "no" }.into(),
        document.checked_at.clone(),
    ]);
    Row { name: llm.to_string(), cells, document }
}

impl Permission {
    pub(super) fn of(verdict: &Verdict) -> Self {
        Self { verdict: verdict.word(), why: verdict.to_string() }
    }
}

impl Engine {
    fn of(readiness: Readiness) -> Self {
        match readiness {
            Readiness::Running => Self { state: "running", startable: None, why: None },
            Readiness::Startable(state) => Self { state, startable: Some(true), why: None },
            Readiness::Down(why) => Self { state: "not_ready", startable: None, why: Some(why) },
        }
    }
}

/// A verdict as short as a table wants it, and all of it where that leaves something out.
pub(super) fn shown(verdict: &Verdict) -> (String, Option<String>) {
    match verdict.outcome() {
        Ok(()) => (verdict.word().to_owned(), None),
        Err(Why::Denied(Denial::Status(status))) => (format!("denied ({status})"), None),
        Err(_) => (verdict.word().to_owned(), Some(verdict.to_string())),
    }
}
