//! The audit trail in the database: entries are appended, one after the other over all servers, and read. Nothing here
//! changes or removes one.

mod changes;
mod insert;
mod ledger;
mod once;
mod proof;
mod search;

pub(super) use changes::changes;
pub(crate) use ledger::{Ledger, NotWritten};
pub(super) use proof::Proof;
pub(crate) use search::Search;

use super::{StoreError, door::within, time, touched};
use jiff::Timestamp;
use mcp_api::{AuditEntry, AuditEvent, AuditHead, AuditSubject, AuditVerdict, Subject, Verb};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::{AnyConnection, FromRow};

/// The columns of an entry, in the order in which they are read and written.
const COLUMNS: &str = "seq, at, event, subject_kind, subject_name, token_id, verb, object, llm, llm_id, verdict, \
                       binding, request_id, detail, prev, hash";

/// Something that happened, before it has its place in the trail.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    pub(crate) at: Timestamp,
    pub(crate) event: AuditEvent,
    pub(crate) who: Option<Who>,
    pub(crate) verb: Option<Verb>,
    pub(crate) object: Option<String>,
    pub(crate) llm: Option<String>,
    pub(crate) llm_id: Option<String>,
    pub(crate) verdict: Option<AuditVerdict>,
    pub(crate) binding: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) detail: Option<Box<RawValue>>,
}

/// Somebody who had logged in.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) subject: Subject,
    pub(crate) token_id: String,
}

impl Fact {
    /// An event at a time, of which nothing more is known yet.
    pub(crate) fn new(event: AuditEvent, at: Timestamp) -> Self {
        Self {
            at,
            event,
            who: None,
            verb: None,
            object: None,
            llm: None,
            llm_id: None,
            verdict: None,
            binding: None,
            request_id: None,
            detail: None,
        }
    }

    fn sealed(&self, seq: u64, prev: String) -> AuditEntry {
        let mut entry = AuditEntry {
            seq,
            at: shown(self.at),
            event: self.event.to_string(),
            subject: self.who.as_ref().map(|Who { subject, .. }| AuditSubject {
                kind: subject.kind.to_string(),
                name: subject.name.to_string(),
            }),
            token_id: self.who.as_ref().map(|who| who.token_id.clone()),
            verb: self.verb.map(|verb| verb.to_string()),
            object: self.object.clone(),
            llm: self.llm.clone(),
            llm_id: self.llm_id.clone(),
            verdict: self.verdict.map(|verdict| verdict.to_string()),
            binding: self.binding.clone(),
            request_id: self.request_id.clone(),
            detail: self.detail.clone(),
            prev,
            hash: String::new(),
        };
        entry.hash = entry.computed();
        entry
    }
}

/// Always with milliseconds: the text is hashed, and must come out of the database as it went in.
fn shown(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Appends facts within a transaction that is open, and gives the end of the trail after them.
///
/// Takes the lock that all servers append under, and keeps it until the transaction ends: call it last.
pub(super) async fn append(connection: &mut AnyConnection, facts: &[Fact]) -> Result<AuditHead, StoreError> {
    let head = take_head(connection).await?;
    append_after(head, connection, facts).await
}

async fn append_after(
    mut head: AuditHead,
    connection: &mut AnyConnection,
    facts: &[Fact],
) -> Result<AuditHead, StoreError> {
    let mut sealed = Vec::with_capacity(facts.len());
    for fact in facts {
        let entry = fact.sealed(head.seq + 1, head.hash.clone());
        head = entry.head();
        sealed.push((fact, entry));
    }
    insert::insert(connection, &sealed).await?;
    let moved = sqlx::query("UPDATE audit_head SET seq = $1, hash = $2 WHERE one = 1")
        .bind(number(head.seq)?)
        .bind(&head.hash)
        .execute(connection);
    touched(within(moved).await?.rows_affected(), 1, "the end of the audit trail")?;
    Ok(head)
}

/// The end of the trail, which nobody else can move until the transaction ends.
async fn take_head(connection: &mut AnyConnection) -> Result<AuditHead, StoreError> {
    let locked = sqlx::query_as("UPDATE audit_head SET seq = seq WHERE one = 1 RETURNING seq, hash");
    head_of(within(locked.fetch_one(connection)).await?)
}

pub(super) async fn head(connection: &mut AnyConnection) -> Result<AuditHead, StoreError> {
    let read = sqlx::query_as("SELECT seq, hash FROM audit_head WHERE one = 1");
    head_of(within(read.fetch_one(connection)).await?)
}

fn head_of((seq, hash): (i64, String)) -> Result<AuditHead, StoreError> {
    let seq = u64::try_from(seq).map_err(|_| StoreError::Unreadable("a negative end of the trail".into()))?;
    Ok(AuditHead { seq, hash })
}

fn number(seq: u64) -> Result<i64, StoreError> {
    i64::try_from(seq).map_err(|_| StoreError::Diverged("the length of the audit trail"))
}

#[derive(FromRow)]
struct Row {
    seq: i64,
    at: i64,
    event: String,
    subject_kind: Option<String>,
    subject_name: Option<String>,
    token_id: Option<String>,
    verb: Option<String>,
    object: Option<String>,
    llm: Option<String>,
    llm_id: Option<String>,
    verdict: Option<String>,
    binding: Option<String>,
    request_id: Option<String>,
    detail: Option<String>,
    prev: String,
    hash: String,
}

impl Row {
    /// About how many bytes it takes on the wire.
    fn size(&self) -> usize {
        self.detail.as_ref().map_or(0, String::len) + 512
    }
}

/// As it is, whatever somebody may have put there: what is not as it was written is for its reader to find.
impl From<Row> for AuditEntry {
    fn from(row: Row) -> Self {
        let subject = row.subject_kind.zip(row.subject_name);
        Self {
            seq: u64::try_from(row.seq).unwrap_or_default(),
            at: time(row.at).map_or_else(|_| row.at.to_string(), shown),
            event: row.event,
            subject: subject.map(|(kind, name)| AuditSubject { kind, name }),
            token_id: row.token_id,
            verb: row.verb,
            object: row.object,
            llm: row.llm,
            llm_id: row.llm_id,
            verdict: row.verdict,
            binding: row.binding,
            request_id: row.request_id,
            detail: row.detail.as_deref().map(json),
            prev: row.prev,
            hash: row.hash,
        }
    }
}

/// The text as it is if it is JSON, else as a string of JSON.
fn json(text: &str) -> Box<RawValue> {
    let quoted = || to_raw_value(text).unwrap_or_else(|_| RawValue::NULL.to_owned());
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| quoted())
}
