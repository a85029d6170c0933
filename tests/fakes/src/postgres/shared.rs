//! One cluster for all tests of a process that need nothing but a database: it lives as long as one of them does.

use super::Postgres;
use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering},
};

/// A database of its own in the shared cluster. Dropped with its value.
#[derive(Debug)]
pub(crate) struct Database {
    cluster: Arc<Postgres>,
    name: String,
}

impl Database {
    /// Makes an empty one. None if this machine has no PostgreSQL.
    pub(crate) fn create() -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let name = format!("mcpd_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let cluster = cluster()?;
        cluster.create_database(&name);
        Some(Self { cluster, name })
    }

    pub(crate) fn url(&self) -> String {
        self.cluster.url_at(self.cluster.addr(), &self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Also where somebody is still connected: the server under test is gone, its sessions may not know yet.
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // It goes with the cluster anyway; a panic here could hide the one that ends the test.
        let _saves_space = self.cluster.try_psql("postgres", &drop);
    }
}

fn cluster() -> Option<Arc<Postgres>> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return Some(cluster);
    }
    let cluster = Arc::new(Postgres::start()?);
    *shared = Arc::downgrade(&cluster);
    Some(cluster)
}
