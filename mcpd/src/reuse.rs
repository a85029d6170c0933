//! Names that are used again: what role bindings say about a name applies to whatever has it, also to a newcomer.

use crate::{caller::Caller, policy::On};
use mcp_api::{Kind, Rbac, Resource, Subject, Verb, rbac::ResourceName};

/// What whoever makes a thing of this name should know. None if no role binding mentions the name.
///
/// The names of role bindings are for those who may see them; others are told how many there are.
pub(crate) fn warning(caller: &Caller, kind: Kind, name: &str) -> Option<String> {
    let mentioning: Vec<_> = caller.snapshot().bindings().filter(|rbac| mentions(rbac, kind, name)).collect();
    if mentioning.is_empty() {
        return None;
    }
    let names: Vec<_> = mentioning.iter().map(|rbac| rbac.name.as_str()).collect();
    let may_see = |name: &&str| caller.rights().allow(Verb::View, On::One(Resource::Rbac, &[*name]));
    let which = if names.iter().all(may_see) { names.join(", ") } else { format!("{} of them", names.len()) };
    let noun = noun(kind);
    Some(format!("Role bindings that were there before apply to this {noun}, by its name {name}: {which}."))
}

fn mentions(rbac: &Rbac, kind: Kind, name: &str) -> bool {
    let is_held = kind.subject().is_some_and(|kind| {
        let is_it = |subject: &Subject| subject.kind == kind && subject.name.as_str() == name;
        rbac.subjects.iter().any(is_it)
    });
    let is_about = rbac.role_bindings.iter().any(|grant| {
        grant.is_about(resource(kind)) && grant.name.as_ref().map(ResourceName::as_str) == Some(name)
    });
    is_held || is_about
}

fn resource(kind: Kind) -> Resource {
    match kind {
        Kind::Llm => Resource::Llms,
        Kind::Rbac => Resource::Rbac,
        Kind::User | Kind::ServiceAccount | Kind::Group => Resource::Users,
    }
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Llm => "LLM",
        Kind::Rbac => "role binding",
        Kind::User => "user",
        Kind::ServiceAccount => "service account",
        Kind::Group => "group",
    }
}
