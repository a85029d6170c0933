//! What the kernel tells of processes; and signals that reach only one that is meant.

use fakes::alive;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// Memory that is resident.
    pub rss_kib: u64,
    /// Open files, sockets included.
    pub files: u64,
    /// Threads.
    pub threads: u64,
    /// Open sockets.
    pub sockets: u64,
}

impl Holdings {
    /// None if it does not live.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let files = targets(pid);
        let sockets = files.iter().filter(|target| target.to_string_lossy().starts_with("socket:")).count();
        let (files, sockets) = (files.len() as u64, sockets as u64);
        Some(Self { rss_kib: number("VmRSS:")?, files, threads: number("Threads:")?, sockets })
    }
}

/// All processes that came of a home: they have it in their environment, or have a file of it open.
pub fn processes_of(home: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| came_of(*pid, home)).collect()
}

/// The same once there is none, or when the limit is over.
pub fn processes_left(home: &Path, limit: Duration) -> Vec<u32> {
    let deadline = Instant::now() + limit;
    loop {
        let left = processes_of(home);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        // Of a process that is not ours nobody tells the end.
        thread::sleep(Duration::from_millis(20));
    }
}

/// Kills a process if it came of this home. It is held before it is looked at: its number may be somebody else's a
/// moment later.
pub fn kill_if_of(pid: u32, home: &Path) -> bool {
    let held = Pid::from_raw(pid.cast_signed()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    held.is_some_and(|held| came_of(pid, home) && pidfd_send_signal(held, Signal::KILL).is_ok())
}

/// What is run there, for a message.
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

fn came_of(pid: u32, home: &Path) -> bool {
    let variable = format!("HOME={}", home.display());
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let is_named = environment.split(|byte| *byte == 0).any(|it| it == variable.as_bytes());
    (is_named || targets(pid).iter().any(|target| target.starts_with(home)))
        // A child of ours that is about to become another program looks like ourselves.
        && fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| env::current_exe().is_ok_and(|me| exe != me))
        && alive(pid)
}

/// What its open files are.
fn targets(pid: u32) -> Vec<PathBuf> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).collect()
}
