//! The same role bindings as Cedar policies, from what the documentation promises:
//!
//! - Rights are additive and what nothing grants is denied: each grant is one `permit`.
//! - `*` is about every kind, but about secrets and the audit trail only with the role `admin`: every kind is in
//!   `Kind::"* of admin"`, and all but these two are in `Kind::"*"`.
//! - The role `admin` includes every verb: every action is in the role of its name and in `admin`.
//! - Members of a group hold what it holds: they are in it.
//! - A binding with a name is about the one thing of that name, and a thing may have several: it is in all of them.
//! - A binding with a name never matches a list, which is of the kind itself and in no name; nor `create`.

use crate::world::Case;
use anyhow::anyhow;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicyId,
    PolicySet, Request,
};
use mcp_api::{Resource, Role, RoleBinding, Subject, SubjectKind, Verb};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The names of all bindings that allow it; none if it is denied.
pub(crate) fn decide(case: &Case) -> anyhow::Result<BTreeSet<String>> {
    let action = uid("Action", case.verb.as_str())?;
    let thing = asked(case)?;
    let request = Request::new(who(&case.asker)?, action, thing, Context::empty(), None)?;
    let answer = Authorizer::new().is_authorized(&request, &policies(case)?, &entities(case)?);
    if let Some(error) = answer.diagnostics().errors().next() {
        return Err(anyhow!("Cedar cannot evaluate: {error}"));
    }
    let bindings = answer.diagnostics().reason().map(binding_of).collect();
    match answer.decision() {
        Decision::Allow => Ok(bindings),
        Decision::Deny => Ok(BTreeSet::new()),
    }
}

fn policies(case: &Case) -> anyhow::Result<PolicySet> {
    let mut policies = PolicySet::new();
    let mut number = 0;
    for rbac in &case.bindings {
        for subject in &rbac.subjects {
            for what in &rbac.role_bindings {
                let id = PolicyId::new(format!("{}/{number}", rbac.name));
                policies.add(Policy::parse(Some(id), permit(subject, what))?)?;
                number += 1;
            }
        }
    }
    Ok(policies)
}

fn binding_of(id: &PolicyId) -> String {
    let text: &str = id.as_ref();
    text.split('/').next().unwrap_or(text).to_owned()
}

/// What `*` means in a grant of this role.
fn everything(role: Role) -> &'static str {
    if role == Role::Admin { "* of admin" } else { "*" }
}

/// Every `*` that this kind is in.
fn everything_with(kind: Resource) -> &'static [&'static str] {
    match kind {
        Resource::Secrets | Resource::Audit => &["* of admin"],
        Resource::Llms | Resource::Rbac | Resource::Users | Resource::Tokens | Resource::Any => {
            &["*", "* of admin"]
        }
    }
}

/// One grant to one subject.
fn permit(subject: &Subject, what: &RoleBinding) -> String {
    let principal = format!("principal in {}::{:?}", subject.kind, subject.name.as_str());
    let action = format!("action in Action::{:?}", role(what.role));
    let kind = if what.resource == Resource::Any { everything(what.role) } else { what.resource.as_str() };
    match &what.name {
        None => format!("permit({principal}, {action}, resource in Kind::{kind:?});"),
        Some(name) => {
            let named = named(kind, name.as_str());
            format!(
                "permit({principal}, {action}, resource in Name::{named:?}) unless {{ action == Action::\"create\" }};"
            )
        }
    }
}

fn entities(case: &Case) -> anyhow::Result<Entities> {
    let mut all = vec![thing(case)?, entity(who(&case.asker)?, groups_of(case)?)];
    for kind in Resource::ALL {
        let wider = everything_with(*kind).iter().filter(|any| **any != kind.as_str());
        let wider = wider.map(|any| uid("Kind", any)).collect::<anyhow::Result<_>>()?;
        all.push(entity(uid("Kind", kind.as_str())?, wider));
    }
    for verb in Verb::ALL {
        let roles = [verb.as_str(), Role::Admin.as_str()];
        let roles = roles.map(|role| uid("Action", &format!("role {role}")));
        all.push(entity(uid("Action", verb.as_str())?, roles.into_iter().collect::<anyhow::Result<_>>()?));
    }
    // A list is of the kind itself, which stands among the kinds already.
    let mut once = HashMap::new();
    for entity in all {
        once.entry(entity.uid()).or_insert(entity);
    }
    Ok(Entities::from_entities(once.into_values(), None)?)
}

fn groups_of(case: &Case) -> anyhow::Result<HashSet<EntityUid>> {
    let groups = case.members.iter().filter(|(_, members)| members.contains(&case.asker));
    groups.map(|(group, _)| who(group)).collect()
}

/// What is asked about: a thing, or the kind itself.
fn asked(case: &Case) -> anyhow::Result<EntityUid> {
    if case.names.is_empty() { uid("Kind", case.resource.as_str()) } else { uid("Thing", "it") }
}

/// The thing that is meant, in its kind, and in each of its names for bindings on the kind and on `*`.
fn thing(case: &Case) -> anyhow::Result<Entity> {
    let mut parents = HashSet::from([uid("Kind", case.resource.as_str())?]);
    for name in &case.names {
        for kind in everything_with(case.resource).iter().chain([&case.resource.as_str()]) {
            parents.insert(uid("Name", &named(kind, name))?);
        }
    }
    Ok(entity(uid("Thing", "it")?, parents))
}

fn named(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

fn role(role: Role) -> String {
    format!("role {role}")
}

fn who(subject: &Subject) -> anyhow::Result<EntityUid> {
    let kind = match subject.kind {
        SubjectKind::User => "User",
        SubjectKind::Group => "Group",
        SubjectKind::ServiceAccount => "ServiceAccount",
    };
    uid(kind, subject.name.as_str())
}

fn uid(kind: &str, id: &str) -> anyhow::Result<EntityUid> {
    let kind: EntityTypeName = kind.parse()?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn entity(uid: EntityUid, parents: HashSet<EntityUid>) -> Entity {
    Entity::new_no_attrs(uid, parents)
}
