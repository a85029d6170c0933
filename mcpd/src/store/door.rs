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

/// How to a database is come by. As long as it is held, so is the claim to a file.
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
                let mut connection = connect(&file_url(claim.file(), "rw")).await?;
                within(connection.execute(FILE)).await?;
                Ok(connection)
            }
            Self::Server(server) => {
                let mut connection = connect(server.url().as_str()).await?;
                within(connection.execute(SERVER)).await?;
                if follows(&mut connection).await? {
                    return Err(StoreError::Standby);
                }
                Ok(connection)
            }
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
    connect(&file_url(file, "ro")).await
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
fn file_url(file: &Path, mode: &str) -> String {
    // A path that is no text cannot be asked for: the command line takes text only.
    let path = url::Url::from_file_path(file).map(|url| url.path().to_owned()).unwrap_or_default();
    format!("sqlite://{path}?mode={mode}")
}

/// Waits for the database, but not for ever.
pub(super) async fn within<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    Ok(timeout(PATIENCE, work).await.map_err(|_| StoreError::Silent)??)
}
