//! What every handler can reach, and how a change begins.

use crate::{
    audit::Audit,
    bodies::Bodies,
    caller::Caller,
    config::Settings,
    limits::{Attempts, Limits},
    log::chain,
    metrics::Metrics,
    oidc::Oidc,
    problem::Problem,
    proxy::Upstream,
    stop::Stop,
    store::{Change, Store, StoreError},
    tls::Tls,
    trace::Tracer,
};
use jiff::Timestamp;
use std::sync::Arc;

/// The server, without its sockets.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    /// Nothing if clients come without TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) upstream: Upstream,
    pub(crate) stop: Stop,
    pub(crate) audit: Audit,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tracer: Option<Tracer>,
    pub(crate) oidc: Oidc,
    pub(crate) limits: Limits,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) attempts: Attempts,
}

impl App {
    /// Begins a change, after all changes before it.
    ///
    /// Who called and what they may do is read again under the writer lock: decide with the [`Caller`] that comes
    /// back, never with the one from before the wait.
    pub(crate) async fn change(&self, caller: Caller) -> Result<(Caller, Change), Problem> {
        let mut change = self.store.change().await?;
        let caller = caller.renewed(change.moment())?;
        change.made_by(caller.who(), Arc::clone(caller.record()));
        Ok((caller, change))
    }
}

/// The time of this machine. What tokens expire by is [`Moment::now`].
pub(crate) fn now() -> Timestamp {
    // The database keeps milliseconds; what is shown should be what is kept.
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = chain(&error), "the database did not do what it was asked to");
        match error {
            StoreError::LastAdmin => {
                Self::Conflict("This would leave nobody with the role admin on * and a valid token.".into())
            }
            StoreError::Unavailable(_) | StoreError::Silent | StoreError::Away | StoreError::Standby => {
                Self::Database
            }
            StoreError::Uncertain => Self::Uncertain,
            StoreError::Unreadable(_)
            | StoreError::Diverged(_)
            | StoreError::Newer(_)
            | StoreError::Older(_)
            | StoreError::Migration(_)
            | StoreError::Random(_)
            | StoreError::OldSqlite(_)
            | StoreError::OldPostgres(_) => Self::Internal,
        }
    }
}
