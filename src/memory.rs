//! What is remembered of a server between two runs: that it sends `Mcpd-Decision`, and where its audit trail ended.
//!
//! A bare 200 of a server that never sent the header counts as a yes, for the sake of older servers. One that has
//! sent it must go on doing so: whoever answers without it is somebody else.

use crate::{credential, environment::Environment, files};
use mcp_api::AuditHead;
use std::path::PathBuf;

/// Says whether the server at `origin` is known to send the header. If the record cannot be read, it is; without a
/// folder for records nothing was ever remembered.
#[must_use]
pub fn decision_required(env: &Environment, origin: &str) -> bool {
    // Without a folder nothing can have been remembered.
    folder(env).is_some_and(|folder| folder.join(credential::file_name(origin)).try_exists().unwrap_or(true))
}

/// Remembers that the server at `origin` sends the header.
pub fn decision_seen(env: &Environment, origin: &str) -> Result<(), files::FileError> {
    let Some(folder) = folder(env) else { return Ok(()) };
    let name = credential::file_name(origin);
    if folder.join(&name).exists() {
        return Ok(());
    }
    // Never through a link, or into a home, of somebody else.
    files::private_folder(&folder)?.write(&name, b"")
}

fn folder(env: &Environment) -> Option<PathBuf> {
    Some(env.state_folder()?.join("v1").join("decision-seen"))
}

/// Where the audit trail of the server at `origin` ended when it was last found sound; none if it never was looked at.
pub fn audit_head(env: &Environment, origin: &str) -> Result<Option<AuditHead>, MemoryError> {
    let Some(path) = audit_folder(env).map(|folder| folder.join(credential::file_name(origin))) else {
        return Ok(None);
    };
    if matches!(path.try_exists(), Ok(false)) {
        return Ok(None);
    }
    let text = files::read(&path, HEAD_MAX)?;
    let head = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    head.map(Some).ok_or(MemoryError::NoHead(path))
}

/// What is remembered cannot be read. It was not nothing.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The file holds something else.
    #[error("{} does not hold the end of a trail, SEQ:HASH", .0.display())]
    NoHead(PathBuf),
}

/// Remembers where it ends now: the caller has found that nothing is missing.
pub fn audit_seen(env: &Environment, origin: &str, head: &AuditHead) -> Result<(), files::FileError> {
    let Some(folder) = audit_folder(env) else { return Ok(()) };
    let folder = files::private_folder(&folder)?;
    folder.write(&credential::file_name(origin), format!("{head}\n").as_bytes())
}

/// The largest file of an end, in bytes.
const HEAD_MAX: u64 = 256;

fn audit_folder(env: &Environment) -> Option<PathBuf> {
    Some(env.state_folder()?.join("v1").join("audit-heads"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_once_is_required_ever_after() {
        let folder = tempfile::tempdir().unwrap();
        let env = Environment::from([("XDG_STATE_HOME", folder.path().to_str().unwrap())]);
        assert!(!decision_required(&env, "https://a.example"));
        decision_seen(&env, "https://a.example").unwrap();
        assert!(
            decision_required(&env, "https://a.example") && !decision_required(&env, "https://b.example")
        );
    }
}
