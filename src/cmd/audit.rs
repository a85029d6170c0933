//! `audit`: what the server has written down, and whether that is still what it wrote.

mod list;
mod verify;

pub(super) use verify::AuditVerification;

use super::Run;
use crate::exit::Exit;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    List(list::ListArgs),
    Verify(verify::VerifyArgs),
}

pub(super) fn run(run: &mut Run<'_>, command: AuditCommand) -> anyhow::Result<Exit> {
    match command {
        AuditCommand::List(args) => list::list(run, &args),
        AuditCommand::Verify(args) => verify::verify(run, &args),
    }
}
