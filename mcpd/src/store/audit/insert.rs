//! Writes entries, many with one statement: while they are written nobody else can append, on any server.

use super::{COLUMNS, Fact, number};
use crate::store::{StoreError, door::within, touched};
use mcp_api::AuditEntry;
use sqlx::{AnyConnection, AssertSqlSafe, Database as _, Sqlite};
use std::fmt::Write as _;

/// So many rows go with one statement, as long as there are so many. Few numbers, because each is a statement of its
/// own for the database.
const AT_ONCE: [usize; 3] = [64, 8, 1];

/// An entry and the fact that it tells.
pub(super) type Sealed<'a> = (&'a Fact, AuditEntry);

/// Writes them all.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    mut entries: &[Sealed<'_>],
) -> Result<(), StoreError> {
    for size in AT_ONCE {
        while let Some((now, later)) = entries.split_at_checked(size) {
            insert_at_once(connection, now).await?;
            entries = later;
        }
    }
    Ok(())
}

async fn insert_at_once(connection: &mut AnyConnection, entries: &[Sealed<'_>]) -> Result<(), StoreError> {
    // Column names and numbers only: what is written is bound.
    let mut query = sqlx::query(AssertSqlSafe(statement(entries.len(), connection.backend_name())));
    for (fact, entry) in entries {
        let subject = entry.subject.as_ref();
        query = query
            .bind(number(entry.seq)?)
            .bind(fact.at.as_millisecond())
            .bind(&entry.event)
            .bind(subject.map(|subject| &*subject.kind))
            .bind(subject.map(|subject| &*subject.name))
            .bind(&entry.token_id)
            .bind(&entry.verb)
            .bind(&entry.object)
            .bind(&entry.llm)
            .bind(&entry.llm_id)
            .bind(&entry.verdict)
            .bind(&entry.binding)
            .bind(&entry.request_id)
            .bind(entry.detail.as_ref().map(|detail| detail.get()))
            .bind(&entry.prev)
            .bind(&entry.hash);
    }
    let inserted = within(query.execute(connection)).await?.rows_affected();
    touched(inserted, entries.len() as u64, "an audit entry")
}

fn statement(rows: usize, backend: &str) -> String {
    let width = COLUMNS.split(',').count();
    let places = if backend == Sqlite::NAME { unnamed_places(rows, width) } else { places(rows, width) };
    format!("INSERT INTO audit ({COLUMNS}) VALUES {places}")
}

/// The same as [`places`] for SQLite, where each name is looked for in a list of all names: with a thousand of them that
/// costs more than to write the rows.
fn unnamed_places(rows: usize, width: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(", "));
    vec![row; rows].join(", ")
}

/// Where the values of so many rows are bound: `($1, $2), ($3, $4)`.
pub(super) fn places(rows: usize, width: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        for column in 0..width {
            let before = if column > 0 { ", " } else { ["(", ", ("][usize::from(row > 0)] };
            // Writing into a string cannot fail.
            let _ = write!(text, "{before}${}", row * width + column + 1);
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_binds_each_column_of_each_row() {
        let one = statement(1, "PostgreSQL");
        assert!(
            one.ends_with("VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)")
        );
        assert!(statement(2, "PostgreSQL").ends_with(
            "$16), ($17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)"
        ));
        assert!(statement(2, Sqlite::NAME).ends_with(&format!("VALUES ({0}), ({0})", ["?"; 16].join(", "))));
        assert_eq!(AT_ONCE.last(), Some(&1), "else some are left over");
    }
}
