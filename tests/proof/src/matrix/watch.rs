//! A child that is watched: what it writes, as it writes it, and how it ends, within a limit.

use anyhow::{Context as _, Result};
use fakes::Gate;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{io::Read, process::Child, time::Instant};

/// What became of it.
pub(crate) struct Ended {
    /// None: by a signal, or by the limit.
    pub(crate) exit: Option<i32>,
    /// What it wrote.
    pub(crate) stdout: String,
    /// What it said.
    pub(crate) stderr: String,
}

/// Reads both streams to their ends. The gate opens once stdout holds these words.
pub(crate) fn read(child: &mut Child, until: Instant, words: &str, gate: &Gate) -> Result<Ended> {
    let mut stdout = child.stdout.take().context("stdout is piped")?;
    let mut stderr = child.stderr.take().context("stderr is piped")?;
    let (mut written, mut said) = (Vec::new(), Vec::new());
    let (mut writes, mut speaks) = (true, true);
    while writes || speaks {
        if writes && !words.is_empty() && written.len() >= words.len() {
            gate.open();
        }
        let left = until.saturating_duration_since(Instant::now());
        let (can_read, can_hear) = {
            let mut open = Vec::new();
            if writes {
                open.push(PollFd::new(&stdout, PollFlags::IN));
            }
            if speaks {
                open.push(PollFd::new(&stderr, PollFlags::IN));
            }
            let limit =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            let ready = poll(&mut open, Some(&limit))?;
            if ready == 0 {
                break;
            }
            let is_ready = |at: usize| open.get(at).is_some_and(|fd| !fd.revents().is_empty());
            (writes && is_ready(0), speaks && is_ready(usize::from(writes)))
        };
        if can_read {
            writes = more(&mut stdout, &mut written)?;
        }
        if can_hear {
            speaks = more(&mut stderr, &mut said)?;
        }
    }
    if writes || speaks {
        child.kill()?;
    }
    let status = child.wait()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let exit = if writes || speaks { None } else { status.code() };
    Ok(Ended { exit, stdout: text(written), stderr: text(said) })
}

/// Reads what is there. False at the end.
fn more(from: &mut impl Read, into: &mut Vec<u8>) -> Result<bool> {
    let mut buffer = [0; 4096];
    let n = from.read(&mut buffer)?;
    into.extend_from_slice(&buffer[..n]);
    Ok(n > 0)
}
