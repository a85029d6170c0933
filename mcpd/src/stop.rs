//! The two steps of stopping: first refuse what is new, later end what is still open.

use tokio_util::sync::CancellationToken;

/// How far the server is on its way down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Nothing new is begun.
    pub(crate) draining: CancellationToken,
    /// What is still open is ended.
    pub(crate) ending: CancellationToken,
}
