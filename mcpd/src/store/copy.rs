//! Copies everything from one database into another, empty one: to move, to back up, to restore. Reads the source at
//! one moment and writes the target in one change, so that there is a whole copy or none.

use self::Kind::{Number, Text};
use super::{Change, StoreError, door, schema, touched};
use crate::database::Database;
use futures_util::TryStreamExt;
use sqlx::{AnyConnection, AssertSqlSafe, Row, any::AnyRow};

/// As many rows go into one statement. `SQLite` takes 32,766 values in one, PostgreSQL 65,535.
const BATCH: usize = 200;

/// One table with its columns. The words come from here only, so that they can be put together to statements.
struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
}

/// All of them, what is referred to before what refers to it. A test compares this with the schema.
const TABLES: &[Table] = &[
    Table { name: "authz", columns: &[("one", Number), ("epoch", Number), ("stamp", Text)] },
    Table {
        name: "llms",
        columns: &[
            ("id", Text),
            ("name", Text),
            ("display_name", Text),
            ("kind", Text),
            ("url", Text),
            ("model", Text),
            ("key_env", Text),
            ("key_file", Text),
            ("enabled", Number),
            ("failover", Text),
            ("context_length", Number),
            ("created_at", Number),
            ("updated_at", Number),
            ("labels", Text),
            ("urls", Text),
            ("timeouts", Text),
            ("limits", Text),
        ],
    },
    Table {
        name: "subjects",
        columns: &[("kind", Text), ("name", Text), ("created_at", Number), ("labels", Text)],
    },
    Table {
        name: "members",
        columns: &[("group_kind", Text), ("group_name", Text), ("member_kind", Text), ("member_name", Text)],
    },
    Table {
        name: "tokens",
        columns: &[
            ("id", Text),
            ("hash", Text),
            ("subject_kind", Text),
            ("subject_name", Text),
            ("created_at", Number),
            ("expires_at", Number),
            ("revoked_at", Number),
        ],
    },
    Table { name: "bindings", columns: &[("name", Text), ("created_at", Number), ("labels", Text)] },
    Table {
        name: "binding_subjects",
        columns: &[("binding", Text), ("position", Number), ("kind", Text), ("name", Text)],
    },
    Table {
        name: "binding_roles",
        columns: &[
            ("binding", Text),
            ("position", Number),
            ("role", Text),
            ("resource", Text),
            ("resource_name", Text),
        ],
    },
    Table {
        name: "audit",
        columns: &[
            ("seq", Number),
            ("at", Number),
            ("event", Text),
            ("subject_kind", Text),
            ("subject_name", Text),
            ("token_id", Text),
            ("verb", Text),
            ("object", Text),
            ("llm", Text),
            ("llm_id", Text),
            ("verdict", Text),
            ("binding", Text),
            ("request_id", Text),
            ("detail", Text),
            ("prev", Text),
            ("hash", Text),
        ],
    },
    Table { name: "audit_head", columns: &[("one", Number), ("seq", Number), ("hash", Text)] },
    Table {
        name: "failover_reports",
        columns: &[("subject_kind", Text), ("subject_name", Text), ("id", Text)],
    },
];

/// Tables of one row, which a migration has put there already. Nothing is ever removed from the others.
const FILLED: [&str; 2] = ["authz", "audit_head"];

/// How much of one table was copied.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) table: &'static str,
    pub(crate) rows: u64,
}

impl Change {
    /// Fills an empty database with everything that `source` holds.
    pub(crate) async fn copy_from(&mut self, source: &Database) -> anyhow::Result<Vec<Copied>> {
        if !self.snapshot().is_blank() {
            anyhow::bail!("there is something in this database already; a copy needs an empty one");
        }
        self.is_copy();
        let mut source = door::freeze(source).await?;
        schema::must_be_current(&mut source).await?;
        for table in FILLED {
            self.execute_one(sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}"))), table).await?;
        }
        let mut copied = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            let rows = self.copy_table(table, &mut source).await?;
            copied.push(Copied { table: table.name, rows });
        }
        self.must_end_where_it_says().await?;
        Ok(copied)
    }

    /// An audit trail without its end would go on as if nothing were missing.
    async fn must_end_where_it_says(&mut self) -> anyhow::Result<()> {
        let ends = sqlx::query(
            "UPDATE audit_head SET seq = seq WHERE (seq = 0 AND NOT EXISTS (SELECT 1 FROM audit)) \
             OR (seq = (SELECT MAX(seq) FROM audit) \
                 AND hash = (SELECT hash FROM audit WHERE audit.seq = audit_head.seq))",
        );
        let is_whole = self.execute(ends).await? == 1;
        anyhow::ensure!(
            is_whole,
            "the last entries of the audit trail are missing, or are not those that it ends with"
        );
        Ok(())
    }

    async fn copy_table(&mut self, table: &Table, source: &mut AnyConnection) -> anyhow::Result<u64> {
        let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(source);
        let mut copied = 0;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let row = rows.try_next().await?;
            let ended = row.is_none();
            batch.extend(row);
            if batch.len() == BATCH || (ended && !batch.is_empty()) {
                copied += self.insert(table, &batch).await?;
                batch.clear();
            }
            if ended {
                return Ok(copied);
            }
        }
    }

    async fn insert(&mut self, table: &Table, rows: &[AnyRow]) -> Result<u64, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(table.insert(rows.len())));
        for row in rows {
            for (at, (_, kind)) in table.columns.iter().enumerate() {
                query = match kind {
                    Text => query.bind(row.try_get::<Option<String>, _>(at)?),
                    Number => query.bind(row.try_get::<Option<i64>, _>(at)?),
                };
            }
        }
        let inserted = self.execute(query).await?;
        touched(inserted, rows.len() as u64, table.name)?;
        Ok(inserted)
    }
}

impl Table {
    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    fn select(&self) -> String {
        format!("SELECT {} FROM {}", self.names(), self.name)
    }

    fn insert(&self, rows: usize) -> String {
        let width = self.columns.len();
        let row = |row: usize| {
            let places = (1..=width).map(|column| format!("${}", row * width + column));
            format!("({})", places.collect::<Vec<_>>().join(", "))
        };
        let rows = (0..rows).map(row).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {} ({}) VALUES {rows}", self.name, self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::now, store::open};
    use mcp_api::{Subject, SubjectKind};
    use sqlx::Connection as _;

    #[tokio::test]
    async fn no_table_and_no_column_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::find(None, Some(&folder.path().join("data")), |_| None).unwrap();
        open(database.clone()).await.unwrap().close().await;
        let mut connection = door::freeze(&database).await.unwrap();
        let query = "SELECT t.name, c.name, c.type FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
                     WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY 1, 2";
        let there: Vec<(String, String, String)> =
            sqlx::query_as(query).fetch_all(&mut connection).await.unwrap();
        let mut listed: Vec<_> = TABLES
            .iter()
            .flat_map(|table| table.columns.iter().map(|(column, kind)| (table.name, *column, *kind)))
            .map(|(table, column, kind)| {
                let kind = if kind == Text { "TEXT" } else { "BIGINT" };
                (table.to_owned(), column.to_owned(), kind.to_owned())
            })
            .collect();
        listed.sort();
        assert_eq!(there, listed);
    }

    #[tokio::test]
    async fn k09_a_trail_without_its_end_is_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let find = |name: &str| Database::find(None, Some(&folder.path().join(name)), |_| None).unwrap();
        let source = find("source");
        let store = open(source.clone()).await.unwrap();
        let mut change = store.change().await.unwrap();
        let dana = Subject { kind: SubjectKind::User, name: "dana".parse().unwrap() };
        change.insert_subject(&dana, now()).await.unwrap();
        change.commit().await.unwrap();
        store.close().await;
        for (name, tampering) in [
            ("whole", None),
            ("other", Some("UPDATE audit SET hash = prev")),
            ("missing", Some("DELETE FROM audit")),
        ] {
            if let Some(tampering) = tampering {
                let url = format!("sqlite://{source}");
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::query(tampering).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            let target = open(find(name)).await.unwrap();
            let copied = target.change().await.unwrap().copy_from(&source).await;
            assert_eq!(copied.is_ok(), tampering.is_none(), "{name}: {copied:?}");
        }
    }
}
