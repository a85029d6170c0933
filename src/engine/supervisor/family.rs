//! The children of a supervisor: its own, and those that the kernel gives it as their subreaper.

use crate::engine::{processes::Process, record::Ending};
use rustix::process::{WaitOptions, wait};

/// Takes note of all children that have ended; says how the engine's first process did, if it is among them.
pub(super) fn reap(leader: Process) -> Option<Ending> {
    let mut ending = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == leader.pid {
            ending = Some(match status.terminating_signal() {
                Some(signal) => Ending::Killed(signal),
                None => Ending::Exited(status.exit_status().unwrap_or_default()),
            });
        }
    }
    ending
}
