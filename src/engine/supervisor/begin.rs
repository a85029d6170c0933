//! The start of a supervisor and of its engine: everything by which they could be found is written down first.

use super::{Supervisor, look, trampoline, watch::Watch};
use crate::{
    clock::Moment,
    engine::{
        Endpoint, end_leftovers,
        launch::{self, Launch, Unfit},
        life::Phase,
        log::Log,
        place::{KEY, Lock, Place, PlaceError},
        processes::{self, Process},
        record::{FORMAT, Record, State},
        scratch,
        story::Story,
    },
};
use mcp_api::Secret;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::Mode,
    process::{
        DumpableBehavior, PidfdFlags, getpid, pidfd_open, set_child_subreaper, set_dumpable_behavior, setsid,
    },
};
use std::{
    fs::{File, TryLockError},
    io::{self, Read},
    net::TcpListener,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

/// How long another one may hold the lock `alive` that is about to end, or only looks.
const ALIVE_LIMIT: Duration = Duration::from_secs(2);
/// How long what a dead predecessor left behind may take to go.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);

/// Why no engine was started.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("another command starts this engine already")]
    Taken,
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("nobody waits for this start any more")]
    NobodyWaits,
    #[error("the instructions cannot be read: {0}")]
    Instructions(String),
    #[error("{what}: {error}")]
    System { what: &'static str, error: io::Error },
    #[error("what an earlier engine left behind cannot be ended: process {0}")]
    Leftover(i32),
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> Refused {
    move |error| Refused::System { what, error }
}

impl Supervisor {
    /// Takes the instructions and the lock, and starts the engine.
    pub(super) fn begin() -> Result<Self, Refused> {
        // A group leader already has what this is for.
        let _ = setsid();
        let _ = rustix::thread::set_name(c"mcpctl-engine");
        // Whatever an engine puts into a cache is for its owner only.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        // No token is in this process, and a user to whom `/proc` shows debuggable processes only is to find it.
        set_dumpable_behavior(DumpableBehavior::Dumpable)
            .map_err(|error| system("being seen in /proc")(error.into()))?;
        // By such a handle all signals go; without them an engine could be started and never ended.
        pidfd_open(getpid(), PidfdFlags::empty())
            .map_err(|error| system("this machine has no pidfd_open, which ends engines")(error.into()))?;
        let watch = Watch::new().map_err(system("signals"))?;
        set_child_subreaper(Some(getpid()))
            .map_err(|error| system("becoming the subreaper")(error.into()))?;
        let mut text = Vec::new();
        io::stdin().take(1 << 20).read_to_end(&mut text).map_err(system("the instructions"))?;
        let launch: Launch =
            serde_json::from_slice(&text).map_err(|error| Refused::Instructions(error.to_string()))?;
        let place = Place::at(&launch.place)?;
        let alive = take_alive(&place)?;
        sweep(&place)?;
        if nobody_reads(&io::stdout()) {
            return Err(Refused::NobodyWaits);
        }
        Self::start(launch, place, alive, watch, 0)
    }

    /// Starts the engine. Everything by which it could be found is written down before.
    pub(super) fn start(
        launch: Launch,
        place: Place,
        alive: File,
        watch: Watch,
        tries: u32,
    ) -> Result<Self, Refused> {
        let instance = random()?;
        let endpoint = endpoint(&launch, &instance)?;
        let scratch = scratch::make(&launch, &instance);
        let key = match endpoint {
            Endpoint::Unix(_) => None,
            Endpoint::Tcp(_) => Some(Secret::new(random()? + &random()?)),
        };
        match &key {
            Some(key) => place.folder().write(KEY, key.expose().as_bytes()).map_err(PlaceError::from)?,
            None => place.folder().remove(KEY).map_err(PlaceError::from)?,
        }
        let (pipe, writer) = io::pipe().map_err(system("a pipe for the log"))?;
        rustix::io::ioctl_fionbio(&pipe, true).map_err(|error| system("a pipe for the log")(error.into()))?;
        let now = Moment::now();
        let mut record = Record {
            format: FORMAT,
            served: format!("mcpctl-{}", random()?),
            instance,
            provider: launch.provider.clone(),
            kind: launch.kind,
            model: launch.model.clone(),
            fingerprint: launch.fingerprint.clone(),
            boot: processes::here().map_err(system("which boot this is cannot be read from /proc"))?,
            supervisor: Process::me().ok_or_else(|| system("/proc")(io::ErrorKind::NotFound.into()))?,
            engine: None,
            pipe: rustix::fs::fstat(&pipe)
                .map_err(|error| system("a pipe for the log")(error.into()))?
                .st_ino,
            endpoint,
            scratch,
            started: now.as_secs(),
            idle_seconds: launch.idle_seconds,
            context: None,
            state: State::Loading { stage: None },
        };
        // Before anybody can find this start.
        let touched = look::touched(&place);
        place.write_record(&record)?;
        let mut log = Log::open(&place, key.clone());
        log.note(&place, &format!("starting {} for provider {}", launch.program.display(), launch.provider));
        let engine = trampoline::start(&launch, &record, key.as_ref(), writer)
            .map_err(system("starting the engine"))?;
        record.engine = Some(engine);
        let story = Story::new(launch.kind);
        let mut supervisor = Self {
            launch,
            place,
            alive,
            record,
            key,
            engine,
            watch,
            pipe,
            log,
            story,
            phase: Phase::Loading,
            since: Instant::now(),
            heard: Instant::now(),
            asked: None,
            used: now,
            touched,
            was_ready: false,
            mute: 0,
            alone: None,
            why: None,
            unwritten: true,
            tries,
        };
        supervisor.write_record();
        Ok(supervisor)
    }
}

/// The command that wants the engine was killed. Whoever asked for the end of everything before we held `alive` was
/// told that nothing runs, and that is to stay true.
fn nobody_reads(pipe: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}

fn take_alive(place: &Place) -> Result<File, Refused> {
    let file = place.lock_file(Lock::Alive)?;
    let deadline = Instant::now() + ALIVE_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => return Err(Refused::Taken),
            Err(TryLockError::Error(error)) => return Err(place.lock_error(Lock::Alive, error).into()),
        }
    }
}

/// Ends what a supervisor left behind that was killed. Only the holder of `alive` may do this.
fn sweep(place: &Place) -> Result<(), Refused> {
    let Some(record) = place.record()? else { return Ok(()) };
    end_leftovers(&record, SWEEP_LIMIT).map_err(Refused::Leftover)?;
    record.remove_traces();
    Ok(())
}

fn endpoint(launch: &Launch, instance: &str) -> Result<Endpoint, Refused> {
    match launch.port {
        None => Ok(Endpoint::Unix(launch.sockets.join(format!("{instance}.sock")))),
        Some(0) => {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
            Ok(Endpoint::Tcp(free.map_err(system("a free port"))?.port()))
        }
        Some(port) => {
            launch::check_port(Some(port))?;
            Ok(Endpoint::Tcp(port))
        }
    }
}

/// 64 random bits, in hexadecimal.
fn random() -> Result<String, Refused> {
    getrandom::u64()
        .map(|bits| format!("{bits:016x}"))
        .map_err(|error| system("random numbers")(io::Error::other(error.to_string())))
}
