//! Users, groups and service accounts: list, show, create, replace the members of a group, delete.

use crate::{
    app::App, body::Document, caller::Caller, policy::On, problem::Problem, segment::Who, store::Snapshot,
};
use axum::{Json, extract::State};
use http::StatusCode;
use mcp_api::{Resource, Subject, SubjectKind, Verb, identity::Items, identity::SubjectSpec};
use std::{collections::BTreeSet, sync::Arc};

pub(crate) async fn list(caller: Caller) -> Json<Items<SubjectSpec>> {
    let viewable = |(subject, _): &(&Subject, _)| {
        caller.rights().allow(Verb::View, On::One(Resource::Users, &[subject.name.as_str()]))
    };
    let items = caller.snapshot().subjects().filter(viewable);
    Json(Items { items: items.map(|(subject, members)| shown(subject, members)).collect() })
}

pub(crate) async fn show(caller: Caller, Who(subject): Who) -> Result<Json<SubjectSpec>, Problem> {
    let members = find(&caller, Verb::View, &subject)?;
    Ok(Json(shown(&subject, members)))
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Document(spec): Document<SubjectSpec>,
) -> Result<(StatusCode, Json<SubjectSpec>), Problem> {
    let (caller, mut change) = app.change(caller).await?;
    caller.must(Verb::Create, On::All(Resource::Users))?;
    let (subject, members) = checked(spec, caller.snapshot())?;
    if caller.snapshot().members(&subject).is_some() {
        return Err(Problem::Conflict(format!("There is already a {} {}.", subject.kind, subject.name)));
    }
    let now = change.now();
    change.insert_subject(&subject, now).await?;
    if !members.is_empty() {
        // Bindings may mention the group already.
        caller.must_hold(caller.snapshot().granted_to(&subject))?;
        change.set_members(&subject, &members).await?;
    }
    change.commit().await?;
    Ok((StatusCode::CREATED, Json(shown(&subject, &members))))
}

pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Who(subject): Who,
    Document(spec): Document<SubjectSpec>,
) -> Result<Json<SubjectSpec>, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let old = find(&caller, Verb::Edit, &subject)?.to_vec();
    let (named, members) = checked(spec, caller.snapshot())?;
    if named != subject {
        return Err(Problem::Invalid("A kind or a name cannot be changed.".into()));
    }
    if old != members {
        caller.must_hold(caller.snapshot().granted_to(&subject))?;
        change.set_members(&subject, &members).await?;
        change.commit().await?;
    }
    Ok(Json(shown(&subject, &members)))
}

/// Deletes a subject with its tokens. Bindings that mention it stay, and apply to a later one of that name.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Who(subject): Who,
) -> Result<Json<SubjectSpec>, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let members = find(&caller, Verb::Delete, &subject)?;
    caller.must_hold(caller.snapshot().rights(&subject).iter())?;
    change.delete_subject(&subject).await?;
    change.commit().await?;
    Ok(Json(shown(&subject, members)))
}

fn find<'a>(caller: &'a Caller, verb: Verb, subject: &Subject) -> Result<&'a [Subject], Problem> {
    let found = caller.snapshot().members(subject);
    caller.reach(verb, Resource::Users, subject.name.as_str(), found, "subject")
}

/// Takes a description apart. Members are put in order, each once; only groups have them, and no groups among them.
fn checked(spec: SubjectSpec, snapshot: &Snapshot) -> Result<(Subject, Vec<Subject>), Problem> {
    if spec.kind != SubjectKind::Group && !spec.members.is_empty() {
        return Err(Problem::Invalid("Only a Group has members.".into()));
    }
    for member in &spec.members {
        if member.kind == SubjectKind::Group {
            return Err(Problem::Invalid(format!(
                "{} is a Group; a group has no groups in it.",
                member.name
            )));
        }
        if snapshot.members(member).is_none() {
            return Err(Problem::Invalid(format!("There is no {} {}.", member.kind, member.name)));
        }
    }
    let members: BTreeSet<Subject> = spec.members.into_iter().collect();
    Ok((Subject { kind: spec.kind, name: spec.name }, members.into_iter().collect()))
}

fn shown(subject: &Subject, members: &[Subject]) -> SubjectSpec {
    SubjectSpec { kind: subject.kind, name: subject.name.clone(), members: members.to_vec() }
}
