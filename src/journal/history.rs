//! `failovers.jsonl`: what happened on this machine, a line each, whether or not a server heard of it. Bounded.

use crate::{environment::Environment, files};
use mcp_api::failover_report::FailoverReport;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde_json::json;
use std::{
    fs::File,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The file, and the one before it.
const FILES: [&str; 2] = ["failovers.jsonl", "failovers.jsonl.1"];
/// The size at which it is put aside, in bytes. At most two of them are kept.
pub(super) const SIZE_MAX: u64 = 1 << 20;

/// Where it is, and what is the same in every line of this run.
#[derive(Debug)]
pub(super) struct History {
    state: PathBuf,
    server: String,
    user: Option<String>,
}

impl History {
    pub(super) fn new(state: &Path, env: &Environment, origin: &str) -> Self {
        let user = env.var("USER").or_else(|| env.var("LOGNAME")).map(str::to_owned);
        Self { state: state.to_owned(), server: origin.to_owned(), user }
    }

    /// Adds a line. That it cannot is no reason to do anything else differently: the report is what counts.
    pub(super) fn add(&self, report: &FailoverReport) {
        let mut line = json!({ "server": self.server, "user": self.user, "verdict": "allowed" });
        if let (Some(line), Ok(serde_json::Value::Object(report))) =
            (line.as_object_mut(), serde_json::to_value(report))
        {
            line.extend(report);
        }
        if let Some(mut file) = self.file() {
            // One write a line: what is written is whole lines, whatever happens to this process.
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }

    /// The file, locked, with room for a line.
    fn file(&self) -> Option<File> {
        let folder = files::private_folder(&self.state).ok()?;
        for _ in 0..ROUNDS {
            let how = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
            let file = folder.open_private(FILES[0], how).ok()?;
            flock(&file, FlockOperation::LockExclusive).ok()?;
            let now = folder.open_private(FILES[0], OFlags::RDONLY).ok()?.metadata().ok()?;
            let held = file.metadata().ok()?;
            if (held.dev(), held.ino()) != (now.dev(), now.ino()) {
                // Somebody put it aside while we waited for it.
                continue;
            }
            if held.len() < SIZE_MAX {
                return Some(file);
            }
            folder.rename(FILES[0], FILES[1]).ok()?;
        }
        None
    }
}

/// Somebody else may put it aside at the same time; nobody does so again and again.
const ROUNDS: usize = 8;
