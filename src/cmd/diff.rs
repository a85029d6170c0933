//! `diff`: what `apply` would change.

use super::{
    Failure, Run,
    apply::{
        prune,
        sources::{self, Files},
    },
};
use crate::{
    documents::{self, Key},
    exit::Exit,
    render::{Format, escape_lines},
};
use anyhow::Context as _;
use clap::Args;
use mcp_api::Selector;
use similar::TextDiff;

/// Show what apply would change: nothing and exit 0 if nothing, else a diff and exit 3
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcpctl diff -f team.yaml\n  mcpctl diff -f access/ --prune -l team=data\n\nLines \
                  with - are what the server has, lines with + what apply would make of it."
)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    files: Files,
    /// Also show what --prune of apply would remove
    #[arg(long, requires = "selector")]
    prune: bool,
    /// What --prune is about, such as team=data; with commas between, all must hold
    #[arg(short = 'l', long, requires = "prune", value_name = "KEY=VALUE")]
    selector: Option<Selector>,
}

/// One thing as it is and as it would be.
struct Drift {
    key: Key,
    is: String,
    would_be: String,
    /// What stands in the header for each of them.
    names: [String; 2],
}

pub(super) fn diff(run: &mut Run<'_>, args: &DiffArgs) -> anyhow::Result<Exit> {
    let format = run.format(Format::Text, &[Format::Text, Format::Name])?;
    let found = drifts(run, args)?;
    for drift in &found {
        match format {
            Format::Name => run.say(&drift.key)?,
            _ => show(run, drift)?,
        }
    }
    Ok(if found.is_empty() { Exit::Ok } else { Exit::No })
}

fn drifts(run: &mut Run<'_>, args: &DiffArgs) -> anyhow::Result<Vec<Drift>> {
    let documents = sources::read(run, &args.files, args.prune)?;
    let gateway = run.gateway()?;
    let mut found = Vec::new();
    for described in &documents {
        let key = Key::of(&described.document);
        let at = || format!("{}: {key}", described.source);
        let stored = gateway.find(&key).map_err(Failure).with_context(at)?;
        if stored.as_ref().is_some_and(|stored| stored.document == described.document) {
            continue;
        }
        let absent = if stored.is_some() { "" } else { " (absent)" };
        let names = [format!("server {key}{absent}"), format!("{} {key}", described.source)];
        let is = stored.map_or(String::new(), |stored| documents::text(&stored.document));
        found.push(Drift { is, would_be: documents::text(&described.document), names, key });
    }
    if let Some(selector) = &args.selector {
        for stored in prune::surplus(run, &gateway, selector, &documents)? {
            let key = Key::of(&stored.document);
            let names = [format!("server {key}"), format!("in no document {key}")];
            let is = documents::text(&stored.document);
            found.push(Drift { key, is, would_be: String::new(), names });
        }
    }
    Ok(found)
}

fn show(run: &mut Run<'_>, drift: &Drift) -> anyhow::Result<()> {
    let diff = TextDiff::from_lines(&drift.is, &drift.would_be);
    let [is, would_be] = &drift.names;
    let text = escape_lines(&diff.unified_diff().header(is, would_be).to_string());
    for line in text.lines() {
        let colour = match line.as_bytes().first() {
            _ if line.starts_with("--- ") || line.starts_with("+++ ") => "1",
            Some(b'-') => "31",
            Some(b'+') => "32",
            Some(b'@') => "36",
            Some(_) | None => "",
        };
        let line = if colour.is_empty() { line.to_owned() } else { run.coloured(colour, line) };
        run.say(line)?;
    }
    Ok(())
}
