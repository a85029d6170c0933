//! The first administrator of a new database, and the first token.

use crate::{
    app::now,
    bearer::Bearer,
    store::{Store, StoredToken},
};
use mcp_api::{Rbac, Resource, Role, RoleBinding, Secret, Subject, SubjectKind, SubjectName};

/// The name of the binding that makes the first administrator one.
const BINDING: &str = "bootstrap-admin";

/// Makes the user `name`, gives it the role admin on everything, and gives back its token.
pub(crate) async fn bootstrap(store: &Store, name: SubjectName) -> anyhow::Result<Secret> {
    if store.snapshot().has_users() {
        anyhow::bail!(
            "this database has users already; make tokens with `mcpctl token create --user NAME` as an administrator"
        );
    }
    let now = now();
    let subject = Subject { kind: SubjectKind::User, name };
    let binding = Rbac {
        name: BINDING.parse()?,
        subjects: vec![subject.clone()],
        role_bindings: vec![RoleBinding { role: Role::Admin, resource: Resource::Any, name: None }],
    };
    let bearer = Bearer::generate()?;
    let token = StoredToken {
        id: bearer.id().to_owned(),
        hash: bearer.hash(),
        subject: subject.clone(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    };
    let mut change = store.change().await?;
    change.insert_subject(&subject, now).await?;
    change.insert_binding(&binding, now).await?;
    change.insert_token(&token).await?;
    change.commit(now).await?;
    Ok(bearer.reveal())
}
