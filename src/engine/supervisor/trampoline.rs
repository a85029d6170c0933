//! The few steps between the supervisor and the engine: what a process can only do for itself before it becomes
//! another program.

use crate::engine::{
    launch::Launch,
    processes::{MARK, Process},
    record::Record,
};
use mcp_api::Secret;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::process::{getpid, getppid, set_parent_process_death_signal, setsid};
use std::{
    ffi::OsString,
    io::{self, PipeWriter, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

/// The hidden command: `__engine SUPERVISOR PROGRAM ARGUMENTS...`.
pub const COMMAND: &str = "__engine";

/// Starts the engine as a child. No shell is involved, and nothing of our own environment goes along.
pub(super) fn start(
    launch: &Launch,
    record: &Record,
    key: Option<&Secret>,
    output: PipeWriter,
) -> io::Result<Process> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(COMMAND)
        .arg(getpid().as_raw_nonzero().to_string())
        .arg(&launch.program)
        .args(&launch.args)
        .args(launch.kind.endpoint_args(&record.endpoint, &record.served))
        .env_clear()
        .envs(&launch.env)
        .env(MARK, &record.instance)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    if let (Some(variable), Some(folder)) = (launch.kind.traits().scratch_variable, &record.scratch) {
        command.env(variable, folder);
    }
    if let Some(key) = key {
        command.env(launch.kind.traits().key_variable, key.expose());
    }
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).map_err(|_| io::ErrorKind::InvalidData)?;
    // Not waited for yet, so the number is still its own.
    Process::find(pid).map_or_else(|| Ok(Process { pid, started: 0 }), Ok)
}

/// Becomes the engine. Returns only if that cannot be done, with an exit code.
pub fn run(args: &[OsString]) -> u8 {
    let failed = |what: &str| {
        // Standard error is the engine's log.
        let _ = writeln!(io::stderr(), "mcpctl: error: {what}");
        127
    };
    let [supervisor, program, rest @ ..] = args else { return failed("no program to become") };
    // A session of its own, so that its group can be told from ours.
    let _ = setsid();
    // If the supervisor is killed, the engine is asked to end. Killing the leader would orphan the rest.
    if let Err(error) = set_parent_process_death_signal(Some(rustix::process::Signal::TERM)) {
        return failed(&error.to_string());
    }
    // Killed before that: nobody would ever end us.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.as_deref() != supervisor.to_str() {
        return failed("the supervisor is gone");
    }
    // A closed terminal is no reason to end, and all other signals are the engine's own again.
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGHUP);
    if let Err(error) = mask.thread_swap_mask(SigmaskHow::SIG_SETMASK) {
        return failed(&error.to_string());
    }
    let error = Command::new(program).args(rest).exec();
    failed(&format!("cannot run {}: {error}", program.display()))
}
