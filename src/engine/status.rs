//! How an engine is, for those who only look, and its end, for those who ask for it.

use super::{
    EngineError, end_leftovers, is_here, leftovers,
    place::{Lock, Place},
    processes::Process,
    record::{Record, State},
    signal_supervisor, supervisor,
};
use crate::{clock::Moment, environment::Environment};
use rustix::process::Signal;
use std::{
    fs, thread,
    time::{Duration, Instant, SystemTime},
};

/// What becomes of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// None runs.
    Stopped,
    /// It is not ready yet.
    Starting,
    /// It answers.
    Running,
    /// It is about to end.
    Stopping,
    /// None runs, because something was wrong with the last one.
    Failed,
    /// Its supervisor was killed; processes of it are left.
    Orphaned,
}

impl Condition {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Orphaned => "orphaned",
        }
    }
}

/// How an engine is at this moment.
#[derive(Debug)]
pub struct Status {
    /// In a word.
    pub condition: Condition,
    /// Its record, if it ever ran.
    pub record: Option<Record>,
    /// Its processes.
    pub processes: Vec<Process>,
    /// Somebody uses it or waits for it.
    pub used: bool,
    /// For how long it has run.
    pub uptime: Option<Duration>,
    /// When it stops if nobody uses it; none if it is used, or never stops by itself.
    pub stops_in: Option<Duration>,
}

impl Status {
    /// Looks. Changes nothing, and makes no files.
    pub fn of(env: &Environment, provider: &str) -> Result<Self, EngineError> {
        let stopped = Self {
            condition: Condition::Stopped,
            record: None,
            processes: Vec::new(),
            used: false,
            uptime: None,
            stops_in: None,
        };
        let Some(place) = Place::find(env, provider)? else { return Ok(stopped) };
        let locked = place.is_locked(Lock::Alive)?;
        let Some(record) = place.record()? else { return Ok(stopped) };
        // Who ends what a dead supervisor has left holds the lock as well.
        let supervised = locked && (record.supervisor.is_alive() || !is_here(&record));
        let processes = leftovers(&record);
        let condition = match (supervised, &record.state) {
            (true, State::Loading { .. }) => Condition::Starting,
            (true, State::Ready) => Condition::Running,
            (true, State::Stopping) => Condition::Stopping,
            (false, _) if !processes.is_empty() => Condition::Orphaned,
            (_, State::Ended(end)) if end.is_failure() => Condition::Failed,
            (_, State::Ended(_)) => Condition::Stopped,
            (false, State::Loading { .. } | State::Ready | State::Stopping) => Condition::Stopped,
        };
        let lives = matches!(condition, Condition::Starting | Condition::Running | Condition::Stopping);
        let used = lives && place.is_used()?;
        let stops_in =
            (condition == Condition::Running && !used).then(|| stops_in(&place, &record)).flatten();
        let uptime = lives.then(|| Moment::from_secs(record.started).elapsed());
        Ok(Self { condition, record: Some(record), processes, used, uptime, stops_in })
    }
}

/// For people: counted by the wall clock from the last touch of the lock's file.
fn stops_in(place: &Place, record: &Record) -> Option<Duration> {
    let limit = Duration::try_from_secs_f64(record.idle_seconds).ok().filter(|limit| !limit.is_zero())?;
    let touched =
        fs::metadata(place.folder().path().join("use.lock")).and_then(|meta| meta.modified()).ok()?;
    Some(limit.saturating_sub(SystemTime::now().duration_since(touched).unwrap_or_default()))
}

/// What a stop has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing ran.
    NothingRan,
    /// It has ended, and so many processes of it.
    Ended {
        /// How many.
        processes: usize,
        /// How long that took.
        took: Duration,
    },
}

/// How long a supervisor that is to end at once may take before it is killed itself: it may be stopped or hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends a provider's engine, and whatever an earlier one left behind. With `now` it does not wait for requests, and in
/// the end not for the supervisor.
pub fn stop(env: &Environment, provider: &str, now: bool) -> Result<Stopped, EngineError> {
    let Some(place) = Place::find(env, provider)? else { return Ok(Stopped::NothingRan) };
    let started = Instant::now();
    let mut seen: Vec<Process> = Vec::new();
    let mut asked: Option<(String, Instant)> = None;
    let ended = |processes: usize| match processes {
        0 => Stopped::NothingRan,
        _ => Stopped::Ended { processes, took: started.elapsed() },
    };
    loop {
        let alive = place.lock_file(Lock::Alive)?;
        let is_free = alive.try_lock().is_ok();
        let record = place.record()?;
        if is_free {
            let Some(record) = record else { return Ok(Stopped::NothingRan) };
            let left = end_leftovers(&record, Duration::from_secs(10)).map_err(EngineError::Leftover)?;
            record.remove_traces();
            return Ok(ended(seen.len().max(left)));
        }
        drop(alive);
        if started.elapsed() > supervisor::END_LIMIT {
            let processes: Vec<_> = seen.iter().map(|process| process.pid.to_string()).collect();
            return Err(EngineError::StillRuns {
                limit: supervisor::END_LIMIT,
                processes: processes.join(", "),
            });
        }
        match (record, &asked) {
            // What was asked to end has; what runs now is what somebody started since.
            (Some(record), Some((instance, _))) if *instance != record.instance => {
                return Ok(ended(seen.len()));
            }
            (Some(Record { state: State::Ended(_), .. }), Some(_)) => return Ok(ended(seen.len())),
            // A start that has just begun has no record of its own yet.
            (Some(Record { state: State::Ended(_), .. }) | None, _) => {}
            (Some(record), Some((_, when))) => {
                if now && when.elapsed() > PATIENCE {
                    signal_supervisor(&record, Signal::KILL);
                }
            }
            (Some(record), None) => {
                seen = leftovers(&record);
                if signal_supervisor(&record, if now { Signal::USR2 } else { Signal::TERM }) {
                    asked = Some((record.instance, Instant::now()));
                } else if started.elapsed() > PATIENCE {
                    let title = record.kind.traits().title;
                    return Err(EngineError::Unheard { title, pid: record.supervisor.pid });
                }
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}
