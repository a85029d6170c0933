//! Tokens in the database: whose they are and the hash of their secret, never the secret.

use super::{Change, StoreError, subjects::subject, time};
use crate::bearer::TokenHash;
use jiff::Timestamp;
use mcp_api::{Subject, TokenInfo};
use sqlx::{AnyConnection, FromRow};
use std::collections::BTreeMap;

/// A token as it is stored.
#[derive(Clone)]
pub(crate) struct StoredToken {
    pub(crate) id: String,
    pub(crate) hash: TokenHash,
    pub(crate) subject: Subject,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
}

impl StoredToken {
    /// Neither revoked nor expired.
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Says whether what can be shown of the two is the same.
    pub(crate) fn is_shown_like(&self, other: &Self) -> bool {
        let of = |token: &Self| (token.created_at, token.expires_at, token.revoked_at);
        self.id == other.id && self.subject == other.subject && of(self) == of(other)
    }

    /// What can be shown of it.
    pub(crate) fn shown(&self) -> TokenInfo {
        TokenInfo {
            id: self.id.clone(),
            subject: self.subject.clone(),
            created_at: self.created_at.to_string(),
            expires_at: self.expires_at.map(|time| time.to_string()),
            revoked_at: self.revoked_at.map(|time| time.to_string()),
        }
    }
}

/// Leaves the hash out.
impl std::fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredToken")
            .field("id", &self.id)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    hash: String,
    subject_kind: String,
    subject_name: String,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

pub(super) async fn load(
    connection: &mut AnyConnection,
) -> Result<BTreeMap<String, StoredToken>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, hash, subject_kind, subject_name, created_at, expires_at, revoked_at FROM tokens",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok((row.id.clone(), StoredToken::try_from(row)?))).collect()
}

impl TryFrom<Row> for StoredToken {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            hash: TokenHash::from_hex(&row.hash)
                .ok_or_else(|| StoreError::Unreadable(format!("a hash of the token {:?}", row.id)))?,
            id: row.id,
            subject: subject(&row.subject_kind, &row.subject_name)?,
            created_at: time(row.created_at)?,
            expires_at: row.expires_at.map(time).transpose()?,
            revoked_at: row.revoked_at.map(time).transpose()?,
        })
    }
}

impl Change {
    pub(crate) async fn insert_token(&mut self, token: &StoredToken) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO tokens (id, hash, subject_kind, subject_name, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&token.id)
        .bind(token.hash.to_hex())
        .bind(token.subject.kind.as_str())
        .bind(token.subject.name.as_str())
        .bind(token.created_at.as_millisecond())
        .bind(token.expires_at.map(Timestamp::as_millisecond));
        self.execute_one(query, "a token").await
    }

    /// Ends a token. The row stays, so that its id can be found in old logs.
    pub(crate) async fn revoke_token(&mut self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id)
            .bind(now.as_millisecond());
        self.execute_one(query, "a token").await
    }
}
