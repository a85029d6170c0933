//! The children of a supervisor: its own, and those that the kernel gives it as their subreaper.

use crate::engine::{processes::Process, record::Ending};
use rustix::process::{WaitOptions, wait};

/// Takes note of all children that have ended; says how the engine's first process did, if it is among them.
pub(super) fn reap(leader: Process) -> Option<Ending> {
    let mut ending = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == leader.pid => {
                ending = Some(match status.terminating_signal() {
                    Some(signal) => Ending::Killed(signal),
                    None => Ending::Exited(status.exit_status().unwrap_or_default()),
                });
            }
            Ok(Some(_)) => {}
            Ok(None) => return ending,
            // No children, and none was taken note of: who started us ignores SIGCHLD, and so do we then.
            Err(_) if ending.is_none() && !leader.is_alive() => return Some(Ending::Unseen),
            Err(_) => return ending,
        }
    }
}
