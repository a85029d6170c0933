//! The trail for those who append to it without changing anything else, and for those who read it.

use super::{
    Fact, Row, Search, append, append_after, head, number, once,
    search::{Span, Statement},
    take_head,
};
use crate::store::{
    StoreError,
    change::{Turn, begun},
    door::{Door, PATIENCE, within},
};
use futures_util::TryStreamExt;
use mcp_api::{AuditEntry, AuditHead, Subject};
use sqlx::{AnyConnection, Connection, FromRow as _, Row as _};
use std::sync::Arc;
use tokio::{
    sync::{Mutex, Semaphore},
    time::timeout,
};

/// About how many bytes one page has; a single entry may be longer.
const PAGE_SIZE: usize = 4 << 20;
/// How many may wait with reports. Who is one too many comes again.
const REPORTERS_MAX: u32 = 16;

/// The lock of whoever writes.
type Writer = Arc<Mutex<Option<AnyConnection>>>;

/// The trail.
#[derive(Debug)]
pub(crate) struct Ledger {
    door: Arc<Door>,
    /// The turn of whoever writes to a file.
    writer: Writer,
    appends: Mutex<Option<AnyConnection>>,
    /// Not the same as for appends: whoever sends reports only waits for others who do, and holds up no request.
    reports: Mutex<Option<AnyConnection>>,
    reporters: Semaphore,
    /// One page at a time: each is found by an index, and read in milliseconds.
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
    /// So many are sending reports that these were not looked at.
    #[error("too many are sending reports at the same time")]
    Busy,
}

impl Ledger {
    pub(in crate::store) fn new(door: &Arc<Door>, writer: &Writer) -> Self {
        let (door, writer) = (Arc::clone(door), Arc::clone(writer));
        Self {
            door,
            writer,
            appends: Mutex::default(),
            reports: Mutex::default(),
            reporters: Semaphore::new(REPORTERS_MAX as usize),
            reads: Mutex::default(),
        }
    }

    /// Appends facts, all or none. They are there after a crash.
    ///
    /// After [`NotWritten::Uncertain`] give what came of it with the same facts: they are not written a second time.
    pub(crate) async fn append(&self, facts: &[Fact], tried: Option<&AuditHead>) -> Result<(), NotWritten> {
        let mut kept = lock(&self.appends).await?;
        let _turn = self.turn().await?;
        let mut connection = begun(kept.take(), &self.door).await?;
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

    /// Appends what somebody tells for the first time, all or none. With each fact comes what they call it.
    pub(crate) async fn report(&self, by: &Subject, told: Vec<(String, Fact)>) -> Result<(), NotWritten> {
        let _room = self.reporters.try_acquire().map_err(|_| NotWritten::Busy)?;
        let mut kept = lock(&self.reports).await?;
        let _turn = self.turn().await?;
        let mut connection = begun(kept.take(), &self.door).await?;
        // Before the end of the trail is taken: what another server is taking down at the same time is waited for
        // here, where nobody waits for us.
        let facts = once::first_time(&mut connection, by, told).await?;
        let head = append(&mut connection, &facts).await?;
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
        let page = read.map_err(|_| StoreError::Silent)??;
        if !page.is_cut {
            *kept = Some(connection);
        }
        Ok((page.entries, page.next))
    }

    /// Closes its connections.
    pub(in crate::store) async fn close(&self) {
        for kept in [&self.appends, &self.reports, &self.reads] {
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

    /// Takes the connection out, so that one in the middle of something is never used again. The server may have been
    /// started anew since it was used.
    async fn connection(&self, kept: &mut Option<AnyConnection>) -> Result<AnyConnection, StoreError> {
        if let Some(mut connection) = kept.take()
            && run("SELECT 1", &mut connection).await.is_ok()
        {
            return Ok(connection);
        }
        self.door.open().await
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

/// What was read.
struct Page {
    entries: Vec<AuditEntry>,
    next: Option<u64>,
    /// The rest of the answer is still in the connection.
    is_cut: bool,
}

async fn page(connection: &mut AnyConnection, search: &Search) -> Result<Page, StoreError> {
    let (mut entries, mut size, mut is_cut) = (Vec::new(), 0, false);
    let span = match search.span() {
        None => None,
        Some(asked) => match span(connection, &asked).await? {
            None => return Ok(Page { entries, next: None, is_cut }),
            found => found,
        },
    };
    let statement = search.page(span);
    let mut rows = statement.query().fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let row = Row::from_row(&row)?;
        size += row.size();
        entries.push(AuditEntry::from(row));
        is_cut = size > PAGE_SIZE;
        if is_cut {
            break;
        }
    }
    let is_full = is_cut || entries.len() as u64 >= u64::from(search.limit);
    let next = entries.last().filter(|_| is_full).map(|last| last.seq);
    Ok(Page { entries, next, is_cut })
}

/// None if there is no entry of that time.
async fn span(connection: &mut AnyConnection, asked: &Statement<'_>) -> Result<Option<Span>, StoreError> {
    let row = asked.query().fetch_one(connection).await?;
    let (first, last): (Option<i64>, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
    Ok(first.zip(last).map(|(first, last)| Span { first, last }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::now,
        database::Database,
        store::{Store, open},
    };
    use mcp_api::{AuditEvent, SubjectKind};

    async fn open_in(folder: &tempfile::TempDir) -> Store {
        open(Database::find(None, Some(&folder.path().join("data")), |_| None).unwrap()).await.unwrap()
    }

    fn facts(count: usize) -> Vec<Fact> {
        (0..count).map(|_| Fact::new(AuditEvent::Failover, now())).collect()
    }

    #[tokio::test]
    async fn page_after_page_is_read_through_one_connection() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_in(&folder).await;
        let ledger = store.ledger();
        ledger.append(&facts(5), None).await.unwrap();
        let search = Search { limit: 2, ..Search::default() };
        let (entries, next) = ledger.page(&search).await.unwrap();
        assert_eq!((entries.len(), next), (2, Some(2)));
        assert!(ledger.reads.lock().await.is_some(), "each page needs a login");
        let (entries, next) = ledger.page(&Search { after: 4, ..search }).await.unwrap();
        assert_eq!((entries.len(), next), (1, None));
    }

    #[tokio::test]
    async fn too_many_who_report_are_told_so_and_hold_up_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_in(&folder).await;
        let ledger = store.ledger();
        let dana = Subject { kind: SubjectKind::User, name: "dana".parse().unwrap() };
        let told =
            || facts(3).into_iter().zip(["b", "a", "b"]).map(|(fact, id)| (id.to_owned(), fact)).collect();
        let line = ledger.reports.lock().await;
        let all = ledger.reporters.try_acquire_many(REPORTERS_MAX).unwrap();
        assert!(matches!(ledger.report(&dana, told()).await, Err(NotWritten::Busy)));
        ledger.append(&facts(1), None).await.unwrap();
        drop((line, all));
        for _ in 0..2 {
            ledger.report(&dana, told()).await.unwrap();
            assert_eq!(ledger.head().await.unwrap().seq, 3, "once each");
        }
    }
}
