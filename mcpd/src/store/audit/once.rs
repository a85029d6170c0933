//! What is written once, however often it is sent.

use super::{Fact, insert::places};
use crate::store::{StoreError, door::within};
use mcp_api::Subject;
use sqlx::{AnyConnection, AssertSqlSafe};
use std::collections::BTreeSet;

/// Takes note of facts that somebody tells, each with what they call it, and gives those that are told for the first
/// time.
pub(super) async fn first_time(
    connection: &mut AnyConnection,
    by: &Subject,
    told: Vec<(String, Fact)>,
) -> Result<Vec<Fact>, StoreError> {
    // In order: two that send the same reports must not wait for each other.
    let ids: BTreeSet<&str> = told.iter().map(|(id, _)| &**id).collect();
    let places = places(ids.len(), 3);
    let note = format!(
        "INSERT INTO failover_reports (subject_kind, subject_name, id) VALUES {places} \
         ON CONFLICT DO NOTHING RETURNING id"
    );
    // There are as many such statements as there may be reports: none is worth keeping.
    let mut note = sqlx::query_scalar(AssertSqlSafe(note)).persistent(false);
    for id in ids {
        note = note.bind(by.kind.as_str()).bind(by.name.as_str()).bind(id);
    }
    let mut new: BTreeSet<String> = within(note.fetch_all(connection)).await?.into_iter().collect();
    Ok(told.into_iter().filter_map(|(id, fact)| new.remove(&id).then_some(fact)).collect())
}
