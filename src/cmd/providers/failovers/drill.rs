//! `providers failovers --drill`: each failover goes the whole way, with the same permission as a real one, before the
//! day on which it is needed. The server is asked for permission and never for an answer.

mod journal;
mod way;

use super::{
    declared::Declared,
    probe::{NOTHING_DECLARED, Permission},
};
use crate::{
    cmd::{Run, Usage, columns::ColumnArgs, providers::times, start_progress::end_of_log},
    exit::Exit,
    failover::Why,
    gateway::Gateway,
    provider::LendError,
    providers_file::{Provider, ProvidersFile},
    render::{Columns, Item, Listing, Row},
    yaml,
};
use mcp_api::LlmName;
use schemars::JsonSchema;
use serde::Serialize;
use std::{rc::Rc, time::Duration};
use way::{Drill, Failure};

/// A failover as it went.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cmd) struct DrillItem {
    #[serde(flatten)]
    failover: Declared,
    /// What the server said to the question for permission; null if it was not asked.
    permission: Option<Permission>,
    /// How long the engine took to start, in milliseconds; null if none had to be started.
    engine_start_ms: Option<u64>,
    /// From the prompt to the first piece of the answer, in milliseconds; null if there was none.
    first_token_ms: Option<u64>,
    /// Everything, from the question for permission on, in milliseconds.
    total_ms: u64,
    /// It took over.
    ok: bool,
    /// Why it did not.
    why: Option<String>,
    /// The `x-request-id` of the question for permission, which the event and the server's trail have too.
    request_id: String,
}

impl Item for DrillItem {
    const LIST: &'static str = "FailoverDrillList";
}

const COLUMNS: Columns = Columns {
    usual: &["LLM", "PROVIDER", "TYPE", "MODEL", "PERMISSION", "ENGINE START", "FIRST TOKEN", "TOOK OVER"],
    wide: &["TOTAL", "REQUEST ID", "WHY"],
};

/// Drills every failover, or the one of an LLM, one after the other.
pub(super) fn run(run: &mut Run<'_>, only: Option<&LlmName>, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let view = run.view(columns, COLUMNS)?;
    let file = run.providers()?;
    let chosen = chosen(file.as_ref(), only)?;
    let server = run.server()?;
    let token = run.credential(&server)?.token;
    if chosen.is_empty() {
        run.warn(NOTHING_DECLARED);
    }
    let mut all_ok = !chosen.is_empty();
    let mut rows = Vec::new();
    for (llm, provider) in chosen {
        let gateway = Rc::new(Gateway::for_calls(&server, token.clone())?);
        let mut drill = Drill::new(run, gateway, &server, llm, provider);
        let went = drill.go();
        let row = drill.concluded(went);
        all_ok &= row.document.ok;
        rows.push(row);
    }
    run.show(&Listing { view, rows })?;
    Ok(if all_ok { Exit::Ok } else { Exit::No })
}

fn chosen<'a>(
    file: Option<&'a ProvidersFile>,
    only: Option<&LlmName>,
) -> Result<Vec<(&'a LlmName, &'a Provider)>, Usage> {
    let all: Vec<_> = file.into_iter().flat_map(|file| file.registry.failovers()).collect();
    let Some(only) = only else { return Ok(all) };
    let chosen: Vec<_> = all.iter().copied().filter(|(llm, _)| *llm == only).collect();
    if chosen.is_empty() {
        let names: Vec<_> = all.iter().map(|(llm, _)| llm.as_str()).collect();
        let near = yaml::nearest(only.as_str(), &names)
            .map_or(String::new(), |near| format!(" (did you mean \"{near}\"?)"));
        return Err(Usage(format!("no provider is declared as failover for \"{only}\"{near}")));
    }
    Ok(chosen)
}

impl Drill<'_, '_, '_> {
    /// What is shown of it.
    fn concluded(mut self, went: Result<Duration, Failure>) -> Row<DrillItem> {
        let total = self.started.elapsed();
        let (first_token, why) = match went {
            Ok(first_token) => (Some(first_token), None),
            Err(failure) => (None, Some(self.tell(&failure))),
        };
        let (shown, permission) =
            self.permission.map_or((String::new(), None), |(shown, it)| (shown, Some(it)));
        let document = DrillItem {
            failover: Declared::of(self.llm, self.provider),
            permission,
            engine_start_ms: self.engine_start.map(millis),
            first_token_ms: first_token.map(millis),
            total_ms: millis(total),
            ok: why.is_none(),
            why,
            request_id: self.gateway.request_id().to_owned(),
        };
        let took = |time: Option<Duration>| time.map_or(String::new(), times::took_precisely);
        let mut cells = document.failover.cells();
        cells.extend([
            shown,
            took(self.engine_start),
            took(first_token),
            if document.ok { "yes" } else { "no" }.into(),
            took(Some(total)),
            document.request_id.clone(),
            document.why.clone().unwrap_or_default(),
        ]);
        Row { name: self.llm.to_string(), cells, document }
    }

    /// Tells people why; gives the reason in a line.
    fn tell(&mut self, failure: &Failure) -> String {
        let name = &self.provider.name;
        let why = match failure {
            Failure::GaveUp(gave_up) => refusal(&gave_up.why),
            Failure::NotReady(error) => format!("provider \"{name}\" cannot be asked: {error}"),
            Failure::Call(failure) => failure.told_of(&format!("provider \"{name}\"")).to_string(),
            Failure::Empty => format!("provider \"{name}\" gave an empty answer"),
        };
        self.run.warn(format_args!("{}: {why}", self.llm));
        if let Failure::NotReady(LendError::Engine(error)) = failure {
            for line in end_of_log(error, name) {
                self.run.warn(line);
            }
        }
        why
    }
}

fn refusal(why: &Why) -> String {
    match why {
        Why::Denied(denial) => format!("not permitted: {denial}"),
        Why::Unverified(doubt) => format!("permission cannot be confirmed: {doubt}"),
        Why::NoStandIn(none) => none.to_string(),
        Why::Final => "the server was not asked".into(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
