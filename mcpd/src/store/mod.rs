//! The database and its exact copy in memory. The only module that knows SQL, in its own files one per noun.
//!
//! Every read is answered from the [`Snapshot`] in memory. Every write is a [`Change`]: one transaction under the
//! writer lock that ends by swapping the snapshot, after the commit and before anybody hears of it. That is exact
//! because this process is the only writer of the database: it holds the [`Claim`].

mod bindings;
mod change;
mod llms;
mod schema;
mod snapshot;
mod subjects;
mod tokens;

pub(crate) use change::Change;
pub(crate) use llms::StoredLlm;
pub(crate) use schema::inspect;
pub(crate) use snapshot::Snapshot;
pub(crate) use tokens::StoredToken;

use crate::place::Claim;
use arc_swap::ArcSwap;
use sqlx::{
    ConnectOptions, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// How long to wait for a database that somebody else has locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database does not answer, or not in time.
    #[error("the database cannot be used")]
    Unavailable(#[from] sqlx::Error),
    /// A row that this version cannot read.
    #[error("the database holds {0}, which this version of mcpd cannot read")]
    Unreadable(String),
    /// A write met another number of rows than it was about.
    #[error("the database and memory disagree about {0}")]
    Diverged(&'static str),
    /// The change would leave nobody who can administer this server.
    #[error("this would leave nobody with the role admin on * and a valid token")]
    LastAdmin,
    /// The schema was made by a newer mcpd.
    #[error("the database was written by a newer mcpd (schema {0}); run that one")]
    Newer(i64),
    /// The schema could not be brought up to date.
    #[error("the schema cannot be migrated")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The linked `SQLite` has the WAL-reset bug (3.7.0 to 3.51.2), which can corrupt a database.
    #[error("the linked SQLite is {0}; at least 3.51.3 is needed")]
    OldSqlite(String),
}

/// The database, and what it says, in memory.
#[derive(Debug)]
pub(crate) struct Store {
    pool: SqlitePool,
    memory: Arc<ArcSwap<Snapshot>>,
    writer: Arc<Mutex<()>>,
    /// Kept for as long as memory has to be exact.
    _claim: Claim,
}

impl Store {
    /// Opens the database that `claim` holds, brings its schema up to date and reads it.
    pub(crate) async fn open(claim: Claim) -> Result<Self, StoreError> {
        let options = options(claim.file()).journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePoolOptions::new()
            // One for the writer, one for the readiness check.
            .max_connections(2)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        schema::check_sqlite(&mut *pool.acquire().await?).await?;
        schema::migrate(&pool).await?;
        let snapshot = Snapshot::load(&mut *pool.acquire().await?).await?;
        Ok(Self {
            pool,
            memory: Arc::new(ArcSwap::from_pointee(snapshot)),
            writer: Arc::new(Mutex::new(())),
            _claim: claim,
        })
    }

    /// What the database says now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.memory.load_full()
    }

    /// Begins a change, after all changes before it.
    pub(crate) async fn change(&self) -> Result<Change, StoreError> {
        let turn = Arc::clone(&self.writer).lock_owned().await;
        Change::begin(turn, &self.pool, Arc::clone(&self.memory)).await
    }

    /// Asks the database something small.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT epoch FROM authz").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Writes back what is left in the journal and closes the file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// How every connection is opened. The file exists already, with the right mode: see [`crate::place`].
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        // A revocation that was acknowledged must survive a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .disable_statement_logging()
}

/// Turns a word of the database into its value.
fn word<T: std::str::FromStr>(text: &str, noun: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Unreadable(format!("the {noun} {text:?}")))
}

/// Turns milliseconds since 1970 into a time.
fn time(millis: i64) -> Result<jiff::Timestamp, StoreError> {
    jiff::Timestamp::from_millisecond(millis)
        .map_err(|_| StoreError::Unreadable(format!("the time {millis}")))
}

/// Says that a write met exactly the rows that it was about.
fn touched(rows: u64, expected: u64, noun: &'static str) -> Result<(), StoreError> {
    if rows == expected { Ok(()) } else { Err(StoreError::Diverged(noun)) }
}
