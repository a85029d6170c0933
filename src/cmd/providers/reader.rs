//! Whether anybody reads what is printed: what nothing else would tell as long as there is nothing to print.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::Duration;

/// Waits so long; at once says so when nobody reads standard output any more.
pub(super) fn is_gone_within(time: Duration) -> bool {
    let limit = Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    let out = rustix::stdio::stdout();
    // Nothing is asked for, so that only the end of the reader is told.
    let mut out = [PollFd::new(&out, PollFlags::empty())];
    poll(&mut out, Some(&limit)).is_ok_and(|ready| ready > 0)
}
