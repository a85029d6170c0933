//! One run of a program, from its start to its end or to a limit, and those that are under way, for whoever kills.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(i32),
    /// Killed by us, on purpose.
    Killed,
    /// By a signal that was none of ours.
    Signal(i32),
    /// It went on beyond its limit, and was killed for that.
    Hung,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The arguments.
    pub args: Vec<String>,
    /// How it ended.
    pub end: End,
    /// What it answered.
    pub stdout: String,
    /// What it said to people.
    pub stderr: String,
    /// Before it was started.
    pub began: Instant,
    /// After it had ended.
    pub ended: Instant,
}

impl Finished {
    /// Says whether it ended by itself with this code.
    pub fn is(&self, code: i32) -> bool {
        self.end == End::Code(code)
    }

    /// All of it, for a message.
    pub fn told(&self) -> String {
        let short = |text: &str| text.chars().take(2000).collect::<String>();
        format!(
            "mcpctl {} -> {:?} after {:?}\nstdout: {:?}\nstderr: {:?}",
            self.args.join(" "),
            self.end,
            self.ended - self.began,
            short(&self.stdout),
            short(&self.stderr)
        )
    }
}

/// The runs that are under way and may be killed.
#[derive(Debug, Default)]
pub struct Underway(Mutex<Runs>);

#[derive(Debug, Default)]
struct Runs {
    next: u64,
    living: BTreeMap<u64, Living>,
}

#[derive(Debug)]
struct Living {
    process: OwnedFd,
    was_killed: bool,
}

impl Underway {
    /// Kills one of them, chosen by any number. False if there is none.
    pub fn kill_one(&self, choice: usize) -> bool {
        let mut runs = self.runs();
        let count = runs.living.len().max(1);
        let Some(living) = runs.living.values_mut().nth(choice % count) else { return false };
        living.was_killed = pidfd_send_signal(&living.process, Signal::KILL).is_ok();
        living.was_killed
    }

    fn add(&self, process: OwnedFd) -> u64 {
        let mut runs = self.runs();
        runs.next += 1;
        let number = runs.next;
        runs.living.insert(number, Living { process, was_killed: false });
        number
    }

    /// Says whether it was killed.
    fn remove(&self, number: u64) -> bool {
        self.runs().living.remove(&number).is_some_and(|living| living.was_killed)
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs it to its end, at most for `limit`. With `underway`, others may kill it meanwhile.
pub fn finish(mut command: Command, limit: Duration, underway: Option<&Underway>) -> io::Result<Finished> {
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (mut stdout, mut stderr) = (memory("stdout")?, memory("stderr")?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let began = Instant::now();
    let mut child = command.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let listed = underway.map(|underway| Ok::<_, io::Error>((underway, underway.add(process.try_clone()?))));
    let listed = listed.transpose()?;
    let is_over = ends_within(&process, limit)?;
    if !is_over {
        let _ended_just_now = pidfd_send_signal(&process, Signal::KILL);
    }
    let status = child.wait()?;
    let ended = Instant::now();
    let was_killed = listed.is_some_and(|(underway, number)| underway.remove(number));
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, Some(9)) if !is_over => End::Hung,
        (None, Some(9)) if was_killed => End::Killed,
        (None, signal) => End::Signal(signal.unwrap_or_default()),
    };
    Ok(Finished { args, end, stdout: text(&mut stdout)?, stderr: text(&mut stderr)?, began, ended })
}

/// Waits for the end of a process; false if the limit came first.
fn ends_within(process: &OwnedFd, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A file in memory: what is left open by a process that lives on holds nobody up.
fn memory(name: &str) -> io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC)?.into())
}

fn text(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
