//! The question that comes before every failover: may this caller still use this LLM?

use super::Run;
use crate::{
    gateway::{Gateway, Probed},
    memory,
};
use mcp_api::{LlmId, LlmKey};
use std::time::Duration;

/// What is said where the memory of a server cannot be written.
pub(super) const CANNOT_REMEMBER: &str = "cannot remember that this server sends its decisions";

/// What is known before the question.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The id under which the failed primary knew the LLM.
    pub(super) id: Option<LlmId>,
    /// This server has sent its decision in this run.
    pub(super) decision_seen: bool,
    /// What is left of the caller's own time.
    pub(super) time_left: Option<Duration>,
}

/// Asks, and remembers whether this server sends its decisions.
pub(super) fn ask(run: &mut Run<'_>, gateway: &Gateway, origin: &str, llm: &LlmKey, known: Known) -> Probed {
    let required =
        known.decision_seen || run.deciding.contains(origin) || memory::decision_required(&run.env, origin);
    let waiting = run.waiting_for("asking for permission");
    let probed = gateway.probe(llm, known.id, required, known.time_left);
    drop(waiting);
    if probed.decision_sent
        && run.deciding.insert(origin.to_owned())
        && let Err(error) = memory::decision_seen(&run.env, origin)
    {
        run.warn(format_args!("{CANNOT_REMEMBER}: {error}"));
    }
    run.detail(format_args!("the probe took {} ms", probed.took.as_millis()));
    probed
}
