//! What is done after everything has been said: the server is told what local providers were asked in its place.
//!
//! It changes neither the exit code nor what was printed, and is given up after two seconds: what was not taken waits
//! for the next command.

use super::Run;
use crate::{gateway::Gateway, journal::Spool};
use mcp_api::failover_report::{FailoverReports, REPORTS_MAX, TOKEN_ID};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// How long the end of a command may be held up by it.
const LIMIT: Duration = Duration::from_secs(2);

/// How what names somebody by their JWT begins.
const JWT: &str = "jwt:";

/// A server that has just answered, and may have to be told something.
pub struct Delivery {
    pub(super) gateway: Rc<Gateway>,
    pub(super) origin: String,
}

/// Delivers what waits for the server that this run was about, if it was about one.
pub(super) fn deliver(run: &mut Run<'_>) {
    let Some(Delivery { gateway, origin }) = run.delivery.take() else { return };
    let Some(spool) = Spool::find(&run.env, &origin) else { return };
    let deadline = Instant::now() + LIMIT;
    match hand_over(&spool, &gateway, deadline) {
        Ok(0) => {}
        Ok(taken) => run.detail(format_args!("reports of failovers taken by the server: {taken}")),
        Err(why) => run.detail(format_args!("reports of failovers wait for the next command: {why}")),
    }
}

/// Gives how many reports the server has dealt with.
fn hand_over(spool: &Spool, gateway: &Gateway, deadline: Instant) -> anyhow::Result<usize> {
    let mut taken = 0;
    let mut waiting = spool.waiting()?;
    let ours = gateway.owner();
    let is_jwt = gateway.token_id().is_none();
    // What a JWT has permitted is of whoever that one names, and what names nobody is of no JWT.
    waiting.retain(|(_, report)| match &report.token_id {
        Some(id) => report.token_id == ours || !id.starts_with(JWT),
        None => !is_jwt,
    });
    // Our own first: those of another token may be of somebody else, who has to come for them.
    waiting.sort_by_key(|(_, report)| report.token_id != ours);
    for batch in waiting.chunks(REPORTS_MAX) {
        let left = deadline.saturating_duration_since(Instant::now());
        anyhow::ensure!(!left.is_zero(), "the server is slow");
        let reports = batch.iter().map(|(_, report)| report.clone()).collect();
        let receipt = gateway
            .report(&FailoverReports { reports }, left)
            .map_err(|failure| anyhow::anyhow!("{}", failure.told_of("the server")))?;
        // One that is of somebody else waits for them.
        let rejected = receipt.rejected.iter().filter(|rejected| rejected.field != TOKEN_ID);
        let rejected = rejected.map(|rejected| &rejected.id);
        let dealt_with: Vec<_> = receipt.accepted.iter().chain(rejected).collect();
        for (name, _) in batch.iter().filter(|(_, report)| dealt_with.contains(&&report.id)) {
            spool.forget(name)?;
            taken += 1;
        }
    }
    Ok(taken)
}
