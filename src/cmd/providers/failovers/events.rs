//! What happened on this machine: never a prompt, never an answer.

use crate::{
    cmd::{Run, columns::ColumnArgs, failover_words},
    exit::Exit,
    journal::{self, Event, JournalError, Past},
    render::{Columns, Item, Listing, Row},
};
use jiff::Timestamp;

impl Item for Event {
    const LIST: &'static str = "FailoverEventList";
}

const COLUMNS: Columns = Columns {
    usual: &["TIME", "USER", "LLM", "REASON", "VERDICT", "PROVIDER", "MODEL", "OUTCOME", "DURATION MS"],
    wide: &["REQUEST ID"],
};

pub(super) fn list(
    run: &mut Run<'_>,
    since: Option<Timestamp>,
    columns: &ColumnArgs,
) -> anyhow::Result<Exit> {
    let view = run.view(columns, COLUMNS)?;
    match journal::settle(&run.env) {
        Ok(()) => {}
        // Nothing could be said of anything.
        Err(error @ JournalError::NoFolder) => return Err(error.into()),
        Err(error) => {
            run.warn(format_args!("failovers of commands that were killed may be missing: {error}"));
        }
    }
    let past = Past::read(&run.env, since)?;
    if past.unreadable > 0 {
        run.warn(format_args!(
            "lines of failovers.jsonl that are no events, or are cut short: {}; they are not shown",
            past.unreadable
        ));
    }
    let rows = past.events.into_iter().map(row).collect();
    run.show(&Listing { view, rows })?;
    Ok(Exit::Ok)
}

fn row(event: Event) -> Row<Event> {
    let cells = vec![
        event.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        who(&event),
        event.llm.clone(),
        failover_words::reason(&event.reason),
        event.verdict.as_str().into(),
        event.provider.clone().unwrap_or_default(),
        event.model.clone().unwrap_or_default(),
        failover_words::outcome(event.outcome.as_str()),
        event.duration_ms.to_string(),
        event.request_id.clone(),
    ];
    Row { name: event.id.clone(), cells, document: event }
}

/// A login is not the name of anybody at the server, and is not to be taken for one.
fn who(event: &Event) -> String {
    let login = || event.login.as_ref().map_or(String::new(), |login| format!("{login} (login)"));
    event.user.clone().unwrap_or_else(login)
}
