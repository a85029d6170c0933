//! `providers status --wait-for`: looks again and again, and knows when there is nothing to wait for any more.

use super::Seen;
use crate::{
    cmd::{
        Run,
        providers::{reader, roster::Roster, times},
    },
    engine::{self, Condition, State, launch},
    environment::Environment,
};
use clap::ValueEnum;
use std::time::{Duration, Instant};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(200);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Wanted {
    /// They answer
    Ready,
    /// Nothing of them runs
    Stopped,
}

/// What a wait has come to.
pub(super) enum Waited {
    /// Nobody wanted one.
    NotAtAll,
    /// It is as was wanted.
    Met,
    /// It is not, and the time is over or there is nothing to wait for.
    InVain,
    /// Nobody reads the answer any more.
    Unread,
}

/// What one look says.
#[derive(Debug, PartialEq, Eq)]
enum Hope {
    /// It is as was wanted.
    Met,
    /// It may yet come to that.
    NotYet,
    /// It will not; carries why, where the state does not say so itself.
    None(Option<String>),
}

impl Wanted {
    /// The names that are meant by none: only what is declared can become ready.
    pub(super) fn of_all(self, roster: &Roster) -> Vec<String> {
        let names = roster.names().into_iter();
        match self {
            Self::Ready => names.filter(|name| roster.is_declared(name)).collect(),
            Self::Stopped => names.collect(),
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Stopped => "stopped",
        }
    }

    fn hope(self, seen: &Seen<'_>, was_starting: bool, env: &Environment) -> Hope {
        // A record that cannot be read tells nothing, however long one waits.
        let Some(condition) = seen.condition() else { return Hope::None(None) };
        match (self, condition) {
            (Self::Ready, Condition::Running) => Hope::Met,
            (Self::Ready, Condition::Starting | Condition::Stopping) => Hope::NotYet,
            (Self::Ready, Condition::Stopped) if seen.died() => {
                Hope::None(Some("its supervisor was killed".into()))
            }
            (Self::Ready, Condition::Stopped) if was_starting => {
                Hope::None(Some("its start was given up".into()))
            }
            // Somebody may be about to start it, if it can be.
            (Self::Ready, Condition::Stopped) => {
                match seen.provider().map(|it| launch::check(it, env, false)) {
                    Some(Err(unfit)) => Hope::None(Some(unfit.to_string())),
                    Some(Ok(())) | None => Hope::NotYet,
                }
            }
            (Self::Ready, Condition::Failed) => Hope::None(None),
            (Self::Stopped, Condition::Stopped | Condition::Failed) => Hope::Met,
            (Self::Stopped, Condition::Starting | Condition::Running | Condition::Stopping) => Hope::NotYet,
            (_, Condition::Orphaned) => Hope::None(None),
        }
    }
}

/// Waits until all are as wanted, one will never be, or the time is over. Gives the last look as well.
pub(super) fn until<'a>(
    run: &mut Run<'_>,
    wanted: Wanted,
    limit: Option<Duration>,
    look: impl Fn(&Environment) -> Vec<Seen<'a>>,
) -> anyhow::Result<(Vec<Seen<'a>>, Waited)> {
    let started = Instant::now();
    let (mut was_starting, mut is_first) = (Vec::new(), true);
    loop {
        let seen = look(&run.env);
        if seen.is_empty() && wanted == Wanted::Ready {
            run.warn("no managed provider is declared, so none can become ready");
            return Ok((seen, Waited::InVain));
        }
        was_starting.resize(seen.len(), false);
        let hopes: Vec<_> =
            seen.iter().zip(&was_starting).map(|(seen, was)| wanted.hope(seen, *was, &run.env)).collect();
        if hopes.iter().all(|hope| *hope == Hope::Met) {
            return Ok((seen, Waited::Met));
        }
        let hopeless: Vec<_> =
            seen.iter().zip(&hopes).filter(|(_, hope)| matches!(hope, Hope::None(_))).collect();
        if !hopeless.is_empty() {
            for (seen, hope) in hopeless {
                if let Hope::None(Some(why)) = hope {
                    run.warn(format_args!("{}: {why}", seen.name));
                }
            }
            return Ok((seen, Waited::InVain));
        }
        if let Some(limit) = limit.filter(|limit| started.elapsed() >= *limit) {
            let late = seen.iter().zip(&hopes).filter(|(_, hope)| **hope == Hope::NotYet);
            let names: Vec<_> = late.map(|(seen, _)| seen.name).collect();
            let state = wanted.told();
            run.warn(format_args!("not {state} after {}: {}", times::took(limit), names.join(", ")));
            return Ok((seen, Waited::InVain));
        }
        if is_first && wanted == Wanted::Ready {
            for seen in seen.iter().filter(|seen| seen.condition() == Some(Condition::Stopped)) {
                let name = seen.name;
                run.note(format_args!(
                    "{name} is stopped; waiting until it is started: mcpctl providers start {name}"
                ));
            }
        }
        is_first = false;
        for (was, seen) in was_starting.iter_mut().zip(&seen) {
            *was |= seen.condition() == Some(Condition::Starting);
        }
        let left = limit.map_or(LOOK, |limit| limit.saturating_sub(started.elapsed()));
        if reader::is_gone_within(left.min(LOOK)) {
            return Ok((seen, Waited::Unread));
        }
    }
}

impl Seen<'_> {
    /// Its supervisor was killed before it could write down an end, and left nothing behind.
    fn died(&self) -> bool {
        let record = self.status.as_ref().ok().and_then(|status| status.record.as_ref());
        record.is_some_and(|record| match record.state {
            // What ran before the machine was started anew was not killed.
            State::Loading { .. } | State::Ready | State::Stopping => engine::is_here(record),
            State::Ended(_) => false,
        })
    }
}
