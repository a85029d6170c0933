//! Runs another program to its end, within a limit, and takes what it prints. No shell, and no input.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_setfl},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use std::{
    io::{self, Read},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Why a program has not done what it was run for.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be started or listened to.
    #[error("it cannot be run: {0}")]
    Start(#[from] io::Error),
    /// It took too long, and was killed.
    #[error("it did not end within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// It printed too much, and was killed.
    #[error("it printed more than {0} bytes")]
    TooMuch(usize),
    /// It says that it failed.
    #[error("it failed ({0})")]
    Failed(ExitStatus),
}

/// A program that runs. It does not outlive its value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing to one that was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program and gives what it printed, at most `most` bytes. What else it has and sees (environment, stderr) is as
/// the command says; by default it sees everything that we see.
///
/// It has ended when it has ended: what it leaves running in the background may hold the pipe for as long as it likes.
/// It stays in our process group, so that it can ask at the terminal, and Ctrl-C reaches it too.
pub fn output(command: &mut Command, limit: Duration, most: usize) -> Result<Vec<u8>, ProgramError> {
    let deadline = Instant::now() + limit;
    let mut running = Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let end = pidfd_open(Pid::from_child(&running.0), PidfdFlags::empty()).map_err(io::Error::from)?;
    let mut pipe = running.0.stdout.take();
    if let Some(pipe) = &pipe {
        fcntl_setfl(pipe, OFlags::NONBLOCK).map_err(io::Error::from)?;
    }
    let mut printed = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ProgramError::TooSlow(limit));
        }
        let mut ready = vec![PollFd::new(&end, PollFlags::IN)];
        ready.extend(pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut ready, Timespec::try_from(left).ok().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        // Looked at before the last read, so that nothing is missed that came before the end.
        let ended = !ready[0].revents().is_empty();
        if let Some(from) = &mut pipe {
            match from.take((most + 1).saturating_sub(printed.len()) as u64).read_to_end(&mut printed) {
                Ok(_) if printed.len() > most => return Err(ProgramError::TooMuch(most)),
                Ok(_) => pipe = None,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if printed.len() > most {
                return Err(ProgramError::TooMuch(most));
            }
        }
        if ended {
            let status = running.0.wait()?;
            return if status.success() { Ok(printed) } else { Err(ProgramError::Failed(status)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<Vec<u8>, ProgramError> {
        output(Command::new("/bin/sh").args(["-c", script]), limit, 10)
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn what_it_prints_is_taken_and_its_failure_is_one() {
        assert_eq!(sh("printf ten-bytes-", LONG).unwrap(), b"ten-bytes-");
        assert!(matches!(sh("printf eleven-byte", LONG), Err(ProgramError::TooMuch(10))));
        assert!(matches!(sh("yes", LONG), Err(ProgramError::TooMuch(10))));
        assert!(matches!(sh("echo x; exit 3", LONG), Err(ProgramError::Failed(_))));
        assert!(matches!(output(&mut Command::new("/no/such"), LONG, 1), Err(ProgramError::Start(_))));
    }

    #[test]
    fn one_that_hangs_or_closes_its_output_is_waited_for_no_longer_than_the_limit() {
        let limit = Duration::from_millis(200);
        for script in ["exec sleep 1000", "exec >&-; exec sleep 1000"] {
            let began = Instant::now();
            assert!(matches!(sh(script, limit), Err(ProgramError::TooSlow(_))));
            assert!(began.elapsed() >= limit && began.elapsed() < LONG, "{script}");
        }
    }

    #[test]
    fn what_it_leaves_in_the_background_does_not_hold_it_up() {
        let began = Instant::now();
        assert_eq!(sh("echo yes; sleep 20 & exit 0", LONG).unwrap(), b"yes\n");
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
