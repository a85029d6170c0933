//! Role bindings: list, show, create, replace, delete. Nobody grants, or takes from others, what they do not hold.

use crate::{
    app::App,
    body::Document,
    caller::Caller,
    etag::ETag,
    policy::On,
    problem::Problem,
    reuse,
    segment::Name,
    terms::{Terms, versioned},
};
use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use mcp_api::{
    Kind, Rbac, Resource, SubjectName, Verb,
    identity::{Answer, Items},
};
use std::sync::Arc;

pub(crate) async fn list(caller: Caller) -> Json<Items<Rbac>> {
    let viewable =
        |rbac: &&Rbac| caller.rights().allow(Verb::View, On::One(Resource::Rbac, &[rbac.name.as_str()]));
    Json(Items { items: caller.snapshot().bindings().filter(viewable).cloned().collect() })
}

pub(crate) async fn show(caller: Caller, Name(name): Name) -> Result<Response, Problem> {
    let rbac = find(&caller, Verb::View, &name)?;
    Ok(versioned(&ETag::of(&rbac), Json(rbac)))
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    terms: Terms,
    Document(rbac): Document<Rbac>,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    caller.must(Verb::Create, On::All(Resource::Rbac))?;
    caller.must_hold(&rbac.role_bindings)?;
    terms.meet_nothing()?;
    if caller.snapshot().binding(rbac.name.as_str()).is_some() {
        return Err(Problem::Conflict(format!("There is already a role binding {}.", rbac.name)));
    }
    let now = change.now();
    change.insert_binding(&rbac, now).await?;
    terms.settle(change).await?;
    let warnings = Vec::from_iter(reuse::warning(&caller, Kind::Rbac, rbac.name.as_str()));
    let version = ETag::of(&rbac);
    Ok(terms.stamp(versioned(&version, (StatusCode::CREATED, Json(Answer { content: rbac, warnings })))))
}

/// What is so already is not written again.
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Name(name): Name,
    terms: Terms,
    Document(rbac): Document<Rbac>,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let old = find(&caller, Verb::Edit, &name)?;
    caller.must_hold(&rbac.role_bindings)?;
    caller.must_hold_unseen(&old.role_bindings)?;
    terms.meet(&ETag::of(&old))?;
    if rbac.name != name {
        return Err(Problem::Invalid(format!("The name {name} cannot be changed.")));
    }
    if rbac != old {
        change.update_binding(&rbac).await?;
        terms.settle(change).await?;
    }
    Ok(terms.stamp(versioned(&ETag::of(&rbac), Json(rbac))))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Name(name): Name,
    terms: Terms,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let old = find(&caller, Verb::Delete, &name)?;
    caller.must_hold_unseen(&old.role_bindings)?;
    terms.meet(&ETag::of(&old))?;
    change.delete_binding(&name).await?;
    terms.settle(change).await?;
    let on = On::One(Resource::Rbac, &[name.as_str()]);
    Ok(terms.stamp(caller.farewell(on, Kind::Rbac, name.as_str(), Json(old))))
}

fn find(caller: &Caller, verb: Verb, name: &SubjectName) -> Result<Rbac, Problem> {
    let found = caller.snapshot().binding(name.as_str());
    caller.reach(verb, Resource::Rbac, name.as_str(), found, "role binding").cloned()
}
