//! `delete`: removes what documents describe, or things by kind and name.

use super::{
    Run,
    apply::{
        DryRun, Halted, purpose,
        report::{Action, Report},
        sources,
    },
    completion::Names,
    meant,
};
use crate::{
    documents::{Key, Source},
    exit::Exit,
    failover::{CallFailure, Fault},
};
use clap::Args;
use std::path::PathBuf;

/// Remove what documents describe, or things by kind and name
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcpctl delete rbac data-team ops-team\n  mcpctl delete -f team.yaml --ignore-not-found\n\n\
                  Of documents, role bindings go first and users last. Tokens go with their user. Role bindings that \
                  name what is removed stay, and apply to a later one of that name."
)]
pub(super) struct DeleteArgs {
    /// YAML or JSON files, or folders of them; "-" is stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "what")]
    file: Vec<PathBuf>,
    /// user, serviceaccount, group, llm or rbac, and names; or KIND/NAME pairs
    #[arg(required_unless_present = "file", value_name = "KIND NAME", add = Names::Things)]
    what: Vec<String>,
    /// What does not exist is no error
    #[arg(long)]
    ignore_not_found: bool,
    /// Have the server check it all and write nothing
    #[arg(long, value_enum, value_name = "server")]
    dry_run: Option<DryRun>,
}

pub(super) fn delete(run: &mut Run<'_>, args: &DeleteArgs) -> anyhow::Result<Exit> {
    let purpose = purpose(args.dry_run);
    let mut report = Report::new(run, purpose)?;
    let doomed = doomed(run, args)?;
    let gateway = run.gateway()?;
    for (at, (key, source)) in doomed.iter().enumerate() {
        match gateway.remove(key, None, purpose) {
            Ok(()) => report.add(run, key, Action::Deleted, source.as_ref(), &[])?,
            Err(failure) if args.ignore_not_found && is_absent(&failure) => {}
            Err(failure) => {
                let left = doomed[at..].iter().map(|(key, _)| key.clone()).collect();
                let meant = meant::thing(&gateway, key, &failure);
                return Err(Halted::new(source.as_ref(), key.clone(), report, left, failure)
                    .or_meant(meant)
                    .into());
            }
        }
    }
    report.deleted(run)?;
    Ok(Exit::Ok)
}

fn doomed(run: &mut Run<'_>, args: &DeleteArgs) -> anyhow::Result<Vec<(Key, Option<Source>)>> {
    if args.file.is_empty() {
        let keys = sources::named(&args.what)?;
        if keys.is_empty() {
            return Err(super::Usage("name what is to be deleted, after its kind".into()).into());
        }
        return Ok(keys.into_iter().map(|key| (key, None)).collect());
    }
    let documents = sources::read_some(run, &args.file)?;
    Ok(documents.into_iter().rev().map(|it| (Key::of(&it.document), Some(it.source))).collect())
}

fn is_absent(failure: &CallFailure) -> bool {
    matches!(failure.fault, Fault::Status { status: 404, .. })
}
