//! `providers start`: an engine that is ready before it is needed.

use super::{roster, times};
use crate::{
    cmd::{
        Run, Usage,
        completion::Names,
        infer::Total,
        start_progress::{StartProgress, end_of_log},
    },
    engine::{self, Condition, EngineError, Progress, Status},
    exit::Exit,
    providers_file::Provider,
};
use clap::{ArgAction, Args};
use std::{str::FromStr as _, time::Instant};

/// Start the engine of a managed provider, and wait until it answers
///
/// An engine that runs already is kept; one that is no longer what the provider file declares is replaced. Nobody
/// has to start one by hand: a failover does it. What this saves is the wait. The engine stops by itself
/// idleTimeoutMinutes after its last request, or after this start.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcpctl providers start qwen-box\n  \
                  mcpctl providers start qwen-box --wait=false\n\n\
                  Interrupted while it waits (Ctrl-C), it gives the start up, unless others wait for the same engine.\n\n\
                  Exit codes: 0 it is ready (with --wait=false: starting), 2 not a managed provider, 7 it did not start.")]
pub(crate) struct StartArgs {
    /// The provider
    #[arg(add = Names::Engines)]
    name: String,
    /// Wait until it answers; --wait=false returns as soon as the start has begun
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set
    )]
    wait: bool,
    /// Give up after this time; or none
    #[arg(long, default_value = "none", value_parser = Total::from_str, value_name = "TIME")]
    timeout: Total,
}

/// An engine that cannot be had, with the name of its provider.
#[derive(Debug, thiserror::Error)]
#[error("{provider}: {error}")]
pub(crate) struct StartFailed {
    provider: String,
    #[source]
    error: EngineError,
}

impl StartFailed {
    /// What its log says.
    pub(crate) fn hints(&self) -> Vec<String> {
        end_of_log(&self.error, &self.provider)
    }
}

pub(super) fn run(run: &mut Run<'_>, args: &StartArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    if !args.wait && args.timeout.0.is_some() {
        return Err(Usage("--timeout limits the wait, and --wait=false does not wait".into()).into());
    }
    let file = run.providers()?;
    let provider = roster::provider(file.as_ref(), &args.name)?;
    roster::managed(provider)?;
    let done = if args.wait { wait(run, provider, args.timeout) } else { begin(run, provider) };
    run.say(done.map_err(|error| StartFailed { provider: provider.name.clone(), error })?)?;
    Ok(Exit::Ok)
}

fn wait(run: &mut Run<'_>, provider: &Provider, limit: Total) -> Result<String, EngineError> {
    let env = run.env.clone();
    let deadline = limit.0.map(|limit| Instant::now() + limit);
    let mut started = None;
    let mut progress = StartProgress::new(run, &provider.name);
    let acquired = engine::acquire(provider, &env, deadline, &mut |stage| {
        if let Progress::Ready(took) = stage {
            started = Some(took);
        }
        progress.tell(stage);
    });
    progress.end();
    // Not kept: from now on it is idle.
    drop(acquired?);
    Ok(match started {
        Some(took) => format!("{} ready in {} (model {})", provider.name, times::took(took), provider.model),
        None => already(provider),
    })
}

fn begin(run: &Run<'_>, provider: &Provider) -> Result<String, EngineError> {
    let look = || -> Result<_, EngineError> {
        let Status { condition, record, .. } = Status::of(&run.env, &provider.name)?;
        Ok((condition == Condition::Running, record.map(|record| record.instance)))
    };
    let before = look()?;
    engine::start(provider, &run.env)?;
    Ok(if before.0 && look()? == before {
        already(provider)
    } else {
        format!("{} is starting", provider.name)
    })
}

fn already(provider: &Provider) -> String {
    format!("{} is running already (model {})", provider.name, provider.model)
}
