//! Copies everything from one database into another, empty one: to move, to back up, to restore. Reads the source at
//! one moment and writes the target in one change, so that there is a whole copy or none.

use super::{Change, StoreError, door, schema};
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
use Kind::{Number, Text};

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
        columns: &[("subject_kind", Text), ("subject_name", Text), ("id", Text), ("seq", Number)],
    },
];

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
        for table in TABLES.iter().rev() {
            // What a migration has put there: the first epoch, for example.
            self.execute(sqlx::query(AssertSqlSafe(format!("DELETE FROM {}", table.name)))).await?;
        }
        let mut copied = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            let rows = self.copy_table(table, &mut source).await?;
            copied.push(Copied { table: table.name, rows });
        }
        Ok(copied)
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
        self.execute(query).await
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
    use crate::store::open;

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
}
