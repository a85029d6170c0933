//! The steps of stopping: first say that others should be asked, then refuse what is new, later end what is still open.

use tokio_util::sync::CancellationToken;

/// How far the server is on its way down. Each step is taken with or after the one before it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// It is not ready any more, though it still takes requests: whoever sends them is to find that out first.
    pub(crate) leaving: CancellationToken,
    /// Nothing new is begun.
    pub(crate) draining: CancellationToken,
    /// What is still open is ended.
    pub(crate) ending: CancellationToken,
}
