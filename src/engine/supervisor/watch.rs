//! Waits for a signal, for a line of the log, or for the next look.

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{io, os::fd::AsFd, time::Duration};

/// What somebody may ask by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM or SIGINT: end when what is in flight is done.
    Stop,
    /// SIGUSR1: end at once, because the engine does not answer.
    Kill,
    /// SIGUSR2: end at once, because somebody wants that.
    StopNow,
}

/// The signals of a supervisor, as a file to wait for.
pub(super) struct Watch {
    signals: SignalFd,
}

impl Watch {
    /// From here on signals wait to be read. SIGHUP waits for ever: nobody reads it.
    pub(super) fn new() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGCHLD] {
            set.add(signal);
        }
        let mut blocked = set;
        blocked.add(Signal::SIGHUP);
        blocked.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { signals })
    }

    /// Returns when there is something to look at, and after `tick` in any case.
    pub(super) fn wait(&self, pipe: &impl AsFd, tick: Duration) {
        let timeout = Timespec {
            tv_sec: tick.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: tick.subsec_nanos().into(),
        };
        let mut both = [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(pipe, PollFlags::IN)];
        // An engine that has closed its output would wake us for ever.
        if poll(&mut both, Some(&timeout)).is_ok() && both[1].revents() == PollFlags::HUP {
            let _ = poll(&mut both[..1], Some(&timeout));
        }
    }

    /// What was asked since the last look.
    pub(super) fn signals(&mut self) -> Vec<Asked> {
        let mut asked = Vec::new();
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGTERM | Signal::SIGINT) => asked.push(Asked::Stop),
                Some(Signal::SIGUSR1) => asked.push(Asked::Kill),
                Some(Signal::SIGUSR2) => asked.push(Asked::StopNow),
                // A child has ended: looked at in any case.
                Some(_) | None => {}
            }
        }
        asked
    }
}
