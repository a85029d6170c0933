//! One change of what the server knows: a turn at the writer lock, a transaction and a new snapshot.

use super::{
    Moment, Snapshot, StoreError, Who, audit,
    door::{Door, PATIENCE, within},
    memory::Memory,
    touched,
};
use crate::record::Record;
use jiff::Timestamp;
use sqlx::{Any, AnyConnection, any::AnyArguments, query::Query};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, sleep, timeout},
};

/// How long to wait before a file that cannot be read is read again.
const BREATH: Duration = Duration::from_millis(200);

/// A change that has begun. Dropped without [`Change::commit`], it never happened.
///
/// Its connection serves the next change only if this one was committed. After an error such as a full disk the database
/// may have ended the transaction by itself, or not; a connection in a state that nobody knows could let a change be
/// acknowledged and never be written.
#[derive(Debug)]
pub(crate) struct Change {
    connection: AnyConnection,
    before: Arc<Snapshot>,
    now: Timestamp,
    begun: Instant,
    author: Author,
    door: Arc<Door>,
    memory: Arc<Memory>,
    /// Given back last, after the snapshot is in place.
    turn: Turn,
}

/// Who makes a change, for the audit trail.
#[derive(Debug)]
enum Author {
    /// Somebody on the server's own machine.
    Operator,
    /// A caller, by a request.
    Caller(Who, Arc<Record>),
    /// The trail that is copied says it: it goes on where the original ends.
    Original,
}

/// The writer lock of this process, and the connection that the last writer has left.
pub(super) type Turn = OwnedMutexGuard<Option<AnyConnection>>;

impl Change {
    pub(super) async fn begin(
        mut turn: Turn,
        door: Arc<Door>,
        memory: Arc<Memory>,
    ) -> Result<Self, StoreError> {
        let mut connection = begun(turn.take(), &door).await?;
        let begun = Instant::now();
        // First, so that the transaction is a writing one from its start and can never be a stale reader. On a server
        // it is where the writers of all mcpds stand in line.
        let moved = sqlx::query_as("UPDATE authz SET epoch = epoch + 1 WHERE one = 1 RETURNING epoch, stamp");
        let (epoch, stamp): (i64, String) = within(moved.fetch_one(&mut connection)).await?;
        let held = memory.latest();
        let before = if held.is_of(epoch - 1, &stamp) {
            held
        } else {
            Arc::new(Snapshot::load(&mut connection).await?)
        };
        let now = door.now(&mut connection).await?;
        Ok(Self { connection, before, now, begun, author: Author::Operator, door, memory, turn })
    }

    /// What this change is decided on.
    pub(crate) fn moment(&self) -> Moment {
        Moment { snapshot: Arc::clone(&self.before), now: self.now, asked: self.begun }
    }

    /// The state that this change starts from. Nobody can change it meanwhile: decide on this one.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.before
    }

    /// The time at which it happens.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Says who makes it; without that it is made on the server's own machine.
    pub(crate) fn made_by(&mut self, who: Who, record: Arc<Record>) {
        self.author = Author::Caller(who, record);
    }

    /// Says that everything is copied, the audit trail too.
    pub(super) fn is_copy(&mut self) {
        self.author = Author::Original;
    }

    /// Runs one statement and gives the number of rows that it met.
    pub(super) async fn execute(&mut self, query: Query<'_, Any, AnyArguments>) -> Result<u64, StoreError> {
        within(query.execute(&mut self.connection)).await.map(|done| done.rows_affected())
    }

    /// Runs one statement that is about exactly one row.
    pub(super) async fn execute_one(
        &mut self,
        query: Query<'_, Any, AnyArguments>,
        noun: &'static str,
    ) -> Result<(), StoreError> {
        touched(self.execute(query).await?, 1, noun)
    }

    /// Finds out whether it could be committed. Nothing of it stays.
    pub(crate) async fn rehearse(mut self) -> Result<(), StoreError> {
        self.settle().await.map(drop)
    }

    /// Makes the change last and visible, in this order, and gives the state after it.
    ///
    /// The end of it runs in a task of its own: a client that hangs up cannot leave a revocation in the database
    /// that memory never hears of.
    pub(crate) async fn commit(mut self) -> Result<Arc<Snapshot>, StoreError> {
        let after = self.settle().await?;
        let finishing = tokio::spawn(self.finish(after));
        // Only the waiting has an end: a slow disk may still write what it was told to write, and memory has to hear
        // of that. A task fails to join only if it panicked or the runtime is gone.
        match timeout(PATIENCE, finishing).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) | Err(_) => Err(StoreError::Uncertain),
        }
    }

    async fn finish(self, after: Arc<Snapshot>) -> Result<Arc<Snapshot>, StoreError> {
        let Self { mut connection, door, memory, mut turn, .. } = self;
        let commit = sqlx::query("COMMIT").execute(&mut connection);
        let committed = match *door {
            // It is being written in a thread that cannot be told to stop.
            Door::File(_) => commit.await.map_err(StoreError::from),
            Door::Server(_) => within(commit).await,
        };
        match committed {
            Ok(_) => {
                memory.keep(Arc::clone(&after));
                *turn = Some(connection);
                Ok(after)
            }
            Err(error) if door.rules_out_commit(&error) => Err(error),
            Err(error) => {
                tracing::error!(error = crate::log::chain(&error), "nobody knows whether a change was made");
                drop(connection);
                if let Door::File(_) = *door {
                    memory.doubt();
                    // Nobody else writes meanwhile: the turn is ours.
                    memory.keep(read_again(&door).await);
                }
                Err(StoreError::Uncertain)
            }
        }
    }

    /// The state after it, if there may be such a one. Nothing but `COMMIT` comes after this.
    async fn settle(&mut self) -> Result<Arc<Snapshot>, StoreError> {
        let stamp = crate::ids::stamp()?;
        let stamped = sqlx::query("UPDATE authz SET stamp = $1 WHERE one = 1").bind(stamp);
        self.execute_one(stamped, "the epoch").await?;
        // It is also a question to the transaction: one that has failed before cannot answer, and a server would
        // take the word `COMMIT` from it without an error.
        let after = Snapshot::load(&mut self.connection).await?;
        if self.before.somebody_administers(self.now) && !after.somebody_administers(self.now) {
            return Err(StoreError::LastAdmin);
        }
        self.write_down(&after).await?;
        Ok(Arc::new(after))
    }

    /// Appends what has changed to the audit trail, in the same transaction: without its entries no change is made.
    async fn write_down(&mut self, after: &Snapshot) -> Result<(), StoreError> {
        let mut facts = after.changes_since(&self.before, self.now);
        match &self.author {
            Author::Original => return Ok(()),
            Author::Operator => {}
            Author::Caller(who, record) => {
                for fact in &mut facts {
                    fact.who = Some(who.clone());
                    fact.request_id = Some(record.request_id().to_owned());
                    fact.binding = record.binding().map(String::from);
                }
            }
        }
        audit::append(&mut self.connection, &facts).await.map(drop)
    }
}

/// A connection with a transaction that has just begun.
pub(super) async fn begun(left: Option<AnyConnection>, door: &Door) -> Result<AnyConnection, StoreError> {
    // In plain words, not by the driver's count of open transactions, which an error can leave wrong: in a transaction
    // that is open already this is an error, and so is the commit of one that is not.
    const BEGIN: &str = "BEGIN";
    if let Some(mut connection) = left
        && within(sqlx::query(BEGIN).execute(&mut connection)).await.is_ok()
    {
        return Ok(connection);
    }
    // The server may have been started anew, and nothing was asked of it yet.
    let mut connection = door.open().await?;
    within(sqlx::query(BEGIN).execute(&mut connection)).await?;
    Ok(connection)
}

/// What a file holds, as soon as it can be read.
async fn read_again(door: &Door) -> Arc<Snapshot> {
    loop {
        let read = async { Snapshot::load(&mut door.open().await?).await };
        match read.await {
            Ok(snapshot) => return Arc::new(snapshot),
            Err(error) => tracing::error!(error = crate::log::chain(&error), "the database cannot be read"),
        }
        sleep(BREATH).await;
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        app::now,
        database::Database,
        store::{Store, open},
    };
    use mcp_api::{Subject, SubjectKind};
    use std::path::Path;

    fn user(name: &str) -> Subject {
        Subject { kind: SubjectKind::User, name: name.parse().unwrap() }
    }

    async fn open_in(folder: &Path) -> Store {
        open(Database::find(None, Some(folder), |_| None).unwrap()).await.unwrap()
    }

    /// A disk that fills up while a change is being written, at its last step too: `COMMIT`.
    #[tokio::test]
    async fn d03_what_is_acknowledged_after_a_failed_change_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_in(&folder.path().join("data")).await;
        for _ in 0..5 {
            let mut change = store.change().await.unwrap();
            let twice = "INSERT OR ROLLBACK INTO authz SELECT * FROM authz";
            sqlx::query(twice).execute(&mut change.connection).await.unwrap_err();
            assert!(change.commit().await.is_err(), "a change that was rolled back was acknowledged");
            let mut change = store.change().await.unwrap();
            sqlx::query("PRAGMA max_page_count = 1").execute(&mut change.connection).await.unwrap();
            let large =
                "INSERT INTO subjects (kind, name, created_at) SELECT 'User', hex(randomblob(100000)), 0";
            sqlx::query(large).execute(&mut change.connection).await.unwrap_err();
            drop(change);
            let mut change = store.change().await.unwrap();
            sqlx::query("COMMIT").execute(&mut change.connection).await.unwrap();
            assert!(change.commit().await.is_err(), "a change that was over was acknowledged");
        }
        for name in ["a", "b", "c", "d"] {
            let mut change = store.change().await.unwrap();
            change.insert_subject(&user(name), now()).await.unwrap();
            change.commit().await.unwrap();
        }
        // As after kill -9: nothing is written back or closed first.
        std::mem::forget(store);
        let database = Database::find(None, Some(&folder.path().join("data")), |_| None).unwrap();
        let findings = crate::store::inspect(&database).await.unwrap();
        assert!(findings.iter().all(|finding| finding.ok), "{findings:?}");
        let url = format!("sqlite://{database}");
        let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
        let users: i64 =
            sqlx::query_scalar("SELECT count(*) FROM subjects").fetch_one(&mut connection).await.unwrap();
        assert_eq!(users, 4, "acknowledged changes are gone");
    }
}
