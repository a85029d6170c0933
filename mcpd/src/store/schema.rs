//! The schema's version and the health of the file. The only place with words that only `SQLite` knows.

use super::{StoreError, options};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool, migrate::Migrator};
use std::path::Path;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// The first version without the WAL-reset bug.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// Brings the schema up to date. A newer one than this binary knows is left alone.
pub(super) async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    MIGRATOR.run(pool).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::VersionMissing(version) => StoreError::Newer(version),
        other => StoreError::Migration(other),
    })
}

/// Refuses a `SQLite` that can corrupt the database.
pub(super) async fn check_sqlite(connection: &mut SqliteConnection) -> Result<String, StoreError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(connection).await?;
    sound(version)
}

fn sound(version: String) -> Result<String, StoreError> {
    let parts: Result<Vec<u32>, _> = version.split('.').map(str::parse).collect();
    let is_recent = parts.is_ok_and(|parts| parts.as_slice() >= &OLDEST_SQLITE[..]);
    if is_recent { Ok(version) } else { Err(StoreError::OldSqlite(version)) }
}

/// One thing that `mcpd check` looked at.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) ok: bool,
    pub(crate) text: String,
}

impl Finding {
    fn good(text: impl Into<String>) -> Self {
        Self { ok: true, text: text.into() }
    }

    fn bad(text: impl Into<String>) -> Self {
        Self { ok: false, text: text.into() }
    }
}

/// Looks at a database without writing to it, also while a server is using it.
pub(crate) async fn inspect(file: &Path) -> Result<Vec<Finding>, StoreError> {
    let mut connection = options(file).read_only(true).connect().await?;
    let findings = vec![
        match check_sqlite(&mut connection).await {
            Ok(version) => Finding::good(format!("SQLite {version}")),
            Err(error) => Finding::bad(error.to_string()),
        },
        schema_version(&mut connection).await,
        integrity(&mut connection).await,
    ];
    // Nothing was written, so nothing is lost if closing fails.
    let _ = connection.close().await;
    Ok(findings)
}

async fn schema_version(connection: &mut SqliteConnection) -> Finding {
    let newest = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found: Result<Option<i64>, _> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(connection)
            .await;
    match found {
        Ok(Some(version)) if version == newest => Finding::good(format!("schema {version}")),
        Ok(Some(version)) if version > newest => Finding::bad(StoreError::Newer(version).to_string()),
        Ok(Some(version)) => {
            Finding::bad(format!("schema {version} is older than {newest}: run `mcpd migrate`"))
        }
        Ok(None) => Finding::bad("no schema yet: run `mcpd migrate`"),
        Err(error) => Finding::bad(format!("the schema cannot be read: {error}")),
    }
}

async fn integrity(connection: &mut SqliteConnection) -> Finding {
    let rows: Result<Vec<String>, _> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(connection).await;
    match rows {
        Ok(rows) if rows == ["ok"] => Finding::good("integrity ok"),
        Ok(rows) => Finding::bad(format!("integrity: {}", rows.join("; "))),
        Err(error) => Finding::bad(format!("integrity cannot be checked: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn d05_the_linked_sqlite_is_without_the_wal_reset_bug() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        check_sqlite(&mut connection).await.unwrap();
    }

    #[test]
    fn d05_versions_are_compared_as_numbers() {
        for (version, recent) in [
            ("3.51.2", false),
            ("3.7.0", false),
            ("3.51.3", true),
            ("3.51.10", true),
            ("3.100.0", true),
            ("4.0", true),
            ("", false),
            ("3.51.3-beta", false),
        ] {
            assert_eq!(sound(version.to_owned()).is_ok(), recent, "{version}");
        }
    }
}
