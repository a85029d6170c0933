//! The small process that lives as long as an engine: its parent, its log, its clock, and its end.
//!
//! It is this same program under a hidden command, in a session of its own. It holds the lock `alive`, is the
//! subreaper of everything that comes of the engine, and ends only when nothing of it is left. It makes no HTTP client,
//! starts no thread and knows no token; what it has to know comes by a pipe.

mod begin;
mod family;
mod look;
mod spawn;
mod trampoline;
mod watch;

pub use spawn::spawn;
pub use trampoline::{COMMAND as TRAMPOLINE, run as become_engine};

use super::{
    launch::Launch,
    life::{Act, Event, Phase},
    log::Log,
    place::{KEY, Place},
    processes::{self, Process},
    record::{End, Ending, Record, State},
    story::Story,
};
use crate::clock::Moment;
use begin::Refused;
use mcp_api::Secret;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, PipeReader, Read, Write},
    time::{Duration, Instant},
};
use watch::Watch;

/// The hidden command.
pub const COMMAND: &str = "__supervise";

/// How long requests in flight may take when an engine is to end.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How long everybody waits for an engine that is to end, all in all.
pub const END_LIMIT: Duration = Duration::from_secs(50);
/// How long an engine may take to end when it is asked to.
const TERM_LIMIT: Duration = Duration::from_secs(5);
/// How often a port is chosen anew when somebody takes it between our look and the engine's.
const PORT_TRIES: u32 = 3;
/// How often the log is read between two looks.
const READS_MAX: u32 = 64;
/// What a line of the log has in it that only says that we have asked.
const QUESTIONS: [&str; 3] = ["/health", "/v1/models", "/metrics"];
/// How often it looks, by phase.
const TICK_QUICK: Duration = Duration::from_millis(50);
const TICK_SLOW: Duration = Duration::from_millis(500);
const TICK_LONGEST: Duration = Duration::from_secs(1);

/// What a supervisor tells whoever started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The engine is started, and recorded.
    Started,
    /// Another command was first.
    Taken,
    /// It cannot be started; carries why.
    Refused(String),
    /// Nothing: it was killed before it could. Never sent.
    #[serde(skip)]
    None,
}

/// Runs the hidden command: reads a [`Launch`] from standard input, gives an [`Answer`] on standard output, and returns
/// when the engine is gone.
pub fn run() -> u8 {
    close_inherited();
    match Supervisor::begin() {
        Ok(mut supervisor) => {
            tell(&Answer::Started);
            supervisor.live();
            0
        }
        Err(Refused::Taken) => {
            tell(&Answer::Taken);
            1
        }
        Err(refused) => {
            tell(&Answer::Refused(refused.to_string()));
            1
        }
    }
}

/// What the caller's shell had open is not for an engine to keep: a lock of it would be held, and a reader of it would
/// wait, for as long as the engine lives. To be called before anything of our own is opened.
fn close_inherited() {
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<i32>().ok();
    let open: Vec<_> = fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(number).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // One of them was that folder, and is closed already.
        let _ = nix::unistd::close(fd);
    }
}

/// Tells the command that waits, which may be gone, and lets go of it.
fn tell(answer: &Answer) {
    let _ = writeln!(io::stdout(), "{}", serde_json::to_string(answer).unwrap_or_default());
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
    /// When the phase began; the machine's sleep does not count.
    since: Instant,
    /// When the log last grew, beyond an echo of our own questions.
    heard: Instant,
    /// When the engine was last asked whether it answers.
    asked: Option<Instant>,
    /// When somebody was last seen to use it, and what the file of the lock looked like then.
    used: Moment,
    touched: Option<(i64, i64)>,
    was_ready: bool,
    /// How often in a row it did not say whether it is busy.
    mute: u32,
    /// The lock `use`, held alone once nobody may begin any more.
    alone: Option<File>,
    /// What made it end.
    why: Option<Ending>,
    /// What the record should say and does not yet, because the disk was full.
    unwritten: bool,
    tries: u32,
}

impl Supervisor {
    /// Lives until the engine is gone.
    fn live(&mut self) {
        while self.phase != Phase::Over {
            let tick = match self.phase {
                Phase::Ready => TICK_SLOW.min(self.idle_limit().map_or(TICK_SLOW, |limit| limit / 4)),
                // What a driver holds may take long to die.
                Phase::Killing => (self.since.elapsed() / 8).clamp(TICK_QUICK, TICK_LONGEST),
                Phase::Loading | Phase::Draining | Phase::Terminating | Phase::Over => TICK_QUICK,
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

    fn on(&mut self, event: Event) {
        match event {
            Event::StopAsked => drop(self.why.get_or_insert(Ending::Asked)),
            Event::KillAsked => drop(self.why.get_or_insert(Ending::Hung)),
            _ => {}
        }
        let (phase, act) = self.phase.on(event);
        if phase != self.phase {
            (self.phase, self.since) = (phase, Instant::now());
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
        self.record.remove_traces();
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
        // An engine that never stops talking must not keep us from everything else.
        for _ in 0..READS_MAX {
            let Ok(count @ 1..) = self.pipe.read(&mut bytes) else { break };
            let mut new_stage = false;
            for line in self.log.take(&self.place, &bytes[..count]) {
                if !QUESTIONS.iter().any(|question| line.contains(question)) {
                    self.heard = Instant::now();
                }
                new_stage |= self.story.take(&line);
            }
            if new_stage && self.phase == Phase::Loading {
                self.state(State::Loading { stage: self.story.stage().map(str::to_owned) });
            }
        }
    }
}
