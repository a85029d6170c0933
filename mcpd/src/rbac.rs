//! Role bindings: list, show, create, replace, delete. Nobody grants, or takes from others, what they do not hold.

use crate::{app::App, body::Document, caller::Caller, policy::On, problem::Problem, segment::Name};
use axum::{Json, extract::State};
use http::StatusCode;
use mcp_api::{Rbac, Resource, SubjectName, Verb, identity::Items};
use std::sync::Arc;

pub(crate) async fn list(caller: Caller) -> Json<Items<Rbac>> {
    let viewable =
        |rbac: &&Rbac| caller.rights().allow(Verb::View, On::One(Resource::Rbac, &[rbac.name.as_str()]));
    Json(Items { items: caller.snapshot().bindings().filter(viewable).cloned().collect() })
}

pub(crate) async fn show(caller: Caller, Name(name): Name) -> Result<Json<Rbac>, Problem> {
    find(&caller, Verb::View, &name).map(Json)
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Document(rbac): Document<Rbac>,
) -> Result<(StatusCode, Json<Rbac>), Problem> {
    let (caller, mut change) = app.change(caller).await?;
    caller.must(Verb::Create, On::All(Resource::Rbac))?;
    caller.must_hold(&rbac.role_bindings)?;
    if caller.snapshot().binding(rbac.name.as_str()).is_some() {
        return Err(Problem::Conflict(format!("There is already a role binding {}.", rbac.name)));
    }
    let now = change.now();
    change.insert_binding(&rbac, now).await?;
    change.commit().await?;
    Ok((StatusCode::CREATED, Json(rbac)))
}

pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Name(name): Name,
    Document(rbac): Document<Rbac>,
) -> Result<Json<Rbac>, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let old = find(&caller, Verb::Edit, &name)?;
    if rbac.name != name {
        return Err(Problem::Invalid(format!("The name {name} cannot be changed.")));
    }
    caller.must_hold(old.role_bindings.iter().chain(&rbac.role_bindings))?;
    change.update_binding(&rbac).await?;
    change.commit().await?;
    Ok(Json(rbac))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Name(name): Name,
) -> Result<Json<Rbac>, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let old = find(&caller, Verb::Delete, &name)?;
    caller.must_hold(&old.role_bindings)?;
    change.delete_binding(&name).await?;
    change.commit().await?;
    Ok(Json(old))
}

fn find(caller: &Caller, verb: Verb, name: &SubjectName) -> Result<Rbac, Problem> {
    let found = caller.snapshot().binding(name.as_str());
    caller.reach(verb, Resource::Rbac, name.as_str(), found, "role binding").cloned()
}
