//! What is remembered of a server between two runs: that it sends `Mcpd-Decision`.
//!
//! A bare 200 of a server that never sent the header counts as a yes, for the sake of older servers. One that has
//! sent it must go on doing so: whoever answers without it is somebody else.

use crate::{credential, environment::Environment, files};
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
