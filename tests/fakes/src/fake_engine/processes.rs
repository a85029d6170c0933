//! Which processes live, and the end of those that are ours.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long a killed process may take to go.
const LIMIT: Duration = Duration::from_secs(10);

/// Whether a process lives. One that has ended and was not yet waited for does not; one whose first thread has ended
/// before the others does: it still holds its files and its ports.
pub fn alive(pid: u32) -> bool {
    // The name stands in brackets and may hold anything, brackets too.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    let state = fields.next().and_then(|state| state.chars().next());
    let threads = fields.nth(16).and_then(|threads| threads.parse::<u32>().ok()).unwrap_or_default();
    state.is_some_and(|state| !matches!(state, 'Z' | 'X') || threads > 1)
}

/// Kills every process that runs this program, until there is none. Nobody else has a copy at this path.
pub(super) fn kill_all(program: &Path) {
    let deadline = Instant::now() + LIMIT;
    while numbers_in_proc().filter(|pid| kill_if_runs(*pid, program)).count() > 0 {
        if Instant::now() > deadline {
            // No panic: this happens while a value is dropped, perhaps because of another one.
            eprintln!("processes of {} do not end", program.display());
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn numbers_in_proc() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("there is a /proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn kill_if_runs(pid: i32, program: &Path) -> bool {
    // Held before looking: the number may belong to somebody else a moment later.
    let held = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let runs = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let runs = runs.to_string_lossy();
    let ours = runs.trim_end_matches(" (deleted)") == program.to_string_lossy();
    ours && held.is_some_and(|held| pidfd_send_signal(held, Signal::KILL).is_ok())
}
