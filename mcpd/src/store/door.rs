//! Opens connections. With `schema.rs` the only place that knows in what the two databases differ.

use super::StoreError;
use crate::database::{Claimed, Database, Server};
use crate::place::Claim;
use jiff::Timestamp;
use sqlx::{AnyConnection, ConnectOptions, Connection, Executor, any::AnyConnectOptions};
use std::{future::Future, path::Path, time::Duration};
use tokio::time::timeout;

/// How long to wait for a database that does not answer, or that somebody else has locked.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What a connection to a file says first. A revocation that was acknowledged must survive a power cut.
const FILE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                    PRAGMA busy_timeout = 5000";

/// What a connection to a server says first. The limits are for a peer that is gone without a word: what it has locked
/// must not stay locked. Whatever the administrator has set beyond that is left alone.
const SERVER: &str = "SET lock_timeout = '5s'; SET statement_timeout = '30s'; \
                      SET idle_in_transaction_session_timeout = '10s'; \
                      SET default_transaction_isolation = 'read committed'; \
                      SELECT set_config('synchronous_commit', 'on', false) \
                      WHERE current_setting('synchronous_commit') = 'off'";

/// The way to a database. As long as it is held, so is the claim to a file.
#[derive(Debug)]
pub(super) enum Door {
    File(Claim),
    Server(Server),
}

impl From<Claimed> for Door {
    fn from(claimed: Claimed) -> Self {
        match claimed {
            Claimed::File(claim) => Self::File(claim),
            Claimed::Server(server) => Self::Server(server),
        }
    }
}

impl Door {
    /// Opens a connection that may write. A server that only follows another one is refused: what it knows may be old.
    pub(super) async fn open(&self) -> Result<AnyConnection, StoreError> {
        match self {
            Self::File(claim) => {
                let mut connection = connect(&file_url(claim.file(), "rw")?).await?;
                self.settle(&mut connection).await?;
                Ok(connection)
            }
            Self::Server(server) => {
                let mut connection = connect(server.url().as_str()).await?;
                self.settle(&mut connection).await?;
                if follows(&mut connection).await? { Err(StoreError::Standby) } else { Ok(connection) }
            }
        }
    }

    /// Says to a connection what it has to hold to.
    pub(super) async fn settle(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let settings = match self {
            Self::File(_) => FILE,
            Self::Server(_) => SERVER,
        };
        within(connection.execute(settings)).await.map(drop)
    }

    /// Lifts the limits on how long a statement may take, until [`Door::settle`].
    pub(super) async fn take_time(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        match self {
            Self::File(_) => Ok(()),
            Self::Server(_) => {
                within(connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")).await.map(drop)
            }
        }
    }

    /// Says whether what the database said to `COMMIT` means that nothing was committed. Everything else means nothing: a
    /// server that is told to stop may say so after it has committed, and a disk may fail after it has written.
    pub(super) fn rules_out_commit(&self, error: &StoreError) -> bool {
        let StoreError::Unavailable(sqlx::Error::Database(said)) = error else { return false };
        let code = said.code().unwrap_or_default();
        match self {
            // Primary result codes, <https://sqlite.org/rescode.html>: ERROR (no transaction), BUSY, READONLY, FULL,
            // CONSTRAINT. The code may have an extension above its lowest byte.
            Self::File(_) => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 1 | 5 | 8 | 13 | 19)),
            // Classes of SQLSTATE, <https://www.postgresql.org/docs/current/errcodes-appendix.html>: a constraint, no
            // or a failed transaction, a conflict with another one, no room.
            Self::Server(_) => ["23", "25", "40", "53"].iter().any(|class| code.starts_with(class)),
        }
    }

    /// The time by which tokens expire: the database's own where many servers share it, so that their clocks do not
    /// matter.
    pub(super) async fn now(&self, connection: &mut AnyConnection) -> Result<Timestamp, StoreError> {
        match self {
            Self::File(_) => Ok(crate::app::now()),
            Self::Server(_) => {
                let millis =
                    sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)");
                super::time(within(millis.fetch_one(connection)).await?)
            }
        }
    }
}

/// Opens a connection that changes nothing, to a file that another process may be using.
pub(super) async fn look_into(file: &Path) -> Result<AnyConnection, StoreError> {
    connect(&file_url(file, "ro")?).await
}

/// Opens a connection that changes nothing, also to a server that only follows another one.
pub(super) async fn look_at(server: &Server) -> Result<AnyConnection, StoreError> {
    let mut connection = connect(server.url().as_str()).await?;
    within(connection.execute("SET default_transaction_read_only = on")).await?;
    Ok(connection)
}

/// Opens a connection to which nothing changes any more: whatever is read through it is of one moment.
pub(super) async fn freeze(database: &Database) -> Result<AnyConnection, StoreError> {
    let (mut connection, moment) = match database {
        Database::File(place) => (look_into(place.file()).await?, "BEGIN"),
        Database::Server(server) => {
            (look_at(server).await?, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        }
    };
    within(sqlx::query(moment).execute(&mut connection)).await?;
    Ok(connection)
}

/// Says whether a server only follows another one.
pub(super) async fn follows(connection: &mut AnyConnection) -> Result<bool, StoreError> {
    within(sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection)).await
}

async fn connect(url: &str) -> Result<AnyConnection, StoreError> {
    sqlx::any::install_default_drivers();
    let options = url.parse::<AnyConnectOptions>().map(ConnectOptions::disable_statement_logging)?;
    within(AnyConnection::connect_with(&options)).await
}

/// The file exists already, with the right mode: see [`crate::place`].
fn file_url(file: &Path, mode: &str) -> Result<String, StoreError> {
    let url = url::Url::from_file_path(file);
    let url =
        url.map_err(|()| sqlx::Error::Configuration("the path of the database is not absolute".into()))?;
    Ok(format!("sqlite://{}?mode={mode}", url.path()))
}

/// Waits for the database, but not for ever.
pub(super) async fn within<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    Ok(timeout(PATIENCE, work).await.map_err(|_| StoreError::Silent)??)
}
