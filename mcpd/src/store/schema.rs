//! The schema's version and the health of a database.

use super::{
    StoreError,
    audit::Proof,
    door::{self, Door, within},
};
use crate::{
    database::{Database, Server},
    place::Place,
};
use sqlx::{
    AnyConnection, Connection,
    migrate::{MigrateError, Migrator},
};

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// The first version without the WAL-reset bug.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];
/// The first version of PostgreSQL that is tested and still maintained.
const OLDEST_POSTGRES: i64 = 15_00_00;

/// Refuses a database program that is too old, and brings the schema up to date. A newer schema than this binary
/// knows is left alone.
pub(super) async fn prepare(door: &Door, connection: &mut AnyConnection) -> Result<(), StoreError> {
    match door {
        Door::File(_) => sqlite_version(connection).await.map(drop)?,
        Door::Server(_) => postgres_version(connection).await.map(drop)?,
    }
    // Nothing to do needs no right to do it: a server may run as a role that cannot change the schema.
    if recorded_version(connection).await.is_ok_and(|version| version == Some(newest())) {
        return Ok(());
    }
    // A migration may take its time, and who comes second waits for who came first.
    door.take_time(connection).await?;
    MIGRATOR.run(&mut *connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => StoreError::Newer(version),
        other => StoreError::Migration(other),
    })?;
    door.settle(connection).await
}

/// Refuses a schema that is not the one of this version.
pub(super) async fn must_be_current(connection: &mut AnyConnection) -> Result<(), StoreError> {
    match recorded_version(connection).await?.unwrap_or(0) {
        version if version > newest() => Err(StoreError::Newer(version)),
        version if version < newest() => Err(StoreError::Older(version)),
        _ => Ok(()),
    }
}

fn newest() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

async fn recorded_version(connection: &mut AnyConnection) -> Result<Option<i64>, StoreError> {
    let query = "SELECT MAX(version) FROM _sqlx_migrations WHERE success";
    within(sqlx::query_scalar(query).fetch_one(connection)).await
}

/// Refuses a `SQLite` that can corrupt the database.
async fn sqlite_version(connection: &mut AnyConnection) -> Result<String, StoreError> {
    let version = within(sqlx::query_scalar("SELECT sqlite_version()").fetch_one(connection)).await?;
    sound(version)
}

async fn postgres_version(connection: &mut AnyConnection) -> Result<String, StoreError> {
    let query =
        "SELECT CAST(current_setting('server_version_num') AS BIGINT), current_setting('server_version')";
    let (number, version): (i64, String) = within(sqlx::query_as(query).fetch_one(connection)).await?;
    if number >= OLDEST_POSTGRES { Ok(version) } else { Err(StoreError::OldPostgres(version)) }
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
    pub(crate) fn good(text: impl Into<String>) -> Self {
        Self { ok: true, text: text.into() }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self { ok: false, text: text.into() }
    }
}

/// Looks at a database without writing to it, also while a server is using it.
pub(crate) async fn inspect(database: &Database) -> anyhow::Result<Vec<Finding>> {
    let mut findings = match database {
        Database::File(place) => inspect_file(place).await?,
        Database::Server(server) => inspect_server(server).await?,
    };
    // What cannot be read as it should be was named already.
    if findings.iter().all(|finding| finding.ok) {
        findings.push(audit_trail(database).await);
    }
    Ok(findings)
}

async fn audit_trail(database: &Database) -> Finding {
    let proof = async {
        let mut connection = door::freeze(database).await?;
        let verdict = Proof::seek(&mut connection).await;
        let _ = connection.close().await;
        verdict
    };
    match proof.await {
        Ok(Ok(sound)) => Finding::good(format!("audit trail, {sound}")),
        Ok(Err(flaws)) => Finding::bad(format!("audit trail: {flaws}")),
        Err(error) => Finding::bad(format!("audit trail: it cannot be read: {error}")),
    }
}

async fn inspect_file(place: &Place) -> anyhow::Result<Vec<Finding>> {
    place.check()?;
    let mut connection = door::look_into(place.file()).await?;
    let findings = vec![
        program("SQLite", sqlite_version(&mut connection).await),
        schema_version(&mut connection).await,
        integrity(&mut connection).await,
    ];
    // Nothing was written, so nothing is lost if closing fails.
    let _ = connection.close().await;
    Ok(findings)
}

async fn inspect_server(server: &Server) -> Result<Vec<Finding>, StoreError> {
    let mut connection = door::look_at(server).await?;
    let findings = vec![
        program("PostgreSQL", postgres_version(&mut connection).await),
        match door::follows(&mut connection).await {
            Ok(false) => Finding::good("primary"),
            Ok(true) => Finding::bad(StoreError::Standby.to_string()),
            Err(error) => Finding::bad(format!("whether it is a primary cannot be read: {error}")),
        },
        schema_version(&mut connection).await,
    ];
    let _ = connection.close().await;
    Ok(findings)
}

fn program(name: &str, version: Result<String, StoreError>) -> Finding {
    match version {
        Ok(version) => Finding::good(format!("{name} {version}")),
        Err(error) => Finding::bad(error.to_string()),
    }
}

async fn schema_version(connection: &mut AnyConnection) -> Finding {
    let newest = newest();
    match recorded_version(connection).await {
        Ok(Some(version)) if version == newest => Finding::good(format!("schema {version}")),
        Ok(Some(version)) if version > newest => Finding::bad(StoreError::Newer(version).to_string()),
        Ok(Some(version)) => {
            Finding::bad(format!("schema {version} is older than {newest}: run `mcpd migrate`"))
        }
        Ok(None) => Finding::bad("no schema yet: run `mcpd migrate`"),
        Err(error) => Finding::bad(format!("the schema cannot be read: {error}")),
    }
}

async fn integrity(connection: &mut AnyConnection) -> Finding {
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
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect("sqlite::memory:").await.unwrap();
        sqlite_version(&mut connection).await.unwrap();
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
