//! What engines have left behind: processes without their supervisor, records that cannot be read, engines that no
//! provider declares any more.

use super::finding::{Check, Report, quoted};
use crate::{
    cmd::Run,
    engine::{Condition, EngineError, Place, PlaceError, Status},
    limit::within,
    providers_file::ProvidersFile,
};
use mcp_api::name::check_name;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// Looks at every engine that was ever started here.
pub(super) fn leftovers(run: &Run<'_>, file: Option<&ProvidersFile>, report: &mut Report) {
    let env = run.env.clone();
    let Some(mut names) = within(LIMIT, move || Place::all(&env)) else {
        report.wrong(Check::Engine, "the folder of the engines' records does not answer");
        return;
    };
    names.retain(|name| check_name(name).is_ok());
    for name in &names {
        let (env, asked) = (run.env.clone(), name.clone());
        match within(LIMIT, move || Status::of(&env, &asked)) {
            None => {
                report.wrong(Check::Engine, "its record does not answer").about(name);
            }
            Some(Err(error)) => unreadable(report, name, &error),
            Some(Ok(status)) => {
                let is_declared = file.is_none_or(|file| file.registry.provider(name).is_some());
                tell(report, name, &status, is_declared);
            }
        }
    }
}

fn unreadable(report: &mut Report, name: &str, error: &EngineError) {
    match error {
        EngineError::Place(PlaceError::File(error)) => {
            report.unusable(Check::Engine, error).about(name);
        }
        EngineError::Place(PlaceError::Damaged { path, .. }) => {
            let finding = report.wrong(Check::Engine, error.to_string()).about(name);
            finding.mend(format!("rm {}", quoted(path)));
        }
        _ => {
            report.wrong(Check::Engine, error.to_string()).about(name);
        }
    }
}

fn tell(report: &mut Report, name: &str, status: &Status, is_declared: bool) {
    let stop = format!("mcpctl providers stop {name}");
    let finding = match status.condition {
        Condition::Orphaned => {
            let count = status.processes.len();
            let finding = format!("its supervisor was killed; processes left: {count}");
            report.wrong(Check::Engine, finding).mend(stop)
        }
        Condition::Failed => report
            .remark(Check::Engine, "the last one failed; the next one is started when it is needed")
            .mend(format!("mcpctl providers logs {name}")),
        Condition::Starting | Condition::Running | Condition::Stopping if !is_declared => {
            report.remark(Check::Engine, "it runs and has no entry in the provider file any more").mend(stop)
        }
        Condition::Starting | Condition::Running | Condition::Stopping | Condition::Stopped => {
            report.ok(Check::Engine, status.condition.as_str())
        }
    };
    finding.about(name);
}
