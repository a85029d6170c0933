//! What is worth asking the server once it has refused for good, to say it in the error. Nothing depends on the
//! answers, so that they are not waited for long.

use crate::gateway::Gateway;
use mcp_api::{identity::Whoami, paths};
use std::time::Duration;

/// How much longer an error may take for it.
const LIMIT: Duration = Duration::from_secs(1);

/// Who the server says is asking.
pub(super) fn user(gateway: &Gateway) -> Option<String> {
    let who: Whoami = gateway.get_within(LIMIT, paths::WHOAMI).ok()?;
    Some(who.subject.name.to_string())
}
