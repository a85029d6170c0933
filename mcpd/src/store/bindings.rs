//! Role bindings in the database.

use super::{Change, StoreError, subjects::subject, word};
use jiff::Timestamp;
use mcp_api::{Rbac, RoleBinding, SubjectName};
use sqlx::AnyConnection;
use std::collections::BTreeMap;

pub(super) async fn load(connection: &mut AnyConnection) -> Result<BTreeMap<SubjectName, Rbac>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT name, labels FROM bindings").fetch_all(&mut *connection).await?;
    let mut bindings = BTreeMap::new();
    for (name, labels) in rows {
        let name: SubjectName = word(&name, "binding")?;
        let labels = word(&labels, "labels")?;
        let rbac = Rbac { name: name.clone(), labels, subjects: Vec::new(), role_bindings: Vec::new() };
        bindings.insert(name, rbac);
    }
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT binding, kind, name FROM binding_subjects ORDER BY binding, position")
            .fetch_all(&mut *connection)
            .await?;
    for (binding, kind, name) in rows {
        let rbac = bindings.get_mut(binding.as_str()).ok_or(StoreError::Diverged("a binding"))?;
        rbac.subjects.push(subject(&kind, &name)?);
    }
    let rows: Vec<(String, String, String, Option<String>)> = sqlx::query_as(
        "SELECT binding, role, resource, resource_name FROM binding_roles ORDER BY binding, position",
    )
    .fetch_all(connection)
    .await?;
    for (binding, role, resource, name) in rows {
        let rbac = bindings.get_mut(binding.as_str()).ok_or(StoreError::Diverged("a binding"))?;
        rbac.role_bindings.push(RoleBinding {
            role: word(&role, "role")?,
            resource: word(&resource, "resource")?,
            name: name.map(|name| word(&name, "resource name")).transpose()?,
        });
    }
    Ok(bindings)
}

impl Change {
    pub(crate) async fn insert_binding(&mut self, rbac: &Rbac, now: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query("INSERT INTO bindings (name, created_at, labels) VALUES ($1, $2, $3)")
            .bind(rbac.name.as_str())
            .bind(now.as_millisecond())
            .bind(rbac.labels.to_string());
        self.execute_one(query, "a binding").await?;
        self.insert_parts(rbac).await
    }

    /// Replaces the labels, the subjects and the grants of a binding.
    pub(crate) async fn update_binding(&mut self, rbac: &Rbac) -> Result<(), StoreError> {
        let query = sqlx::query("UPDATE bindings SET labels = $2 WHERE name = $1")
            .bind(rbac.name.as_str())
            .bind(rbac.labels.to_string());
        self.execute_one(query, "a binding").await?;
        for delete in [
            "DELETE FROM binding_subjects WHERE binding = $1",
            "DELETE FROM binding_roles WHERE binding = $1",
        ] {
            self.execute(sqlx::query(delete).bind(rbac.name.as_str())).await?;
        }
        self.insert_parts(rbac).await
    }

    pub(crate) async fn delete_binding(&mut self, name: &SubjectName) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM bindings WHERE name = $1").bind(name.as_str());
        self.execute_one(query, "a binding").await
    }

    async fn insert_parts(&mut self, rbac: &Rbac) -> Result<(), StoreError> {
        for (position, subject) in (0_i64..).zip(&rbac.subjects) {
            let query = sqlx::query(
                "INSERT INTO binding_subjects (binding, position, kind, name) VALUES ($1, $2, $3, $4)",
            )
            .bind(rbac.name.as_str())
            .bind(position)
            .bind(subject.kind.as_str())
            .bind(subject.name.as_str());
            self.execute_one(query, "a binding's subject").await?;
        }
        for (position, grant) in (0_i64..).zip(&rbac.role_bindings) {
            let query = sqlx::query(
                "INSERT INTO binding_roles (binding, position, role, resource, resource_name) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(rbac.name.as_str())
            .bind(position)
            .bind(grant.role.as_str())
            .bind(grant.resource.as_str())
            .bind(grant.name.as_ref().map(mcp_api::rbac::ResourceName::as_str));
            self.execute_one(query, "a binding's grant").await?;
        }
        Ok(())
    }
}
