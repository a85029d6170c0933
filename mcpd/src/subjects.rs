//! Users, groups and service accounts: list, show, create, replace labels and members, delete.

use crate::{
    app::App,
    body::Document,
    caller::Caller,
    etag::ETag,
    policy::On,
    problem::Problem,
    reuse,
    segment::Who,
    store::Snapshot,
    terms::{Terms, versioned},
};
use axum::{Json, extract::State, response::Response};
use http::StatusCode;
use mcp_api::{
    Resource, Subject, SubjectKind, Verb,
    identity::{Answer, Items, SubjectSpec},
};
use std::{collections::BTreeSet, sync::Arc};

pub(crate) async fn list(caller: Caller) -> Json<Items<SubjectSpec>> {
    let viewable = |spec: &&SubjectSpec| {
        caller.rights().allow(Verb::View, On::One(Resource::Users, &[spec.name.as_str()]))
    };
    Json(Items { items: caller.snapshot().subjects().filter(viewable).cloned().collect() })
}

pub(crate) async fn show(caller: Caller, Who(subject): Who) -> Result<Response, Problem> {
    let spec = find(&caller, Verb::View, &subject)?;
    Ok(versioned(&ETag::of(spec), Json(spec)))
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    terms: Terms,
    Document(spec): Document<SubjectSpec>,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    caller.must(Verb::Create, On::All(Resource::Users))?;
    let subject = Subject { kind: spec.kind, name: spec.name.clone() };
    caller.must_view(&spec.members, &[])?;
    if !spec.members.is_empty() {
        // Bindings may mention the group already.
        caller.must_hold_unseen(caller.snapshot().granted_to(&subject))?;
    }
    terms.meet_nothing()?;
    let spec = checked(spec, caller.snapshot())?;
    if caller.snapshot().subject(&subject).is_some() {
        return Err(Problem::Conflict(format!("There is already a {} {}.", spec.kind, spec.name)));
    }
    let now = change.now();
    change.insert_subject(&subject, now).await?;
    change.set_labels(&subject, &spec.labels).await?;
    change.set_members(&subject, &spec.members).await?;
    terms.settle(change).await?;
    let warnings = Vec::from_iter(reuse::warning(&caller, spec.kind.into(), spec.name.as_str()));
    let version = ETag::of(&spec);
    Ok(terms.stamp(versioned(&version, (StatusCode::CREATED, Json(Answer { content: spec, warnings })))))
}

/// What is so already is not written again.
pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Who(subject): Who,
    terms: Terms,
    Document(spec): Document<SubjectSpec>,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let old = find(&caller, Verb::Edit, &subject)?;
    let spec = ordered(spec);
    caller.must_view(&spec.members, if caller.may_view(&subject) { &old.members } else { &[] })?;
    if old.members != spec.members {
        caller.must_hold_unseen(caller.snapshot().granted_to(&subject))?;
    }
    terms.meet(&ETag::of(old))?;
    let spec = checked(spec, caller.snapshot())?;
    if (spec.kind, &spec.name) != (subject.kind, &subject.name) {
        return Err(Problem::Invalid("A kind or a name cannot be changed.".into()));
    }
    if spec != *old {
        change.set_labels(&subject, &spec.labels).await?;
        change.set_members(&subject, &spec.members).await?;
        terms.settle(change).await?;
    }
    Ok(terms.stamp(versioned(&ETag::of(&spec), Json(spec))))
}

/// Deletes a subject with its tokens. Bindings that mention it stay, and apply to a later one of that name.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Who(subject): Who,
    terms: Terms,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let spec = find(&caller, Verb::Delete, &subject)?;
    caller.must_hold_unseen(caller.snapshot().rights(&subject).iter())?;
    terms.meet(&ETag::of(spec))?;
    change.delete_subject(&subject).await?;
    terms.settle(change).await?;
    let on = On::One(Resource::Users, &[subject.name.as_str()]);
    Ok(terms.stamp(caller.farewell(on, subject.kind.into(), subject.name.as_str(), Json(spec))))
}

fn find<'a>(caller: &'a Caller, verb: Verb, subject: &Subject) -> Result<&'a SubjectSpec, Problem> {
    let found = caller.snapshot().subject(subject);
    caller.reach(verb, Resource::Users, subject.name.as_str(), found, "subject")
}

/// Members are put in order, each once.
fn ordered(spec: SubjectSpec) -> SubjectSpec {
    let members: BTreeSet<Subject> = spec.members.into_iter().collect();
    SubjectSpec { members: members.into_iter().collect(), ..spec }
}

/// Only groups have members, they exist, and no groups are among them.
fn checked(spec: SubjectSpec, snapshot: &Snapshot) -> Result<SubjectSpec, Problem> {
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
        if snapshot.subject(member).is_none() {
            return Err(Problem::Invalid(format!("There is no {} {}.", member.kind, member.name)));
        }
    }
    Ok(ordered(spec))
}
