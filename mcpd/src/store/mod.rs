//! The database and what it says, in memory. The only module that knows SQL, in its own files one per noun.
//!
//! Every request is decided on a [`Moment`]: a [`Snapshot`] that holds everything, and the time. [`Authority`] says
//! which snapshot is the true one. Every write is a [`Change`]: one transaction under the writer lock that ends by
//! swapping the snapshot, after the commit and before anybody hears of it.

mod audit;
mod authority;
mod bindings;
mod change;
mod copy;
mod door;
mod llms;
mod memory;
mod schema;
mod snapshot;
mod subjects;
mod tokens;

pub(crate) use audit::{Fact, Ledger, NotWritten, Search, Who};
pub(crate) use change::Change;
pub(crate) use copy::Copied;
pub(crate) use llms::StoredLlm;
pub(crate) use schema::{Finding, inspect};
pub(crate) use snapshot::Snapshot;
pub(crate) use tokens::StoredToken;

use crate::{
    database::{Claimed, Database},
    metrics::Histogram,
};
use anyhow::Context as _;
use authority::{Authority, everything};
use door::{Door, PATIENCE, within};
use jiff::Timestamp;
use memory::Memory;
use sqlx::{AnyConnection, Connection as _};
use std::sync::Arc;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database cannot be reached, or does not do what it is asked to.
    #[error("the database cannot be used: {0}")]
    Unavailable(sqlx::Error),
    /// The database does not answer in time.
    #[error("the database does not answer in time")]
    Silent,
    /// The database could not be asked; why is said where it was tried.
    #[error("the database could not be asked")]
    Away,
    /// The connection broke while a change was being committed.
    #[error("nobody knows whether the change was made: the database went away while it was being committed")]
    Uncertain,
    /// The server only follows another one.
    #[error(
        "this PostgreSQL server only follows another one (a standby); what it knows may be old, so use the primary"
    )]
    Standby,
    /// There is no randomness to be had.
    #[error("the operating system gives no random numbers")]
    Random(#[from] getrandom::Error),
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
    /// The schema was made by an older mcpd, where this one may not change it.
    #[error("the database was written by an older mcpd (schema {0}); run `mcpd migrate` on it first")]
    Older(i64),
    /// The schema could not be brought up to date.
    #[error("the schema cannot be migrated")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The linked `SQLite` has the WAL-reset bug (3.7.0 to 3.51.2), which can corrupt a database.
    #[error("the linked SQLite is {0}; at least 3.51.3 is needed")]
    OldSqlite(String),
    /// The server is older than what this version was tested with.
    #[error("the PostgreSQL server is {0}; at least 15 is needed")]
    OldPostgres(String),
}

/// Not as its source: it says what its own source says, and the reader would read it twice.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error)
    }
}

/// What a request is decided on.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) snapshot: Arc<Snapshot>,
    /// The time by which tokens expire.
    pub(crate) now: Timestamp,
    /// When this was asked for: all of it was true after that.
    pub(crate) asked: Instant,
}

/// The database, and what it says, in memory.
#[derive(Debug)]
pub(crate) struct Store {
    door: Arc<Door>,
    memory: Arc<Memory>,
    authority: Authority,
    /// One change at a time; see [`change::Turn`].
    writer: Arc<Mutex<Option<AnyConnection>>>,
    /// Of a file: answers readiness checks, and keeps the last connection from closing with a change that is not made,
    /// which would write the journal back each time.
    spare: Mutex<Option<AnyConnection>>,
    ledger: Arc<Ledger>,
    /// How long it took to know what is true; nobody measures it outside of serving.
    waits: Option<Histogram<0>>,
}

/// Opens a database, for this process alone if it is a file, and brings its schema up to date.
pub(crate) async fn open(database: Database) -> anyhow::Result<Store> {
    let name = database.to_string();
    let claimed = database.claim()?;
    Store::open(claimed).await.context(name)
}

impl Store {
    async fn open(claimed: Claimed) -> Result<Self, StoreError> {
        let door = Arc::new(Door::from(claimed));
        let mut connection = door.open().await?;
        schema::prepare(&door, &mut connection).await?;
        let snapshot = match *door {
            Door::File(_) => Snapshot::load(&mut connection).await?,
            Door::Server(_) => everything(&mut connection).await?,
        };
        let memory = Arc::new(Memory::new(snapshot));
        let (spare, left) = match *door {
            Door::File(_) => (Some(connection), None),
            Door::Server(_) => (None, Some(connection)),
        };
        let writer = Arc::new(Mutex::new(left));
        Ok(Self {
            authority: Authority::new(&door, &memory),
            ledger: Arc::new(Ledger::new(&door, &writer)),
            writer,
            spare: Mutex::new(spare),
            memory,
            door,
            waits: None,
        })
    }

    /// The same, measured.
    pub(crate) fn measured(self, waits: &Histogram<0>) -> Self {
        Self { waits: Some(waits.clone()), ..self }
    }

    /// What is true now: at some moment after this call.
    pub(crate) async fn moment(&self) -> Result<Moment, StoreError> {
        let asked = Instant::now();
        let moment = self.authority.moment(&self.memory).await;
        if let Some(waits) = &self.waits {
            waits.took([], asked.elapsed());
        }
        moment
    }

    /// Begins a change, after all changes before it.
    pub(crate) async fn change(&self) -> Result<Change, StoreError> {
        let turn = timeout(PATIENCE, Arc::clone(&self.writer).lock_owned());
        let turn = turn.await.map_err(|_| StoreError::Silent)?;
        Change::begin(turn, Arc::clone(&self.door), Arc::clone(&self.memory)).await
    }

    /// The audit trail.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Asks the database something small.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        match *self.door {
            Door::File(_) => self.ask_file().await,
            Door::Server(_) => self.moment().await.map(drop),
        }
    }

    async fn ask_file(&self) -> Result<(), StoreError> {
        let mut spare = timeout(PATIENCE, self.spare.lock()).await.map_err(|_| StoreError::Silent)?;
        // Taken out, so that a connection in the middle of something is never used again.
        let old = spare.take();
        let mut connection = match old {
            Some(connection) => connection,
            None => self.door.open().await?,
        };
        within(sqlx::query("SELECT epoch FROM authz").fetch_one(&mut connection)).await?;
        *spare = Some(connection);
        Ok(())
    }

    /// Closes the database, after the change that is being made. With a file, what is left in the journal is written
    /// back.
    pub(crate) async fn close(&self) {
        self.ledger.close().await;
        let left = self.writer.lock().await.take();
        let spare = self.spare.lock().await.take();
        for connection in [left, spare].into_iter().flatten() {
            // What was committed is safe, however closing goes.
            let _ = within(connection.close()).await;
        }
    }
}

/// Turns a word of the database into its value.
fn word<T: std::str::FromStr>(text: &str, noun: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Unreadable(format!("the {noun} {text:?}")))
}

/// Turns milliseconds since 1970 into a time.
fn time(millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(millis).map_err(|_| StoreError::Unreadable(format!("the time {millis}")))
}

/// Says that a write met exactly the rows that it was about.
fn touched(rows: u64, expected: u64, noun: &'static str) -> Result<(), StoreError> {
    if rows == expected { Ok(()) } else { Err(StoreError::Diverged(noun)) }
}
