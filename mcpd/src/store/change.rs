//! One change of what the server knows: a turn at the writer lock, a transaction and a new snapshot.

use super::{Snapshot, StoreError, touched};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection, SqlitePool};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// A change that has begun. Dropped without [`Change::commit`], it never happened.
///
/// It has a connection of its own, which is closed with it. After an error such as a full disk the database may have
/// ended the transaction by itself, or not; a connection in a state that nobody knows must not serve the next change,
/// which could be acknowledged and never be written.
#[derive(Debug)]
pub(crate) struct Change {
    connection: SqliteConnection,
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
        let mut connection = pool.acquire().await?.detach();
        // In plain words, not by the driver's count of open transactions, which an error can leave wrong: in a
        // transaction that is open already this is an error, and so is the commit of one that is not.
        sqlx::query("BEGIN").execute(&mut connection).await?;
        // First, so that the transaction is a writing one from its start and can never be a stale reader.
        let moved =
            sqlx::query("UPDATE authz SET epoch = epoch + 1 WHERE one = 1").execute(&mut connection).await?;
        touched(moved.rows_affected(), 1, "the epoch")?;
        let before = memory.load_full();
        Ok(Self { connection, before, memory, turn })
    }

    /// The state that this change starts from. Nobody can change it meanwhile: decide on this one.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.before
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Makes the change last and visible, in this order, and gives the state after it.
    ///
    /// The end of it runs in a task of its own: a client that hangs up cannot leave a revocation in the database
    /// that memory never hears of.
    pub(crate) async fn commit(mut self, now: Timestamp) -> Result<Arc<Snapshot>, StoreError> {
        let after = Arc::new(Snapshot::load(&mut self.connection).await?);
        if self.before.somebody_administers(now) && !after.somebody_administers(now) {
            return Err(StoreError::LastAdmin);
        }
        let Self { mut connection, memory, turn, .. } = self;
        let finish = async move {
            sqlx::query("COMMIT").execute(&mut connection).await?;
            memory.store(Arc::clone(&after));
            // What was committed is safe, however closing goes.
            let _ = connection.close().await;
            drop(turn);
            Ok(after)
        };
        // A task fails to join only if it panicked or the runtime is gone.
        tokio::spawn(finish).await.unwrap_or(Err(StoreError::Diverged("a change whose end is unknown")))
    }
}

#[cfg(test)]
mod tests {
    use crate::{app::now, place::Place, store::Store};
    use mcp_api::{Subject, SubjectKind};
    use std::path::Path;

    fn user(name: &str) -> Subject {
        Subject { kind: SubjectKind::User, name: name.parse().unwrap() }
    }

    async fn open(folder: &Path) -> Store {
        Store::open(Place::find(None, Some(folder), |_| None).unwrap().claim().unwrap()).await.unwrap()
    }

    /// A disk that fills up while a change is being written, at its last step too: `COMMIT`.
    #[tokio::test]
    async fn d03_what_is_acknowledged_after_a_failed_change_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("data")).await;
        for _ in 0..5 {
            let mut change = store.change().await.unwrap();
            let twice = "INSERT OR ROLLBACK INTO authz SELECT * FROM authz";
            sqlx::query(twice).execute(change.connection()).await.unwrap_err();
            assert!(change.commit(now()).await.is_err(), "a change that was rolled back was acknowledged");
            let mut change = store.change().await.unwrap();
            sqlx::query("PRAGMA max_page_count = 1").execute(change.connection()).await.unwrap();
            let large =
                "INSERT INTO subjects (kind, name, created_at) SELECT 'User', hex(randomblob(100000)), 0";
            sqlx::query(large).execute(change.connection()).await.unwrap_err();
            drop(change);
            let mut change = store.change().await.unwrap();
            sqlx::query("COMMIT").execute(change.connection()).await.unwrap();
            assert!(change.commit(now()).await.is_err(), "a change that was over was acknowledged");
        }
        for name in ["a", "b", "c", "d"] {
            let mut change = store.change().await.unwrap();
            change.insert_subject(&user(name), now()).await.unwrap();
            change.commit(now()).await.unwrap();
        }
        // As after kill -9: nothing is written back or closed first.
        std::mem::forget(store);
        let file = folder.path().join("data/mcpd.db");
        let findings = crate::store::inspect(&file).await.unwrap();
        assert!(findings.iter().all(|finding| finding.ok), "{findings:?}");
        let url = format!("sqlite://{}", file.display());
        let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
        let users: i64 =
            sqlx::query_scalar("SELECT count(*) FROM subjects").fetch_one(&mut connection).await.unwrap();
        assert_eq!(users, 4, "acknowledged changes are gone");
    }
}
