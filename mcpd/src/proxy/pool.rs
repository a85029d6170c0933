//! The idle connections to one node. They are the node's: where it goes, they go.

use crate::http_client::Wire;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Shorter than the 5 s after which uvicorn, and with it vLLM, closes an idle connection: the one who closes first
/// must be us, or a prompt meets a closing connection.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// As many are kept.
const KEPT_MAX: usize = 64;

/// Connections that wait for their next request.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Idle>>);

#[derive(Debug)]
struct Idle {
    wire: Wire,
    since: Instant,
}

impl Idle {
    fn is_usable(&self) -> bool {
        !self.wire.is_closed() && self.since.elapsed() < IDLE_MAX
    }
}

impl Pool {
    /// The one that was used last, if the other side has not closed it yet.
    pub(super) fn take(&self) -> Option<Wire> {
        let mut idle = self.idle();
        idle.retain(Idle::is_usable);
        idle.pop().map(|idle| idle.wire)
    }

    /// Keeps a connection for the next request, as soon as the answer that comes on it has been read to its end.
    pub(super) fn keep(self: &Arc<Self>, mut wire: Wire) {
        // Not for longer than anybody may use it.
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            if wire.ready().await.is_err() {
                return;
            }
            if let Some(pool) = pool.upgrade() {
                let mut idle = pool.idle();
                if idle.len() < KEPT_MAX {
                    idle.push(Idle { wire, since: Instant::now() });
                }
            }
            sleep(IDLE_MAX).await;
            if let Some(pool) = pool.upgrade() {
                pool.idle().retain(Idle::is_usable);
            }
        });
    }

    /// Closes them all: what was kept to a node that failed is most likely gone as well.
    pub(super) fn clear(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // No line here leaves the list in another state than it should be in.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
