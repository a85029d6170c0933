//! Users, groups and service accounts in the database.

use super::{Change, StoreError, word};
use jiff::Timestamp;
use mcp_api::{Labels, Subject, SubjectKind, identity::SubjectSpec};
use sqlx::AnyConnection;
use std::collections::BTreeMap;

pub(super) async fn load(
    connection: &mut AnyConnection,
) -> Result<BTreeMap<Subject, SubjectSpec>, StoreError> {
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT kind, name, labels FROM subjects").fetch_all(&mut *connection).await?;
    let mut subjects = BTreeMap::new();
    for (kind, name, labels) in rows {
        let subject = subject(&kind, &name)?;
        let spec = SubjectSpec {
            kind: subject.kind,
            name: subject.name.clone(),
            members: Vec::new(),
            labels: word(&labels, "labels")?,
        };
        subjects.insert(subject, spec);
    }
    let rows: Vec<(String, String, String, String)> =
        sqlx::query_as("SELECT group_kind, group_name, member_kind, member_name FROM members")
            .fetch_all(connection)
            .await?;
    for (group_kind, group_name, kind, name) in rows {
        let group = subject(&group_kind, &group_name)?;
        let spec = subjects.get_mut(&group).ok_or(StoreError::Diverged("a group"))?;
        spec.members.push(subject(&kind, &name)?);
    }
    // Not by the database: each has an order of its own for text.
    for spec in subjects.values_mut() {
        spec.members.sort();
    }
    Ok(subjects)
}

/// Reads the two columns that mean a subject wherever they stand.
pub(super) fn subject(kind: &str, name: &str) -> Result<Subject, StoreError> {
    Ok(Subject { kind: word::<SubjectKind>(kind, "kind")?, name: word(name, "name")? })
}

impl Change {
    pub(crate) async fn insert_subject(
        &mut self,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sqlx::query("INSERT INTO subjects (kind, name, created_at) VALUES ($1, $2, $3)")
            .bind(subject.kind.as_str())
            .bind(subject.name.as_str())
            .bind(now.as_millisecond());
        self.execute_one(query, "a subject").await
    }

    /// Replaces the labels of a subject.
    pub(crate) async fn set_labels(&mut self, subject: &Subject, labels: &Labels) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE subjects SET labels = $3 WHERE kind = $1 AND name = $2")
            .bind(subject.kind.as_str())
            .bind(subject.name.as_str())
            .bind(labels.to_string());
        self.execute_one(query, "a subject").await
    }

    /// Replaces the members of a group.
    pub(crate) async fn set_members(
        &mut self,
        group: &Subject,
        members: &[Subject],
    ) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM members WHERE group_kind = $1 AND group_name = $2")
            .bind(group.kind.as_str())
            .bind(group.name.as_str());
        self.execute(query).await?;
        for member in members {
            let query = sqlx::query(
                "INSERT INTO members (group_kind, group_name, member_kind, member_name) VALUES ($1, $2, $3, $4)",
            )
            .bind(group.kind.as_str())
            .bind(group.name.as_str())
            .bind(member.kind.as_str())
            .bind(member.name.as_str());
            self.execute_one(query, "a member").await?;
        }
        Ok(())
    }

    /// Removes a subject, its tokens and its memberships. Bindings that mention it stay.
    pub(crate) async fn delete_subject(&mut self, subject: &Subject) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM subjects WHERE kind = $1 AND name = $2")
            .bind(subject.kind.as_str())
            .bind(subject.name.as_str());
        self.execute_one(query, "a subject").await
    }
}
