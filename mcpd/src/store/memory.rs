//! The copy of the database in memory, and whether it is known to be one.

use super::Snapshot;
use arc_swap::ArcSwap;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What was read or committed last.
#[derive(Debug)]
pub(super) struct Memory {
    snapshot: ArcSwap<Snapshot>,
    is_doubtful: AtomicBool,
}

impl Memory {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: ArcSwap::from_pointee(snapshot), is_doubtful: AtomicBool::new(false) }
    }

    /// What was read or committed last, whether or not it still holds.
    pub(super) fn latest(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The same, unless it is in doubt.
    pub(super) fn exact(&self) -> Option<Arc<Snapshot>> {
        (!self.is_doubtful.load(Ordering::SeqCst)).then(|| self.latest())
    }

    /// Keeps what is known now. Ends all doubt.
    pub(super) fn keep(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
        self.is_doubtful.store(false, Ordering::SeqCst);
    }

    /// Says that the database may hold something else: nobody knows how a commit has ended.
    pub(super) fn doubt(&self) {
        self.is_doubtful.store(true, Ordering::SeqCst);
    }
}
