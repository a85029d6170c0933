//! `doctor`: looks at everything that has to be right, and says how to mend what is not.
//!
//! It needs none of it: it works without a home, without a network and with every file broken. It changes nothing that
//! it looks at, and each look has its limit.

mod engines;
mod finding;
mod gpu;
mod network;
mod providers;
mod setup;

pub(super) use finding::Finding;

use super::{Run, columns::ColumnArgs};
use crate::{
    exit::Exit,
    render::{Columns, Format, Listing, Row},
};
use clap::{Args, ValueEnum};
use finding::{Outcome, Report};

/// Look whether everything is well: settings, token, network, server, clock, providers, engines
///
/// A finding is ok, remark (it works, but look at it), wrong, or skipped (it could not be looked at, because of
/// something else). Beneath the table stand the commands that mend. Nothing is changed, and no token is shown.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcpctl doctor\n  mcpctl doctor --context staging\n  \
                        mcpctl doctor -o json | jq '.items[] | select(.result == \"wrong\")'\n\n\
                        Exit codes: 0 if nothing is wrong, 3 if something is. A remark is nothing wrong.\n\
                        Whether each failover would be permitted now: mcpctl providers failovers --probe.")]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    columns: ColumnArgs,
}

const COLUMNS: Columns = Columns { usual: &["RESULT", "CHECK", "FINDING"], wide: &["TO MEND"] };

pub(super) fn run(run: &mut Run<'_>, args: &DoctorArgs) -> anyhow::Result<Exit> {
    let mut report = Report::default();
    setup::output(run, &mut report);
    let view = run.view(&args.columns, COLUMNS)?;
    let for_people = run.format(Format::Table, Format::value_variants())? == Format::Table;
    examine(run, &mut report);
    let exit = if report.is_wrong() { Exit::No } else { Exit::Ok };
    let summary = report.summary();
    let mends: Vec<_> = report.findings().iter().filter_map(mend_line).collect();
    let rows = report.into_findings().into_iter().map(row).collect();
    run.show_marked(&Listing { view, rows }, &[("wrong", "31"), ("remark", "33")])?;
    // Not into the table: a command that is broken into lines cannot be copied.
    if for_people {
        run.say("")?;
        for line in mends {
            run.say(line)?;
        }
        run.say(summary)?;
    }
    Ok(exit)
}

/// Everything, in the order in which one thing needs the other.
fn examine(run: &Run<'_>, report: &mut Report) {
    setup::environment(run, report);
    setup::state(run, report);
    setup::config(run, report);
    let server = setup::server(run, report);
    let token = setup::credential(run, server.as_ref(), report);
    let answers = network::server(run, server.as_ref(), report);
    let gateway = network::login(server.as_ref().filter(|_| answers), token, report);
    let file = providers::file(run, report);
    providers::each(run, file.as_ref(), server.as_ref(), report);
    providers::failovers(file.as_ref(), gateway.as_ref(), report);
    gpu::memory(run, file.as_ref(), report);
    engines::leftovers(run, file.as_ref(), report);
}

fn row(finding: Finding) -> Row<Finding> {
    let cells = vec![
        finding.result.as_str().to_owned(),
        finding.name(),
        finding.message.clone(),
        finding.mend.clone().unwrap_or_default(),
    ];
    Row { name: finding.name(), cells, document: finding }
}

/// Some commands change nothing: they only show more.
fn purpose(command: &str) -> &'static str {
    const LOOK: [&str; 9] = [
        "curl",
        "getent",
        "ls",
        "df",
        "ss",
        "nvidia-smi",
        "mcpctl llm",
        "mcpctl auth can-i",
        "mcpctl providers logs",
    ];
    let is = |look: &&str| {
        command.strip_prefix(*look).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    if LOOK.iter().any(is) { "to look closer at" } else { "to mend" }
}

fn mend_line(finding: &Finding) -> Option<String> {
    let mend = finding.mend.as_ref()?;
    matches!(finding.result, Outcome::Wrong | Outcome::Remark)
        .then(|| format!("{} {}: {mend}", purpose(mend), crate::render::plain(&finding.name())))
}
