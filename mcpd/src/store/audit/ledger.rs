//! The trail for those who append to it without changing anything else, and for those who read it.

use super::{Fact, Row, Search, append_after, head, number, take_head};
use crate::store::{
    StoreError,
    change::Turn,
    door::{Door, PATIENCE, within},
};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use mcp_api::{AuditEntry, AuditHead};
use sqlx::{AnyConnection, Connection};
use std::sync::Arc;
use tokio::{sync::Mutex, time::timeout};

/// About how many bytes one page has; a single entry may be longer.
const PAGE_SIZE: usize = 4 << 20;

/// The lock of whoever writes.
type Writer = Arc<Mutex<Option<AnyConnection>>>;

/// The trail.
#[derive(Debug)]
pub(crate) struct Ledger {
    door: Arc<Door>,
    /// The turn of whoever writes to a file.
    writer: Writer,
    appends: Mutex<Option<AnyConnection>>,
    reads: Mutex<Option<AnyConnection>>,
}

/// Why facts are not in the trail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotWritten {
    /// None of them is.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// The connection broke while they were being committed. If they are there, the trail has had this end.
    #[error("nobody knows whether they were written: the database went away meanwhile")]
    Uncertain(AuditHead),
}

impl Ledger {
    pub(in crate::store) fn new(door: &Arc<Door>, writer: &Writer) -> Self {
        let (door, writer) = (Arc::clone(door), Arc::clone(writer));
        Self { door, writer, appends: Mutex::default(), reads: Mutex::default() }
    }

    /// Appends facts, all or none. They are there after a crash.
    ///
    /// After [`NotWritten::Uncertain`] give what came of it with the same facts: they are not written a second time.
    pub(crate) async fn append(&self, facts: &[Fact], tried: Option<&AuditHead>) -> Result<(), NotWritten> {
        let mut kept = lock(&self.appends).await?;
        let _turn = self.turn().await?;
        let mut connection = self.connection(&mut kept).await?;
        run("BEGIN", &mut connection).await?;
        // Whoever was still committing is waited for here.
        let before = take_head(&mut connection).await?;
        if let Some(tried) = tried
            && has_been_at(&mut connection, tried).await?
        {
            return Ok(());
        }
        let head = append_after(before, &mut connection, facts).await?;
        run("COMMIT", &mut connection).await.map_err(|_| NotWritten::Uncertain(head))?;
        *kept = Some(connection);
        Ok(())
    }

    /// The end of the trail.
    pub(crate) async fn head(&self) -> Result<AuditHead, StoreError> {
        let mut kept = lock(&self.reads).await?;
        let mut connection = self.connection(&mut kept).await?;
        let head = head(&mut connection).await?;
        *kept = Some(connection);
        Ok(head)
    }

    /// A page of entries, and what to look after for the next one if there may be more.
    pub(crate) async fn page(&self, search: &Search) -> Result<(Vec<AuditEntry>, Option<u64>), StoreError> {
        let mut kept = lock(&self.reads).await?;
        let mut connection = self.connection(&mut kept).await?;
        let read = timeout(PATIENCE, page(&mut connection, search)).await;
        let (entries, next) = read.map_err(|_| StoreError::Silent)??;
        if next.is_none() {
            *kept = Some(connection);
        }
        Ok((entries, next))
    }

    /// Closes its connections.
    pub(in crate::store) async fn close(&self) {
        for kept in [&self.appends, &self.reads] {
            if let Some(connection) = kept.lock().await.take() {
                // What was committed is safe, however closing goes.
                let _ = within(connection.close()).await;
            }
        }
    }

    /// A file is written by one at a time, in turn with the changes; a server sees to that by itself.
    async fn turn(&self) -> Result<Option<Turn>, StoreError> {
        match *self.door {
            Door::File(_) => {
                let turn = timeout(PATIENCE, Arc::clone(&self.writer).lock_owned());
                turn.await.map(Some).map_err(|_| StoreError::Silent)
            }
            Door::Server(_) => Ok(None),
        }
    }

    /// Takes the connection out, so that one in the middle of something is never used again.
    async fn connection(&self, kept: &mut Option<AnyConnection>) -> Result<AnyConnection, StoreError> {
        match kept.take() {
            Some(connection) => Ok(connection),
            None => self.door.open().await,
        }
    }
}

async fn lock<T>(mutex: &Mutex<T>) -> Result<tokio::sync::MutexGuard<'_, T>, StoreError> {
    timeout(PATIENCE, mutex.lock()).await.map_err(|_| StoreError::Silent)
}

/// Says whether the trail has, or had, this end.
async fn has_been_at(connection: &mut AnyConnection, end: &AuditHead) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar("SELECT COUNT(*) FROM audit WHERE seq = $1 AND hash = $2")
        .bind(number(end.seq)?)
        .bind(&end.hash);
    let found: i64 = within(found.fetch_one(connection)).await?;
    Ok(found == 1)
}

async fn run(statement: &'static str, connection: &mut AnyConnection) -> Result<(), StoreError> {
    within(sqlx::query(statement).execute(connection)).await.map(drop)
}

async fn page(
    connection: &mut AnyConnection,
    search: &Search,
) -> Result<(Vec<AuditEntry>, Option<u64>), StoreError> {
    let millis = |time: Option<Timestamp>, none| time.map_or(none, Timestamp::as_millisecond);
    let mut rows = sqlx::query_as::<_, Row>(
        "SELECT seq, at, event, subject_kind, subject_name, token_id, verb, object, llm, llm_id, verdict, binding, \
         request_id, detail, prev, hash FROM audit \
         WHERE seq > $1 AND at >= $2 AND at < $3 AND ($4 = '' OR subject_name = $4) \
         AND ($5 = '' OR llm = $5 OR llm_id = $5) AND ($6 = '' OR event = $6) ORDER BY seq LIMIT $7",
    )
    .bind(i64::try_from(search.after).unwrap_or(i64::MAX))
    .bind(millis(search.since, i64::MIN))
    .bind(millis(search.until, i64::MAX))
    .bind(search.subject.as_deref().unwrap_or_default())
    .bind(search.llm.as_deref().unwrap_or_default())
    .bind(search.event.map_or("", |event| event.as_str()))
    .bind(i64::from(search.limit))
    .fetch(connection);
    let (mut entries, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        size += row.size();
        entries.push(AuditEntry::from(row));
        if size > PAGE_SIZE {
            break;
        }
    }
    let is_full = size > PAGE_SIZE || entries.len() as u64 >= u64::from(search.limit);
    let next = entries.last().filter(|_| is_full).map(|last| last.seq);
    Ok((entries, next))
}
