//! `providers`: what the provider file declares, whether it would hold when it is needed, and the engines that run
//! for it.

mod entry;
mod failovers;
mod list;
mod logs;
mod reader;
mod roster;
mod start;
mod status;
mod stop;
mod times;
mod validate;

pub(super) use entry::ProviderDocument;
pub(super) use failovers::{DrillItem, FailoverItem, ProbeItem};
pub(super) use list::ProviderItem;
pub(crate) use start::StartFailed;
pub(super) use status::StatusItem;

use super::{Run, columns::ColumnArgs, completion::Names};
use crate::exit::Exit;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum ProvidersCommand {
    /// List the providers
    #[command(after_help = "Examples:\n  mcpctl providers list\n  mcpctl providers list -o wide")]
    List(ColumnArgs),
    /// Show one provider in full
    #[command(
        after_help = "Examples:\n  mcpctl providers get qwen-box\n  mcpctl providers get qwen-box -o json\n\n\
        Exit codes: 0, 2 no such provider or a broken file."
    )]
    Get {
        /// Its name
        #[arg(add = Names::Providers)]
        name: String,
    },
    Failovers(failovers::FailoversArgs),
    /// Check the provider file, and say which line to change
    #[command(after_help = "Examples:\n  mcpctl providers validate\n  \
        mcpctl providers validate --providers team/providers.yaml\n\n\
        Exit codes: 0 it can be used, 2 it cannot.")]
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
        ProvidersCommand::Failovers(args) => failovers::run(run, args),
        ProvidersCommand::Validate => validate::run(run),
        ProvidersCommand::Start(args) => start::run(run, args),
        ProvidersCommand::Stop(args) => stop::run(run, args),
        ProvidersCommand::Status(args) => status::run(run, args),
        ProvidersCommand::Logs(args) => logs::run(run, args),
    }
}
