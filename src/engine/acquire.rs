//! How a command comes by an engine it can use: look, do what [`next`] says, look again.

use super::{
    Endpoint, EngineError, InUse, Launch, Place, PlaceError, Progress, Record, State,
    health::{self, HEALTH_LIMIT, Ill, is_ready},
    is_here, launch, leftovers,
    next::{self, Health, Next, Sight, Stage},
    place::{KEY, Lock},
    record, signal_supervisor,
    supervisor::{self, Answer},
    touch,
};
use crate::{environment::Environment, providers_file::Provider};
use mcp_api::Secret;
use rustix::process::Signal;
use std::{
    fs::{File, TryLockError},
    mem, thread,
    time::{Duration, Instant},
};

/// How often a command looks while it waits.
const LOOK: Duration = Duration::from_millis(20);
/// How often a waiting command asks the engine itself, should its record be late.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// For how long an engine that is not recorded as ready has to answer before it is taken for ready.
const READY_AFTER: Duration = Duration::from_secs(4);
/// After how long it is told that something else has to end first.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// How long a supervisor may take to end that cannot be signalled.
const HEARD_LIMIT: Duration = Duration::from_secs(2);
const KEY_MAX: u64 = 1 << 10;

/// Gives the engine of a provider, ready: the one that runs, or a new one.
///
/// Whoever calls this at the same time gets the same engine. `tell` hears of the progress of a start. The error
/// [`EngineError::NoTime`] comes at `deadline`, and the start is given up if nobody else waits for it.
pub fn acquire(
    provider: &Provider,
    env: &Environment,
    deadline: Option<Instant>,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<InUse, EngineError> {
    let acquire = Acquire::new(provider, env, deadline, false)?;
    let title = acquire.title;
    acquire.run(tell)?.ok_or(EngineError::NoTime { title })
}

/// Starts the engine of a provider if none runs, and does not wait until it is ready.
pub fn start(provider: &Provider, env: &Environment) -> Result<(), EngineError> {
    Acquire::new(provider, env, None, true)?.run(&mut |_| {}).map(drop)
}

struct Acquire {
    title: &'static str,
    launch: Launch,
    place: Place,
    deadline: Option<Instant>,
    started: Instant,
    /// The start that this command waits for.
    awaited: Option<String>,
    /// Which start was asked whether it answers, and what came of it.
    health: Option<(String, Result<(), Ill>)>,
    /// When a start that is not recorded as ready was last asked, and since when it answers all the same.
    asked: Option<Instant>,
    answers_since: Option<Instant>,
    /// Since when somebody else has to end before anything can go on.
    standing: Option<Instant>,
    /// The start that was asked to end, which may take a moment to hear of it.
    ending: Option<String>,
    may_restart: bool,
    /// What was told last.
    told: Option<String>,
}

impl Acquire {
    fn new(
        provider: &Provider,
        env: &Environment,
        deadline: Option<Instant>,
        unattended: bool,
    ) -> Result<Self, EngineError> {
        let (place, sockets) = launch::folders(provider, env)?;
        let mut launch = launch::launch(provider, env, place.folder().path().to_owned(), sockets)?;
        launch.unattended = unattended;
        Ok(Self {
            title: launch.kind.traits().title,
            launch,
            place,
            deadline,
            started: Instant::now(),
            awaited: None,
            health: None,
            asked: None,
            answers_since: None,
            standing: Some(Instant::now()),
            ending: None,
            may_restart: true,
            told: None,
        })
    }

    /// None: it was started, and nobody here waits for it.
    fn run(mut self, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Option<InUse>, EngineError> {
        let mut lock = self.share()?;
        loop {
            let (sight, record) = self.look()?;
            let is_loading = sight.supervised && sight.stage == Stage::Loading && sight.as_declared;
            match (next::next(sight), record) {
                (Next::Start, _) => {
                    self.start(tell)?;
                    self.out_of_time()?;
                    continue;
                }
                (Next::Wait, Some(_)) if self.launch.unattended => {
                    // Whoever began this start may give it up; its supervisor is to see that somebody else wants it.
                    touch(&lock);
                    return Ok(None);
                }
                (Next::Wait, Some(record)) => {
                    self.tell_stage(&record, tell);
                    self.awaited = Some(record.instance.clone());
                    self.standing = None;
                    self.ask_early(&record);
                }
                (Next::AskHealth, Some(record)) => {
                    self.health = Some((record.instance.clone(), self.health_of(&record)));
                    continue;
                }
                (Next::Use, Some(record)) => {
                    let key = self.key(&record)?;
                    touch(&lock);
                    if self.told.is_some() {
                        tell(Progress::Ready(self.started.elapsed()));
                    }
                    return Ok(Some(InUse { lock, record, key }));
                }
                (Next::Restart, Some(record)) => {
                    drop(lock);
                    self.restart(&record, tell)?;
                    lock = self.share()?;
                }
                (Next::Replace, Some(record)) => {
                    drop(lock);
                    if self.place.is_used()? {
                        self.standing = None;
                        self.tell_once(
                            "used",
                            tell,
                            Progress::Waiting("an engine of another declaration is in use"),
                        );
                    } else {
                        // What runs is better than nothing: first see that the other one can be had.
                        if Some(&record.endpoint) != self.launch.port.map(Endpoint::Tcp).as_ref() {
                            launch::check_port(self.launch.port)?;
                        }
                        self.tell_once("replace", tell, Progress::Replacing("another one is declared now"));
                        self.end(&record, Signal::TERM)?;
                    }
                    lock = self.share()?;
                }
                (Next::GiveUp, record) => return Err(self.given_up(record)),
                // Without a record there is nothing to wait for or to end; the next look will see more.
                (
                    Next::StandBack
                    | Next::Wait
                    | Next::AskHealth
                    | Next::Use
                    | Next::Restart
                    | Next::Replace,
                    _,
                ) => {}
            }
            if self.standing.get_or_insert_with(Instant::now).elapsed() > TELL_AFTER && !is_loading {
                self.tell_once("stands", tell, Progress::Waiting("the engine that runs is ending"));
            }
            self.out_of_time()?;
            // Who waits for a start goes on sharing the lock, so that the start goes on. Who waits for an end must
            // not, because the end waits for the lock.
            if is_loading {
                thread::sleep(LOOK);
            } else {
                drop(lock);
                thread::sleep(LOOK);
                lock = self.share()?;
            }
        }
    }

    fn look(&mut self) -> Result<(Sight, Option<Record>), EngineError> {
        // The lock first: a supervisor writes its record only while it holds it, so a record that is older than a free
        // lock is the last word, and one that is younger is looked at again before anything is started.
        let supervised = self.place.is_locked(Lock::Alive)?;
        let record = self.place.record()?;
        if supervised
            && let Some(record) = &record
            && !matches!(record.state, State::Ended(_))
            && !is_here(record)
        {
            return Err(EngineError::Elsewhere { title: self.title });
        }
        // Held, but not by the supervisor of this record: its successor has not written its own yet, or somebody ends
        // what it has left. Neither can be asked for anything.
        let taken_over = supervised && record.as_ref().is_some_and(|record| !record.supervisor.is_alive());
        let awaited = record.as_ref().is_some_and(|record| Some(&record.instance) == self.awaited.as_ref());
        let as_declared = record.as_ref().is_some_and(|record| record.fingerprint == self.launch.fingerprint);
        let sight = Sight {
            supervised,
            stage: match &record {
                Some(record) if !taken_over => self.stage_of(record),
                Some(_) | None => Stage::None,
            },
            awaited,
            as_declared,
            health: record.as_ref().map_or(Health::Unasked, |record| self.known_health(record)),
            may_restart: self.may_restart,
        };
        Ok((sight, record))
    }

    /// What is known of this start, and of no other.
    fn known_health(&self, record: &Record) -> Health {
        match &self.health {
            Some((asked, Ok(()))) if *asked == record.instance => Health::Well,
            Some((asked, Err(_))) if *asked == record.instance => Health::Dead,
            Some(_) | None => Health::Unasked,
        }
    }

    fn stage_of(&self, record: &Record) -> Stage {
        match &record.state {
            // It was asked to end and has not said so yet.
            State::Loading { .. } | State::Ready if self.ending.as_ref() == Some(&record.instance) => {
                Stage::Stopping
            }
            // It was seen to answer; its record is late because it could not be written.
            State::Loading { .. } if self.known_health(record) == Health::Well => Stage::Ready,
            State::Loading { .. } => Stage::Loading,
            State::Ready => Stage::Ready,
            State::Stopping => Stage::Stopping,
            // Somebody stopped it while we waited: that is not to be undone.
            State::Ended(end) if end.is_failure() || end.why == record::Ending::Asked => Stage::Failed,
            State::Ended(_) => Stage::Ended,
        }
    }

    /// Starts a supervisor, unless somebody else has just done so.
    fn start(&mut self, tell: &mut dyn FnMut(Progress<'_>)) -> Result<(), EngineError> {
        let lock = self.take(Lock::Start, File::try_lock)?;
        let (sight, _) = self.look()?;
        if next::next(sight) != Next::Start {
            return Ok(());
        }
        if self.awaited.take().is_some() {
            self.may_restart = false;
        }
        self.tell_once("starting", tell, Progress::Starting(self.title));
        let answer = supervisor::spawn(&self.launch)
            .map_err(|error| EngineError::NotStarted { title: self.title, why: error.to_string() })?;
        drop(lock);
        match answer {
            Answer::Started => {
                self.standing = None;
                self.awaited = self.place.record()?.map(|record| record.instance);
                Ok(())
            }
            // That one holds the lock, or will be gone at the next look.
            Answer::Taken => Ok(()),
            // Killed before it could say anything; what it left behind is ended by the next one.
            Answer::None if mem::take(&mut self.may_restart) => Ok(()),
            Answer::None => {
                Err(EngineError::NotStarted { title: self.title, why: "its supervisor was killed".into() })
            }
            Answer::Refused(why) => Err(EngineError::NotStarted { title: self.title, why }),
        }
    }

    /// Ends an engine that does not answer, unless others use it: then it may not answer us for a reason of ours.
    fn restart(&mut self, record: &Record, tell: &mut dyn FnMut(Progress<'_>)) -> Result<(), EngineError> {
        let ill = match &self.health {
            Some((_, Err(ill))) => ill.clone(),
            Some((_, Ok(()))) | None => return Ok(()),
        };
        if matches!(ill, Ill::Strange(_)) && self.place.is_used()? {
            return Err(EngineError::Unreachable { title: self.title, why: ill.why().to_owned() });
        }
        tell(Progress::Replacing("it does not answer"));
        (self.may_restart, self.awaited) = (false, None);
        self.end(record, Signal::USR1)
    }

    fn health_of(&self, record: &Record) -> Result<(), Ill> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let limit = left.map_or(HEALTH_LIMIT, |left| left.clamp(LOOK, HEALTH_LIMIT));
        match self.key(record) {
            Ok(key) => health::ask(record, key.as_ref(), limit),
            Err(error) => Err(Ill::Strange(error.to_string())),
        }
    }

    /// Now and then the engine itself is asked. One that answers for a while is ready, though its record does not say
    /// so: its supervisor cannot write it, or has just seen it and looks whether it is open to others.
    fn ask_early(&mut self, record: &Record) {
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return;
        }
        let answers = self.asked.is_some()
            && self.key(record).is_ok_and(|key| {
                is_ready(&record.endpoint, &record.served, key.as_ref(), ASK_EVERY).is_some()
            });
        self.asked = Some(Instant::now());
        match (answers, self.answers_since) {
            (false, _) => self.answers_since = None,
            (true, None) => self.answers_since = self.asked,
            (true, Some(since)) if since.elapsed() > READY_AFTER => {
                self.health = Some((record.instance.clone(), Ok(())));
            }
            (true, Some(_)) => {}
        }
    }

    fn key(&self, record: &Record) -> Result<Option<Secret>, EngineError> {
        match record.endpoint {
            Endpoint::Unix(_) => Ok(None),
            Endpoint::Tcp(_) => {
                let bytes = self.place.folder().read(KEY, KEY_MAX).map_err(PlaceError::from)?;
                Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(Secret::new))
            }
        }
    }

    /// Asks the supervisor to end; whether it does is seen at the next looks.
    fn end(&mut self, record: &Record, signal: Signal) -> Result<(), EngineError> {
        if signal_supervisor(record, signal) {
            self.ending = Some(record.instance.clone());
            return Ok(());
        }
        // It may have ended just now. If not, nobody can be asked.
        let deadline = Instant::now() + HEARD_LIMIT;
        while self.place.is_locked(Lock::Alive)? && self.place.record()?.as_ref() == Some(record) {
            if Instant::now() > deadline {
                return Err(EngineError::Unheard { title: self.title, pid: record.supervisor.pid });
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn given_up(&self, record: Option<Record>) -> EngineError {
        match record.map(|record| record.state) {
            Some(State::Ended(end)) => {
                EngineError::Failed { title: self.title, end: Box::new(end), log: self.place.log_path() }
            }
            Some(State::Ready) if self.health.is_some() => EngineError::Dead { title: self.title },
            Some(State::Loading { .. } | State::Ready | State::Stopping) | None => {
                EngineError::Orphaned { title: self.title }
            }
        }
    }

    /// Shares the lock `use`. Waits while a supervisor holds it alone, because that one is about to end.
    fn share(&self) -> Result<File, EngineError> {
        self.take(Lock::Use, File::try_lock_shared)
    }

    fn take(&self, lock: Lock, how: fn(&File) -> Result<(), TryLockError>) -> Result<File, EngineError> {
        let file = self.place.lock_file(lock)?;
        loop {
            match how(&file) {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {
                    self.out_of_time()?;
                    thread::sleep(LOOK);
                }
                Err(TryLockError::Error(error)) => return Err(self.place.lock_error(lock, error).into()),
            }
        }
    }

    /// The caller's own time is over, or what has to end first does not.
    fn out_of_time(&self) -> Result<(), EngineError> {
        if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(EngineError::NoTime { title: self.title });
        }
        if self.standing.is_some_and(|since| since.elapsed() > supervisor::END_LIMIT) {
            let left = self.place.record()?.map_or(Vec::new(), |record| leftovers(&record));
            let processes: Vec<_> = left.iter().map(|process| process.pid.to_string()).collect();
            let limit = supervisor::END_LIMIT;
            return Err(EngineError::StillRuns { limit, processes: processes.join(", ") });
        }
        Ok(())
    }

    fn tell_stage(&mut self, record: &Record, tell: &mut dyn FnMut(Progress<'_>)) {
        let title = self.title;
        self.tell_once_if(self.told.is_none(), "starting", tell, Progress::Starting(title));
        if let State::Loading { stage: Some(stage) } = &record.state {
            self.tell_once(stage, tell, Progress::Stage(stage));
        }
    }

    fn tell_once(&mut self, what: &str, tell: &mut dyn FnMut(Progress<'_>), progress: Progress<'_>) {
        self.tell_once_if(self.told.as_deref() != Some(what), what, tell, progress);
    }

    fn tell_once_if(
        &mut self,
        is_new: bool,
        what: &str,
        tell: &mut dyn FnMut(Progress<'_>),
        progress: Progress<'_>,
    ) {
        if is_new {
            tell(progress);
            self.told = Some(what.to_owned());
        }
    }
}
