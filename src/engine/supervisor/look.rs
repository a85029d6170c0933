//! What a supervisor sees when it looks: signals, the engine, its log, its users, the time.

use super::{DRAIN_LIMIT, Supervisor, TERM_LIMIT, TICK_QUICK, family, watch};
use crate::{
    clock::Moment,
    engine::{
        AskError, Endpoint, health,
        life::{Event, Phase},
        place::{Lock, Place},
        processes,
        record::Ending,
    },
};
use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    os::unix::fs::MetadataExt,
    time::{Duration, Instant},
};

/// After how many questions without an answer an engine that nobody uses counts as idle, and not as busy.
const MUTE_MAX: u32 = 3;

impl Supervisor {
    /// Everything that has happened since the last look.
    pub(super) fn look(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for signal in self.watch.signals() {
            events.push(match signal {
                watch::Asked::Stop => Event::StopAsked,
                watch::Asked::Kill => Event::KillAsked,
                watch::Asked::StopNow => {
                    self.why.get_or_insert(Ending::Asked);
                    Event::KillAsked
                }
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
            Phase::Terminating if processes::descendants().is_empty() => events.push(Event::Empty),
            Phase::Terminating => {
                events.extend((self.since.elapsed() > TERM_LIMIT).then_some(Event::TimeOver));
            }
            Phase::Killing if processes::descendants().is_empty() => events.push(Event::Empty),
            Phase::Killing => events.push(Event::Remains),
            Phase::Over => {}
        }
        events
    }

    fn look_at_loading(&mut self) -> Option<Event> {
        // Each line of the log wakes us, and each question may be a line.
        let may_ask = self.asked.is_none_or(|asked| asked.elapsed() >= TICK_QUICK);
        if may_ask && self.answers() {
            return Some(self.exposed().unwrap_or(Event::Answers));
        }
        if self.heard.elapsed() > Duration::from_secs(self.launch.stall_seconds) {
            self.why.get_or_insert(Ending::Stalled(self.launch.stall_seconds));
            return Some(Event::Stalled);
        }
        if !self.launch.unattended && self.nobody_uses_it() {
            // Somebody wants it who does not wait: who touches the file does so before letting go of the lock.
            self.launch.unattended = self.was_touched();
            if !self.launch.unattended {
                self.alone = None;
                self.why.get_or_insert(Ending::Unwanted);
                return Some(Event::Unwanted);
            }
        }
        self.alone = None;
        self.forgotten().or_else(|| self.cut_off())
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

    /// It answers, and by the name that only this start knows.
    fn answers(&mut self) -> bool {
        self.asked = Some(Instant::now());
        let (record, limit) = (&self.record, Duration::from_secs(2));
        let Some(served) = health::is_ready(&record.endpoint, &record.served, self.key.as_ref(), limit)
        else {
            return false;
        };
        self.record.context = served.max_model_len;
        true
    }

    /// Requests that are not ours: somebody may use its endpoint by hand.
    fn is_busy(&mut self) -> bool {
        let busy = self.launch.kind.traits().busy;
        let asked = self.record.endpoint.get("/metrics", self.key.as_ref(), Duration::from_secs(10));
        let reply = match asked {
            Ok(reply) => reply,
            // Too busy to say how busy, unless that goes on.
            Err(AskError::TimedOut) => {
                self.mute += 1;
                return self.mute < MUTE_MAX;
            }
            Err(_) => return false,
        };
        self.mute = 0;
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
                && serves_models(listener.address, listener.port)
        })?;
        self.why.get_or_insert(Ending::Exposed(format!("{}:{}", open.address, open.port)));
        Some(Event::Exposed)
    }

    /// Nobody could find us any more: another supervisor would start beside us.
    fn forgotten(&mut self) -> Option<Event> {
        let ours = self.alive.metadata().ok()?;
        let there = fs::metadata(self.place.folder().path().join(Lock::Alive.file()));
        let is_another = |there: &fs::Metadata| there.ino() != ours.ino() || there.dev() != ours.dev();
        // A disk that does not answer now may do so again.
        if !there.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |there| is_another(&there)) {
            return None;
        }
        self.why.get_or_insert(Ending::Forgotten);
        Some(Event::Forgotten)
    }

    /// It listens, and somebody has removed its socket: nobody will ever get an answer.
    fn cut_off(&mut self) -> Option<Event> {
        let Endpoint::Unix(socket) = &self.record.endpoint else { return None };
        // The last look counts: it may just have begun to listen.
        if socket.exists() || !processes::is_bound(socket) || socket.exists() {
            return None;
        }
        self.why.get_or_insert(Ending::Forgotten);
        Some(Event::Forgotten)
    }

    pub(super) fn idle_limit(&self) -> Option<Duration> {
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
    pub(super) fn was_touched(&mut self) -> bool {
        let Some(now) = touched(&self.place) else { return false };
        let before = self.touched.replace(now);
        before.is_some_and(|before| before != now)
    }
}

/// When the file of the lock `use` was last touched.
pub(super) fn touched(place: &Place) -> Option<(i64, i64)> {
    let meta = fs::metadata(place.folder().path().join(Lock::Use.file())).ok()?;
    Some((meta.mtime(), meta.mtime_nsec()))
}

/// An API like ours is served there. Sockets of other protocols, and other servers (of Ray, say), are none.
fn serves_models(address: IpAddr, port: u16) -> bool {
    let address = if address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address };
    let limit = Duration::from_millis(500);
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&(address, port).into(), limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET /v1/models HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line)?;
        io::Result::Ok(status_line)
    };
    // Also who asks for a key can be reached.
    ask().is_ok_and(|line| {
        line.starts_with(b"HTTP/") && [b"200", b"401", b"403"].contains(&&[line[9], line[10], line[11]])
    })
}
