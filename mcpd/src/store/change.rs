//! One change of what the server knows: a turn at the writer lock, a transaction and a new snapshot.

use super::{Snapshot, StoreError, touched};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// A change that has begun. Dropped without [`Change::commit`], it never happened.
#[derive(Debug)]
pub(crate) struct Change {
    transaction: Transaction<'static, Sqlite>,
    before: Arc<Snapshot>,
    memory: Arc<ArcSwap<Snapshot>>,
    /// Given back last, after the snapshot is in place.
    turn: OwnedMutexGuard<()>,
}

impl Change {
    pub(super) async fn begin(
        turn: OwnedMutexGuard<()>,
        pool: &SqlitePool,
        memory: Arc<ArcSwap<Snapshot>>,
    ) -> Result<Self, StoreError> {
        let mut transaction = pool.begin().await?;
        // First, so that the transaction is a writing one from its start and can never be a stale reader.
        let moved = sqlx::query("UPDATE authz SET epoch = epoch + 1 WHERE one = 1")
            .execute(&mut *transaction)
            .await?;
        touched(moved.rows_affected(), 1, "the epoch")?;
        let before = memory.load_full();
        Ok(Self { transaction, before, memory, turn })
    }

    /// The state that this change starts from. Nobody can change it meanwhile: decide on this one.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.before
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Makes the change last and visible, in this order, and gives the state after it.
    ///
    /// The end of it runs in a task of its own: a client that hangs up cannot leave a revocation in the database
    /// that memory never hears of.
    pub(crate) async fn commit(mut self, now: Timestamp) -> Result<Arc<Snapshot>, StoreError> {
        let after = Arc::new(Snapshot::load(&mut self.transaction).await?);
        if self.before.somebody_administers(now) && !after.somebody_administers(now) {
            return Err(StoreError::LastAdmin);
        }
        let Self { transaction, memory, turn, .. } = self;
        let finish = async move {
            transaction.commit().await?;
            memory.store(Arc::clone(&after));
            drop(turn);
            Ok(after)
        };
        // A task fails to join only if it panicked or the runtime is gone.
        tokio::spawn(finish).await.unwrap_or(Err(StoreError::Diverged("a change whose end is unknown")))
    }
}
