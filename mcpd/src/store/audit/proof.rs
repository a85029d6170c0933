//! Whether the trail in a database is still what was written.

use super::{COLUMNS, Row, head_of};
use crate::store::{StoreError, door::within};
use futures_util::TryStreamExt;
use mcp_api::{
    AuditEntry, AuditHead,
    audit::{Chain, Flaw},
};
use sqlx::{AnyConnection, AssertSqlSafe, FromRow as _};

/// How many flaws are told; the first ones say where to look.
const FLAWS_MAX: usize = 3;

/// What came of looking at every entry.
#[derive(Debug, Default)]
pub(in crate::store) struct Proof {
    entries: u64,
    flaws: Vec<String>,
    more: usize,
}

impl Proof {
    /// Computes the whole chain anew, an entry at a time. Nothing may be written meanwhile: give it a connection that
    /// reads one moment. Gives what to say of it: a good word, or what is wrong.
    pub(in crate::store) async fn seek(
        connection: &mut AnyConnection,
    ) -> Result<Result<String, String>, StoreError> {
        let mut proof = Self::default();
        let head = sqlx::query_as("SELECT seq, hash FROM audit_head WHERE one = 1");
        let head: Option<(i64, String)> = within(head.fetch_optional(&mut *connection)).await?;
        let last = proof.read(connection).await?;
        match head.map(head_of).transpose()? {
            None => proof.add(&"its head is gone"),
            Some(head) => proof.compare(&head, &last),
        }
        Ok(proof.verdict(&last))
    }

    async fn read(&mut self, connection: &mut AnyConnection) -> Result<AuditHead, StoreError> {
        let mut chain = Chain::whole();
        let statement = AssertSqlSafe(format!("SELECT {COLUMNS} FROM audit ORDER BY seq"));
        let mut rows = sqlx::query(statement).fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let entry = AuditEntry::from(Row::from_row(&row)?);
            for flaw in chain.take(&entry) {
                self.add(&flaw);
            }
            self.entries += 1;
        }
        chain.head().cloned().ok_or(StoreError::Diverged("the end of the audit trail"))
    }

    /// Where it ends, and where whoever wrote it last says that it ends.
    fn compare(&mut self, head: &AuditHead, last: &AuditHead) {
        if last.seq < head.seq {
            self.add(&Flaw::CutOff { at: last.seq, known: head.seq });
        } else if last.seq > head.seq {
            self.add(&Flaw::Beyond { head: head.seq, last: last.seq });
        } else if last.hash != head.hash {
            self.add(&Flaw::Rewritten { seq: last.seq });
        }
    }

    fn add(&mut self, flaw: &impl ToString) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw.to_string());
        } else {
            self.more += 1;
        }
    }

    fn verdict(mut self, last: &AuditHead) -> Result<String, String> {
        if self.flaws.is_empty() {
            return Ok(format!("{} entries, head {last}", self.entries));
        }
        if self.more > 0 {
            self.flaws.push(format!("and {} more", self.more));
        }
        Err(self.flaws.join("; "))
    }
}
