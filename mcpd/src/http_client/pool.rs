//! The idle connections to one server. They are that server's: where it goes, they go.

use super::Wire;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// Shorter than the 5 s after which uvicorn, and with it vLLM, closes an idle connection: the one who closes first
/// must be us, or a prompt meets a closing connection.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// As many are kept.
const KEPT_MAX: usize = 64;

/// Connections that wait for their next request.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The one that was used last is the last.
    idle: Vec<Idle>,
    /// One task closes what nobody uses, as long as there is anything.
    is_swept: bool,
}

#[derive(Debug)]
struct Idle {
    wire: Wire,
    since: Instant,
}

impl Pool {
    /// The one that was used last, if it may still be used and the other side has not closed it.
    pub(crate) fn take(&self) -> Option<Wire> {
        let now = Instant::now();
        loop {
            let Idle { mut wire, since } = self.kept().idle.pop()?;
            if now.saturating_duration_since(since) < IDLE_MAX && wire.is_quiet() {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(self: &Arc<Self>, mut wire: Wire) {
        // Whoever waited for it is forgotten by this, too.
        if !wire.is_quiet() {
            return;
        }
        let since = Instant::now();
        let mut kept = self.kept();
        if kept.idle.len() < KEPT_MAX {
            kept.idle.push(Idle { wire, since });
        }
        if !std::mem::replace(&mut kept.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), since + IDLE_MAX));
        }
    }

    /// Closes them all: what was kept to a node that failed is most likely gone as well.
    pub(crate) fn clear(&self) {
        self.kept().idle.clear();
    }

    /// Closes what has been idle for too long, and says when to look again.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let mut kept = self.kept();
        kept.idle.retain(|idle| now.saturating_duration_since(idle.since) < IDLE_MAX);
        let next = kept.idle.iter().map(|idle| idle.since + IDLE_MAX).min();
        kept.is_swept = next.is_some();
        next
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // No line here leaves the list in another state than it should be in.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(pool: Weak<Pool>, mut next: Instant) {
    loop {
        sleep_until(next).await;
        let Some(pool) = pool.upgrade() else { return };
        let Some(then) = pool.sweep(Instant::now()) else { return };
        next = then;
    }
}
