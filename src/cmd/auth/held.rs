//! Whose token `auth login` would replace: it may be the only one that its holder has.

use super::told_whoami;
use crate::{
    cmd::Run,
    config::Server,
    credential::{self, CredentialError, holder},
};
use mcp_api::{Subject, Whoami};

/// The stored token of the server is not known to be of whoever logs in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Held {
    #[error("{holder} is logged in to {server} already")]
    ByAnother { holder: String, server: String },
    #[error("a token is stored for {server} already, and whose it is cannot be told: {why}")]
    Untold { server: String, why: String },
}

impl Held {
    pub(in crate::cmd) fn hints() -> Vec<String> {
        vec![
            "the stored token was kept; contexts of one server share one".into(),
            "tip: mcpctl auth logout, or --replace if it is not needed any more".into(),
        ]
    }
}

/// Refuses if the stored token of the server is not one of the same subject.
pub(super) fn check(run: &Run<'_>, server: &Server, who: &Whoami) -> Result<(), Held> {
    let origin = server.origin();
    let untold = |why: String| Held::Untold { server: origin.clone(), why };
    let stored = match credential::find_stored(&run.env, &origin) {
        Err(CredentialError::Missing(_) | CredentialError::NoFolder) => return Ok(()),
        stored => stored.map_err(|error| untold(error.to_string()))?,
    };
    if stored.token_id() == Some(&who.token_id) {
        return Ok(());
    }
    let known = holder::subject(&run.env, &origin, stored.token_id());
    let holder: Subject = match known {
        Some(holder) => holder,
        None => told_whoami(server, stored.token).map_err(|error| untold(error.to_string()))?.subject,
    };
    if holder == who.subject {
        return Ok(());
    }
    Err(Held::ByAnother { holder: holder.name.to_string(), server: origin })
}
