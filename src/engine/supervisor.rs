//! The small process that lives as long as an engine: its parent, its log, its clock, and its end.
//!
//! It is this same program under a hidden command, in a session of its own. It holds the lock `alive`, is the
//! subreaper of everything that comes of the engine, and ends only when nothing of it is left. It makes no HTTP client,
//! starts no thread and knows no token; what it has to know comes by a pipe.

mod family;
mod trampoline;
mod watch;

pub use trampoline::{COMMAND as TRAMPOLINE, run as become_engine};

use super::{
    Endpoint,
    launch::{self, Launch},
    life::{Act, Event, Phase},
    log::Log,
    place::{KEY, Lock, Place, PlaceError},
    processes::{self, Process},
    record::{End, Ending, FORMAT, Record, State},
    story::Story,
};
use crate::clock::Moment;
use mcp_api::Secret;
use rustix::process::{Signal, set_child_subreaper, setsid};
use std::{
    fs::{self, File, TryLockError},
    io::{self, PipeReader, Read, Write},
    net::TcpListener,
    os::unix::fs::MetadataExt,
    thread,
    time::{Duration, Instant},
};
use watch::Watch;

/// The hidden command.
pub const COMMAND: &str = "__supervise";

/// How long another one may hold the lock `alive` that is about to end, or only looks.
const ALIVE_LIMIT: Duration = Duration::from_secs(2);
/// How long requests in flight may take when an engine is to end.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How long an engine may take to end when it is asked to.
const TERM_LIMIT: Duration = Duration::from_secs(5);
/// How long what a dead predecessor left behind may take to go.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);
/// How often a port is chosen anew when somebody takes it between our look and the engine's.
const PORT_TRIES: u32 = 3;
/// How often it looks, by phase.
const TICK_QUICK: Duration = Duration::from_millis(50);
const TICK_SLOW: Duration = Duration::from_millis(500);

/// Why no engine was started.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("another command starts this engine already")]
    Taken,
    #[error(transparent)]
    Place(#[from] PlaceError),
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

/// Runs the hidden command: reads a [`Launch`] from standard input, says `ok` or what is wrong on standard output once
/// that is known, and returns when the engine is gone.
pub fn run() -> u8 {
    match Supervisor::begin() {
        Ok(mut supervisor) => {
            answer("ok");
            supervisor.live();
            0
        }
        Err(refused) => {
            answer(&refused.to_string());
            1
        }
    }
}

/// Tells the command that waits, which may be gone, and lets go of it.
fn answer(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
    let _ = io::stdout().flush();
    if let Ok(nothing) = File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&nothing);
        let _ = rustix::stdio::dup2_stdout(&nothing);
        let _ = rustix::stdio::dup2_stderr(&nothing);
    }
}

struct Supervisor {
    launch: Launch,
    place: Place,
    /// Held until this process ends.
    alive: File,
    record: Record,
    key: Option<Secret>,
    engine: Process,
    watch: Watch,
    pipe: PipeReader,
    log: Log,
    story: Story,
    phase: Phase,
    /// When the phase began.
    since: Moment,
    /// When the log last grew.
    heard: Moment,
    /// When somebody was last seen to use it, and what the file of the lock looked like then.
    used: Moment,
    touched: Option<(i64, i64)>,
    was_ready: bool,
    /// The lock `use`, held alone once nobody may begin any more.
    alone: Option<File>,
    /// What made it end.
    why: Option<Ending>,
    /// What the record should say and does not yet, because the disk was full.
    unwritten: bool,
    tries: u32,
}

impl Supervisor {
    fn begin() -> Result<Self, Refused> {
        // A group leader already has what this is for.
        let _ = setsid();
        let _ = rustix::thread::set_name(c"mcpctl-engine");
        let watch = Watch::new().map_err(system("signals"))?;
        set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| system("becoming the subreaper")(error.into()))?;
        let mut text = Vec::new();
        io::stdin().take(1 << 20).read_to_end(&mut text).map_err(system("the instructions"))?;
        let launch: Launch =
            serde_json::from_slice(&text).map_err(|error| Refused::Instructions(error.to_string()))?;
        let place = Place::at(&launch.place)?;
        let alive = take_alive(&place)?;
        sweep(&place)?;
        Self::start(launch, place, alive, watch, 0)
    }

    /// Starts the engine. Everything by which it could be found is written down before.
    fn start(launch: Launch, place: Place, alive: File, watch: Watch, tries: u32) -> Result<Self, Refused> {
        let instance = random()?;
        let endpoint = endpoint(&launch, &instance)?;
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
            fingerprint: launch.fingerprint(),
            boot: processes::boot_id().map_err(system("the boot id"))?,
            supervisor: Process::me().ok_or_else(|| system("/proc")(io::ErrorKind::NotFound.into()))?,
            engine: None,
            pipe: rustix::fs::fstat(&pipe)
                .map_err(|error| system("a pipe for the log")(error.into()))?
                .st_ino,
            endpoint,
            started: now.as_secs(),
            idle_seconds: launch.idle_seconds,
            state: State::Loading { stage: None },
        };
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
            since: now,
            heard: now,
            used: now,
            touched: None,
            was_ready: false,
            alone: None,
            why: None,
            unwritten: true,
            tries,
        };
        supervisor.write_record();
        Ok(supervisor)
    }

    /// Lives until the engine is gone.
    fn live(&mut self) {
        while self.phase != Phase::Over {
            let tick = match self.phase {
                Phase::Ready => TICK_SLOW.min(self.idle_limit().map_or(TICK_SLOW, |limit| limit / 4)),
                _ => TICK_QUICK,
            };
            self.watch.wait(&self.pipe, tick.max(Duration::from_millis(5)));
            self.listen();
            for event in self.look() {
                self.on(event);
            }
            if self.unwritten {
                self.write_record();
            }
        }
    }

    /// Everything that has happened since the last look.
    fn look(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for signal in self.watch.signals() {
            events.push(match signal {
                watch::Asked::Stop => Event::StopAsked,
                watch::Asked::Kill => Event::KillAsked,
            });
        }
        if let Some(ending) = family::reap(self.engine) {
            // What it said last belongs to how it ended.
            self.listen();
            self.why.get_or_insert(ending);
            events.push(Event::Exited);
        }
        match self.phase {
            Phase::Loading => events.extend(self.look_at_loading()),
            Phase::Ready => events.extend(self.look_at_ready()),
            Phase::Draining => events.extend(self.look_at_draining()),
            Phase::Terminating => {
                events.extend((self.since.elapsed() > TERM_LIMIT).then_some(Event::TimeOver))
            }
            Phase::Killing if processes::descendants().is_empty() => events.push(Event::Empty),
            Phase::Killing => events.push(Event::Remains),
            Phase::Over => {}
        }
        events
    }

    fn look_at_loading(&mut self) -> Option<Event> {
        if self.answers() {
            return Some(self.exposed().unwrap_or(Event::Answers));
        }
        if self.heard.elapsed() > Duration::from_secs(self.launch.stall_seconds) {
            self.why.get_or_insert(Ending::Stalled(self.launch.stall_seconds));
            return Some(Event::Stalled);
        }
        if !self.launch.unattended && self.nobody_uses_it() {
            self.alone = None;
            self.why.get_or_insert(Ending::Unwanted);
            return Some(Event::Unwanted);
        }
        self.alone = None;
        self.forgotten()
    }

    fn look_at_ready(&mut self) -> Option<Event> {
        if let Some(event) = self.forgotten() {
            return Some(event);
        }
        let limit = self.idle_limit()?;
        if !self.nobody_uses_it() || self.was_touched() {
            self.used = Moment::now();
        } else if self.used.elapsed() > limit {
            // From here on nobody can begin: whoever wants to waits for the lock, and finds us gone.
            if self.is_busy() {
                self.used = Moment::now();
            } else {
                self.why.get_or_insert(Ending::Idle);
                return Some(Event::Idle);
            }
        }
        self.alone = None;
        None
    }

    fn look_at_draining(&mut self) -> Option<Event> {
        if self.nobody_uses_it() {
            return Some(Event::Unused);
        }
        (self.since.elapsed() > DRAIN_LIMIT).then_some(Event::TimeOver)
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::StopAsked => drop(self.why.get_or_insert(Ending::Asked)),
            Event::KillAsked => drop(self.why.get_or_insert(Ending::Hung)),
            _ => {}
        }
        let (phase, act) = self.phase.on(event);
        if phase != self.phase {
            (self.phase, self.since) = (phase, Moment::now());
        }
        match act {
            Act::Nothing => {}
            Act::Announce => {
                self.used = Moment::now();
                self.was_touched();
                self.was_ready = true;
                self.state(State::Ready);
            }
            Act::Drain => self.state(State::Stopping),
            Act::Terminate => {
                self.state(State::Stopping);
                self.engine.signal(Signal::TERM);
            }
            Act::Kill => {
                if !matches!(self.record.state, State::Stopping) {
                    self.state(State::Stopping);
                }
                for process in processes::descendants() {
                    process.signal(Signal::KILL);
                }
            }
            Act::Finish => self.finish(),
        }
    }

    fn finish(&mut self) {
        self.listen();
        if let Some(line) = self.log.end(&self.place) {
            self.story.take(&line);
        }
        let why = self.why.take().unwrap_or(Ending::Asked);
        if self.try_another_port(&why) {
            return;
        }
        let end = End {
            why,
            cause: self.story.cause().map(str::to_owned),
            last: self.story.last(),
            was_ready: self.was_ready,
        };
        self.log.note(&self.place, &format!("ended: {end}"));
        self.remove_traces();
        self.state(State::Ended(end));
        self.write_record();
    }

    fn remove_traces(&self) {
        if let Endpoint::Unix(socket) = &self.record.endpoint {
            let _ = fs::remove_file(socket);
        }
        let _ = self.place.folder().remove(KEY);
    }

    /// Somebody took the port between our choice and the engine's: the next choice is another one.
    fn try_another_port(&mut self, why: &Ending) -> bool {
        let taken = self.launch.port == Some(0)
            && !self.was_ready
            && self.tries < PORT_TRIES
            && matches!(why, Ending::Exited(1))
            && self.story.last().iter().any(|line| line.to_lowercase().contains("address already in use"));
        if !taken {
            return false;
        }
        let Ok(alive) = self.alive.try_clone() else { return false };
        let (Ok(place), Ok(watch)) = (Place::at(&self.launch.place), Watch::new()) else { return false };
        match Self::start(self.launch.clone(), place, alive, watch, self.tries + 1) {
            Ok(again) => {
                *self = again;
                true
            }
            Err(_) => false,
        }
    }

    fn state(&mut self, state: State) {
        self.record.state = state;
        self.unwritten = true;
        self.write_record();
    }

    /// A record that cannot be written now is written at the next look.
    fn write_record(&mut self) {
        self.unwritten = self.place.write_record(&self.record).is_err();
    }

    /// Takes what the engine has said.
    fn listen(&mut self) {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = self.pipe.read(&mut bytes) {
            self.heard = Moment::now();
            let mut new_stage = false;
            for line in self.log.take(&self.place, &bytes[..count]) {
                new_stage |= self.story.take(&line);
            }
            if new_stage && self.phase == Phase::Loading {
                self.state(State::Loading { stage: self.story.stage().map(str::to_owned) });
            }
        }
    }

    /// It answers, and by the name that only this start knows.
    fn answers(&self) -> bool {
        super::is_ready(&self.record.endpoint, &self.record.served, self.key.as_ref(), Duration::from_secs(2))
    }

    /// Requests that are not ours: somebody may use its endpoint by hand.
    fn is_busy(&self) -> bool {
        let busy = self.launch.kind.traits().busy;
        let asked = self.record.endpoint.get("/metrics", self.key.as_ref(), Duration::from_secs(10));
        let Ok(reply) = asked else { return false };
        let text = String::from_utf8_lossy(&reply.body);
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        text.lines()
            .filter(|line| busy.iter().any(|name| line.starts_with(name)))
            .filter_map(value)
            .any(|value| value > 0.0)
    }

    /// Its API can be reached from other machines.
    fn exposed(&mut self) -> Option<Event> {
        let sockets: Vec<_> = processes::descendants().into_iter().flat_map(processes::sockets).collect();
        let open = processes::listeners().into_iter().find(|listener| {
            !listener.address.is_loopback()
                && sockets.contains(&listener.inode)
                && speaks_http(listener.address, listener.port)
        })?;
        self.why.get_or_insert(Ending::Exposed(format!("{}:{}", open.address, open.port)));
        Some(Event::Exposed)
    }

    /// Nobody could find us any more: another supervisor would start beside us.
    fn forgotten(&mut self) -> Option<Event> {
        let ours = self.alive.metadata().ok()?;
        let there = fs::metadata(self.place.folder().path().join("alive.lock"));
        if there.is_ok_and(|there| there.ino() == ours.ino() && there.dev() == ours.dev()) {
            return None;
        }
        self.why.get_or_insert(Ending::Forgotten);
        Some(Event::Forgotten)
    }

    fn idle_limit(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.launch.idle_seconds).ok().filter(|limit| !limit.is_zero())
    }

    /// Takes the lock `use` alone, if nobody shares it.
    fn nobody_uses_it(&mut self) -> bool {
        if self.alone.is_some() {
            return true;
        }
        let Ok(file) = self.place.lock_file(Lock::Use) else { return false };
        if file.try_lock().is_ok() {
            self.alone = Some(file);
        }
        self.alone.is_some()
    }

    /// Somebody has used it since the last look, however shortly: who does touches the file.
    fn was_touched(&mut self) -> bool {
        let Ok(meta) = fs::metadata(self.place.folder().path().join("use.lock")) else { return false };
        let now = Some((meta.mtime(), meta.mtime_nsec()));
        let before = self.touched.replace((meta.mtime(), meta.mtime_nsec()));
        before.is_some() && before != now
    }
}

fn take_alive(place: &Place) -> Result<File, Refused> {
    let file = place.lock_file(Lock::Alive)?;
    let deadline = Instant::now() + ALIVE_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5))
            }
            Err(TryLockError::WouldBlock) => return Err(Refused::Taken),
            Err(TryLockError::Error(error)) => return Err(place.lock_error(Lock::Alive, error).into()),
        }
    }
}

/// Ends what a supervisor left behind that was killed. Only the holder of `alive` may do this.
fn sweep(place: &Place) -> Result<(), Refused> {
    let Some(record) = place.record()? else { return Ok(()) };
    super::end_leftovers(&record, SWEEP_LIMIT).map_err(Refused::Leftover)?;
    if let Endpoint::Unix(socket) = &record.endpoint {
        let _ = fs::remove_file(socket);
    }
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
            launch::check_port(Some(port)).map_err(|unfit| Refused::Instructions(unfit.to_string()))?;
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

/// Somebody answers there as a web server does. Sockets of other protocols (between the processes of an engine) do not.
fn speaks_http(address: std::net::IpAddr, port: u16) -> bool {
    let address = if address.is_unspecified() { std::net::Ipv4Addr::LOCALHOST.into() } else { address };
    let limit = Duration::from_millis(500);
    let ask = || {
        let mut stream = std::net::TcpStream::connect_timeout(&(address, port).into(), limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        io::Result::Ok(&start == b"HTTP/")
    };
    ask().unwrap_or(false)
}
