//! `providers failovers`: which provider stands in for which LLM, whether it could now, whether it does when it is
//! asked, and when it did.

mod declared;
mod drill;
mod events;
mod probe;
mod watch;

pub(in crate::cmd) use declared::FailoverItem;
pub(in crate::cmd) use drill::DrillItem;
pub(in crate::cmd) use probe::ProbeItem;

use crate::{
    cmd::{Run, columns::ColumnArgs, infer::duration, since},
    exit::Exit,
};
use clap::Args;
use jiff::Timestamp;
use mcp_api::LlmName;
use std::time::Duration;

/// List which provider stands in for which LLM, and see whether it would, does and did
///
/// Without a flag: what the provider file declares. --probe asks the server for permission and the providers for
/// readiness, and sends no prompt. --drill goes the whole way with a prompt of one line, and starts what is not running:
/// an untested failover is no failover. --events shows what happened on this machine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mcpctl providers failovers\n  \
    mcpctl providers failovers --probe --watch\n  \
    mcpctl providers failovers --drill chat-prod\n  \
    mcpctl providers failovers --events --since 24h -o csv\n\n\
    Exit codes with --probe and --drill: 0 if every failover could take over (did), 3 if one could not.\n\
    To --probe an engine that is stopped is ready if it can be started: it starts when it is needed.")]
pub(crate) struct FailoversArgs {
    /// Ask the server for permission and the providers for readiness, now
    #[arg(long, conflicts_with_all = ["events", "drill"])]
    probe: bool,
    /// Probe again and again, until interrupted; a terminal shows the last round, a pipe gets all of them
    #[arg(long, requires = "probe")]
    watch: bool,
    /// How long to wait between two rounds of --watch
    #[arg(long, requires = "watch", default_value = "10s", value_parser = duration, value_name = "TIME")]
    interval: Duration,
    /// Really send one short prompt through permission and provider: of every failover, or of this LLM
    #[arg(long, num_args = 0..=1, value_name = "LLM", conflicts_with = "events")]
    #[expect(
        clippy::option_option,
        reason = "a flag with a value that may be left out, in clap's own words"
    )]
    drill: Option<Option<LlmName>>,
    /// List the failovers that happened on this machine, or were refused
    #[arg(long)]
    events: bool,
    /// Only events from this time on: 24h, 7d, 2026-01-31, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, requires = "events", value_parser = since::time, value_name = "TIME")]
    since: Option<Timestamp>,
    #[command(flatten)]
    columns: ColumnArgs,
}

pub(super) fn run(run: &mut Run<'_>, args: &FailoversArgs) -> anyhow::Result<Exit> {
    if let Some(llm) = &args.drill {
        return drill::run(run, llm.as_ref(), &args.columns);
    }
    if args.events {
        return events::list(run, args.since, &args.columns);
    }
    if args.watch {
        return watch::run(run, args.interval, &args.columns);
    }
    if args.probe {
        return probe::once(run, &args.columns);
    }
    declared::list(run, &args.columns)
}
