//! Programs under measurement: started on a core of their own, and what the kernel says they cost.

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long a program may take to leave after it was told to.
const LEAVING: Duration = Duration::from_secs(3);

/// The core of the program that is measured; the load and the upstream have the other one.
pub(crate) const SERVER_CORE: usize = 0;
/// The core of everything else.
pub(crate) const LOAD_CORE: usize = 1;

/// A program that ends with this value, with everything that it started.
#[derive(Debug)]
pub(crate) struct Program(Child);

impl Program {
    /// Starts a program on one core, with nothing of this process' environment. What it writes goes to a file.
    pub(crate) fn start(command: &Command, core: usize, log: &Path) -> anyhow::Result<Self> {
        let mut pinned = Command::new("taskset");
        pinned.arg("-c").arg(core.to_string()).arg(command.get_program()).args(command.get_args());
        pinned.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        pinned.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        if let Some(folder) = command.get_current_dir() {
            pinned.current_dir(folder);
        }
        let log = File::options().create(true).append(true).open(log)?;
        pinned.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let what = command.get_program().display();
        pinned.spawn().map(Self).with_context(|| format!("starting {what} with taskset"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Fails if the program has ended.
    pub(crate) fn must_live(&mut self) -> anyhow::Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("it ended with {status}"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let Some(group) = Pid::from_raw(self.0.id().cast_signed()) else { return };
        // Gone already is as good.
        let _ = kill_process_group(group, Signal::TERM);
        let told = Instant::now();
        while told.elapsed() < LEAVING && matches!(self.0.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(10));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

/// What a process and its children have used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Time on a core, of all threads that live.
    pub(crate) cpu: Duration,
    /// Memory that is resident, in KiB.
    pub(crate) rss: u64,
}

impl Used {
    /// Asks the kernel: `/proc/PID/task/*/schedstat` counts nanoseconds, and `status` memory.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let mut used = Self::default();
        let root = format!("/proc/{pid}");
        for task in fs::read_dir(format!("{root}/task")).with_context(|| format!("the process {pid}"))? {
            let task = task?.path();
            // A thread, or a child, may have ended since it was listed.
            let Ok(time) = fs::read_to_string(task.join("schedstat")) else { continue };
            let nanoseconds = time.split(' ').next().unwrap_or_default().parse()?;
            used.cpu += Duration::from_nanos(nanoseconds);
            for child in fs::read_to_string(task.join("children")).unwrap_or_default().split_whitespace() {
                if let Ok(more) = Self::of(child.parse()?) {
                    used.cpu += more.cpu;
                    used.rss += more.rss;
                }
            }
        }
        let status = fs::read_to_string(format!("{root}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        used.rss += rss.map_or(Ok(0), |rss| rss.trim().trim_end_matches(" kB").parse())?;
        Ok(used)
    }
}
