//! `audit list`: the trail as a table, or for other programs.

use crate::{
    cmd::{Failure, Run, Usage, columns::ColumnArgs, completion::Names, failover_words, since::time},
    exit::Exit,
    gateway::Gateway,
    render::{Columns, Format, Item, Listing, Row, View},
};
use clap::Args;
use jiff::Timestamp;
use mcp_api::{AuditEntry, AuditEvent};
use serde_json::Value;

/// List who did what, the oldest first; needs the role view on audit
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcpctl audit list --since 24h --user dana@example.com\n  \
                        mcpctl audit list --failovers --since 2026-01-31T00:00:00Z -o csv\n  \
                        mcpctl audit list -o jsonl > audit.jsonl     # whole, for audit verify --file")]
pub(in crate::cmd) struct ListArgs {
    /// From this time on: 24h, 7d, 2026-01-31, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// What this user or service account did
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// What was done with this LLM, by name or id
    #[arg(long, value_name = "NAME", add = Names::Llms)]
    llm: Option<String>,
    /// What kind of thing happened: change, probe, inference, cut or failover
    #[arg(long, value_name = "KIND", conflicts_with = "failovers")]
    event: Option<AuditEvent>,
    /// What local providers answered in the server's place, as their users' machines reported it
    #[arg(long)]
    failovers: bool,
    #[command(flatten)]
    columns: ColumnArgs,
}

impl ListArgs {
    /// The words of the query.
    fn search(&self) -> Vec<(&'static str, String)> {
        let event = if self.failovers { Some(AuditEvent::Failover) } else { self.event };
        let words = [
            ("since", self.since.map(|time| time.to_string())),
            ("until", self.until.map(|time| time.to_string())),
            ("user", self.user.clone()),
            ("llm", self.llm.clone()),
            ("event", event.map(|event| event.to_string())),
        ];
        words.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

pub(super) fn list(run: &mut Run<'_>, args: &ListArgs) -> anyhow::Result<Exit> {
    use Format::{Csv, Jsonl, Name};
    let list = if args.failovers { &FAILOVERS } else { &EVERYTHING };
    let mut view = run.view(&args.columns, list.columns)?;
    let format = view.format();
    let gateway = run.gateway()?;
    let mut rows = Vec::new();
    pages(&gateway, &args.search(), |entries| {
        rows.extend(entries.into_iter().map(|entry| Row {
            name: entry.seq.to_string(),
            cells: (list.cells)(&entry, format),
            document: entry,
        }));
        // What needs no look at the whole is written while it arrives.
        if matches!(format, Jsonl | Csv | Name) {
            run.show(&listing(view.clone(), std::mem::take(&mut rows)))?;
            view = view.clone().without_headers();
        }
        Ok(())
    })?;
    if !matches!(format, Jsonl | Csv | Name) {
        run.show(&listing(view, rows))?;
    }
    Ok(Exit::Ok)
}

/// Hands over all entries that are looked for, a page at a time; at least one page, which may be empty.
pub(super) fn pages(
    gateway: &Gateway,
    search: &[(&'static str, String)],
    mut take: impl FnMut(Vec<AuditEntry>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = gateway.audit(search, after).map_err(Failure)?;
        let next = page.next;
        take(page.items)?;
        match next {
            None => return Ok(()),
            // Nobody is to be sent round in circles.
            next if next <= after => {
                return Err(Usage("the server repeats itself: it gave the same page twice".into()).into());
            }
            next => after = next,
        }
    }
}

impl Item for AuditEntry {
    const LIST: &'static str = "AuditList";
}

/// How entries are shown.
struct Shape {
    columns: Columns,
    cells: fn(&AuditEntry, Format) -> Vec<String>,
}

fn listing(view: View, rows: Vec<Row<AuditEntry>>) -> Listing<AuditEntry> {
    Listing { view, rows }
}

const EVERYTHING: Shape = Shape {
    columns: Columns {
        usual: &["TIME", "EVENT", "VERDICT", "WHO", "WHAT"],
        wide: &["BINDING", "SEQ", "KIND", "TOKEN", "LLM", "LLM ID", "REQUEST", "DETAIL", "HASH"],
    },
    cells: |entry, format| {
        let subject = entry.subject.as_ref();
        vec![
            shown_time(&entry.at, format),
            entry.event.clone(),
            text(entry.verdict.as_ref()),
            subject.map_or("(mcpd bootstrap)".into(), |subject| subject.name.clone()),
            what(entry),
            text(entry.binding.as_ref()),
            entry.seq.to_string(),
            subject.map(|subject| subject.kind.clone()).unwrap_or_default(),
            text(entry.token_id.as_ref()),
            text(entry.llm.as_ref()),
            text(entry.llm_id.as_ref()),
            text(entry.request_id.as_ref()),
            entry.detail.as_ref().map_or(String::new(), |detail| detail.get().to_owned()),
            entry.hash.clone(),
        ]
    },
};

const FAILOVERS: Shape = Shape {
    columns: Columns {
        usual: &["TIME", "WHO", "LLM", "REASON", "PROVIDER", "OUTCOME"],
        wide: &["TOOK", "TYPE", "MODEL", "REPORTED", "SEQ", "REQUEST"],
    },
    cells: |entry, format| {
        let detail = entry.detail.as_ref().and_then(|detail| serde_json::from_str(detail.get()).ok());
        let detail: Value = detail.unwrap_or_default();
        let told = |key: &str| detail[key].as_str().unwrap_or_default().to_owned();
        let took = detail["durationMs"].as_u64().unwrap_or_default();
        vec![
            shown_time(&told("at"), format),
            entry.subject.as_ref().map(|subject| subject.name.clone()).unwrap_or_default(),
            text(entry.llm.as_ref()),
            shown_word(&told("reason"), failover_words::reason, format),
            told("provider"),
            shown_word(&told("outcome"), failover_words::outcome, format),
            if format == Format::Csv { took.to_string() } else { format!("{took} ms") },
            told("providerType"),
            told("model"),
            shown_time(&entry.at, format),
            entry.seq.to_string(),
            text(entry.request_id.as_ref()),
        ]
    },
};

/// The verb and the thing; of what is done with an LLM all day long, the LLM.
fn what(entry: &AuditEntry) -> String {
    match (&entry.object, &entry.verb) {
        (Some(object), Some(verb)) => format!("{verb} {object}"),
        (Some(object), None) => object.clone(),
        (None, _) => text(entry.llm.as_ref()),
    }
}

fn text(field: Option<&String>) -> String {
    field.cloned().unwrap_or_default()
}

/// In words for people, who see the same in `providers failovers --events`.
fn shown_word(word: &str, words: fn(&str) -> String, format: Format) -> String {
    match format {
        Format::Table | Format::Wide | Format::Text => words(word),
        _ => word.to_owned(),
    }
}

/// To the second for people.
fn shown_time(at: &str, format: Format) -> String {
    match (format, at.split_once('.')) {
        (Format::Table | Format::Wide | Format::Text, Some((seconds, _))) => format!("{seconds}Z"),
        _ => at.to_owned(),
    }
}
