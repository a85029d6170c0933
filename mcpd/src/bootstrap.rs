//! The first administrator of a new database, and the first token.

use crate::{
    bearer::Bearer,
    store::{Store, StoredToken},
};
use mcp_api::{Labels, Rbac, Resource, Role, RoleBinding, Secret, Subject, SubjectKind, SubjectName};
use std::sync::Arc;

/// The name of the binding that makes the first administrator one.
const BINDING: &str = "bootstrap-admin";

/// Gives the user `name` the role admin on everything, and gives back a token of theirs.
///
/// Where there are users already this needs `recover`: whoever may write the database file may also do this, and who
/// only wants to run a server again should not make an administrator by mistake.
pub(crate) async fn bootstrap(store: &Store, name: SubjectName, recover: bool) -> anyhow::Result<Secret> {
    let mut change = store.change().await?;
    if change.snapshot().has_users() && !recover {
        anyhow::bail!(
            "this database has users already; make tokens with `mcpctl token create --user NAME` as an administrator, \
             or, if no token of one is left, run this with --recover"
        );
    }
    let now = change.now();
    let subject = Subject { kind: SubjectKind::User, name };
    let everything = RoleBinding { role: Role::Admin, resource: Resource::Any, name: None };
    let bearer = Bearer::generate()?;
    let token = StoredToken {
        id: bearer.id().to_owned(),
        hash: bearer.hash(),
        subject: subject.clone(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    };
    let before = Arc::clone(change.snapshot());
    if before.subject(&subject).is_none() {
        change.insert_subject(&subject, now).await?;
    }
    if !before.rights(&subject).iter().any(|what| *what == everything) {
        // The name is taken where somebody has bootstrapped before.
        let name = if before.binding(BINDING).is_none() {
            BINDING.into()
        } else {
            format!("recovered-{}", bearer.id())
        };
        let binding = Rbac {
            name: name.parse()?,
            labels: Labels::default(),
            subjects: vec![subject.clone()],
            role_bindings: vec![everything],
        };
        change.insert_binding(&binding, now).await?;
    }
    change.insert_token(&token).await?;
    change.commit().await?;
    Ok(bearer.reveal())
}
