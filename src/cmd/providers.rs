//! `providers`: what the provider file declares, whether it would hold when it is needed, and the engines that run
//! for it.

mod entry;
mod failovers;
mod list;
mod logs;
mod roster;
mod start;
mod status;
mod stop;
mod times;
mod validate;

pub(crate) use start::StartFailed;

use super::{Run, columns::ColumnArgs};
use crate::exit::Exit;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum ProvidersCommand {
    /// List the providers
    List(ColumnArgs),
    /// Show one provider in full
    Get {
        /// Its name
        name: String,
    },
    /// List which provider stands in for which LLM
    #[command(
        after_help = "Exit codes with --probe: 0 if every failover could take over now, 3 if one could not.\n\
                      An engine that is stopped counts as ready if it can be started: it starts when it is needed."
    )]
    Failovers {
        /// Ask the server for permission and the providers for readiness, now
        #[arg(long)]
        probe: bool,
        #[command(flatten)]
        columns: ColumnArgs,
    },
    /// Check the provider file, and say which line to change
    Validate,
    Start(start::StartArgs),
    Stop(stop::StopArgs),
    Status(status::StatusArgs),
    Logs(logs::LogsArgs),
}

pub(super) fn run(run: &mut Run<'_>, command: &ProvidersCommand) -> anyhow::Result<Exit> {
    match command {
        ProvidersCommand::List(columns) => list::list(run, columns),
        ProvidersCommand::Get { name } => list::get(run, name),
        ProvidersCommand::Failovers { probe: false, columns } => failovers::list(run, columns),
        ProvidersCommand::Failovers { probe: true, columns } => failovers::probe(run, columns),
        ProvidersCommand::Validate => validate::run(run),
        ProvidersCommand::Start(args) => start::run(run, args),
        ProvidersCommand::Stop(args) => stop::run(run, args),
        ProvidersCommand::Status(args) => status::run(run, args),
        ProvidersCommand::Logs(args) => logs::run(run, args),
    }
}
