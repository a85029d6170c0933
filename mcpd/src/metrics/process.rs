//! What the kernel says about this process. Where it has no `/proc`, nothing.

use super::Metrics;
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};
use std::fs;

impl Metrics {
    /// Looks at this process.
    #[expect(clippy::cast_precision_loss, reason = "sizes of a process are far below 2^52")]
    pub(super) fn look_at_process(&self) {
        if let Some(bytes) = resident() {
            self.memory.set([], bytes as f64);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the folder that is being read.
            self.open_files.set([], open.count().saturating_sub(1) as f64);
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            self.most_files.set([], most as f64);
        }
        let used = clock_gettime(ClockId::ProcessCPUTime);
        self.cpu.reach(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
    }
}

/// Bytes of memory in use.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
