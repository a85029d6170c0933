//! `providers stop`: the end of an engine, and of whatever is left of one.

use super::{roster::Roster, times};
use crate::{
    cmd::{Run, completion::Names},
    engine::{self, EngineError, Status, Stopped, supervisor},
    exit::Exit,
};
use anyhow::Context as _;
use clap::Args;
use std::{panic, thread};

/// Stop the engine of a provider, with everything that came of it
///
/// Requests in flight may finish, for up to 30 s; new ones start a new engine. This works without a provider file
/// too: an engine whose entry was removed, or whose supervisor was killed, is found by its record.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcpctl providers stop qwen-box\n  mcpctl providers stop --all --now\n\n\
                        Exit codes: 0 nothing of it is left, 2 no such provider, 7 it goes on."
)]
pub(crate) struct StopArgs {
    /// The provider
    #[arg(required_unless_present = "all", conflicts_with = "all", add = Names::Engines)]
    name: Option<String>,
    /// Stop every engine that was started here, also those whose entry is gone
    #[arg(long)]
    all: bool,
    /// Do not wait for requests in flight
    #[arg(long)]
    now: bool,
}

pub(super) fn run(run: &mut Run<'_>, args: &StopArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let roster = Roster::of(run)?;
    let Some(name) = &args.name else {
        let names: Vec<_> = roster.started().collect();
        return all(run, &names, args.now);
    };
    roster.check(name)?;
    if !args.now && Status::of(&run.env, name).is_ok_and(|status| status.used) {
        let limit = supervisor::DRAIN_LIMIT.as_secs();
        run.note(format_args!(
            "{name}: in use; its requests may finish for up to {limit} s (--now ends them)"
        ));
    }
    let stopped = engine::stop(&run.env, name, args.now).with_context(|| name.clone())?;
    run.say(told(name, stopped))?;
    Ok(Exit::Ok)
}

/// All at once: each may have to wait for requests in flight, and one that does not end keeps no other from it.
fn all(run: &mut Run<'_>, names: &[String], now: bool) -> anyhow::Result<Exit> {
    let env = &run.env;
    let results: Vec<Result<Stopped, EngineError>> = thread::scope(|scope| {
        let stops: Vec<_> =
            names.iter().map(|name| scope.spawn(move || engine::stop(env, name, now))).collect();
        let join = |stop: thread::ScopedJoinHandle<'_, _>| {
            stop.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        };
        stops.into_iter().map(join).collect()
    });
    let (mut exit, mut any) = (Exit::Ok, false);
    for (name, result) in names.iter().zip(results) {
        match result {
            Ok(Stopped::NothingRan) => {}
            Ok(stopped @ Stopped::Ended { .. }) => {
                any = true;
                run.say(told(name, stopped))?;
            }
            Err(error) => {
                exit = Exit::Unavailable;
                run.warn(format_args!("{name}: {error}"));
            }
        }
    }
    if !any && exit == Exit::Ok {
        run.say("no engine was running")?;
    }
    Ok(exit)
}

fn told(name: &str, stopped: Stopped) -> String {
    match stopped {
        Stopped::NothingRan => format!("{name} was not running"),
        Stopped::Ended { processes, took } => {
            let plural = if processes == 1 { "" } else { "es" };
            format!("{name} stopped ({processes} process{plural}, {})", times::took(took))
        }
    }
}
