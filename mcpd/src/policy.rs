//! The role model: what somebody may do, and which binding says so. Pure: no I/O, no clock, no store.
//!
//! Rights are additive and what no binding grants is denied, so the order of grants never changes a verdict.

use mcp_api::{Rbac, Resource, RoleBinding, Subject, SubjectName, Verb};
use std::collections::{BTreeMap, HashMap};

/// One grant that somebody holds, and the binding that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) what: RoleBinding,
    pub(crate) binding: SubjectName,
}

/// Everything that one subject may do, directly and through its groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rights(Vec<Grant>);

impl Rights {
    pub(crate) fn new(grants: Vec<Grant>) -> Self {
        Self(grants)
    }

    /// Everything that several subjects may do, who are one for once.
    pub(crate) fn joined<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        Self(all.flat_map(|rights| &rights.0).cloned().collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &RoleBinding> {
        self.0.iter().map(|grant| &grant.what)
    }

    /// Says whether [`decide`] allows it, for those who need no reason.
    pub(crate) fn allow(&self, verb: Verb, on: On<'_>) -> bool {
        matches!(decide(self, verb, on), Verdict::Allowed { .. })
    }
}

/// Writes out for each subject what it holds itself and through its groups, in the order of the bindings' names.
///
/// Also for subjects that do not exist (yet): bindings mention names. `members` has the groups that exist.
pub(crate) fn compile(
    bindings: &BTreeMap<SubjectName, Rbac>,
    members: &BTreeMap<Subject, Vec<Subject>>,
) -> HashMap<Subject, Rights> {
    let mut grants: HashMap<Subject, Vec<Grant>> = HashMap::new();
    for rbac in bindings.values() {
        for named in &rbac.subjects {
            let through_group = members.get(named).into_iter().flatten();
            for subject in std::iter::once(named).chain(through_group) {
                let held = grants.entry(subject.clone()).or_default();
                for what in &rbac.role_bindings {
                    let grant = Grant { what: what.clone(), binding: rbac.name.clone() };
                    // Direct and through a group: once is enough.
                    if !held.contains(&grant) {
                        held.push(grant);
                    }
                }
            }
        }
    }
    grants.into_iter().map(|(subject, grants)| (subject, Rights::new(grants))).collect()
}

/// What a verb is to be done with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On<'a> {
    /// All of a kind, also those that do not exist yet.
    All(Resource),
    /// One thing, under every name that it has: an LLM has a name and an id, all else a name.
    One(Resource, &'a [&'a str]),
}

/// What was decided, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Allowed { binding: &'a SubjectName },
    Denied,
}

/// Decides whether `rights` let their holder do `verb`.
pub(crate) fn decide<'a>(rights: &'a Rights, verb: Verb, on: On<'_>) -> Verdict<'a> {
    match rights.0.iter().find(|grant| allows(&grant.what, verb, on)) {
        Some(grant) => Verdict::Allowed { binding: &grant.binding },
        None => Verdict::Denied,
    }
}

fn allows(grant: &RoleBinding, verb: Verb, on: On<'_>) -> bool {
    let (kind, names) = match on {
        On::All(kind) => (kind, &[][..]),
        On::One(kind, names) => (kind, names),
    };
    let reaches = match &grant.name {
        None => true,
        // What is to be created has no owner of its name yet, so a grant on a name cannot be meant for it.
        Some(_) if verb == Verb::Create => false,
        Some(name) => names.contains(&name.as_str()),
    };
    reaches && grant.role.includes(verb) && grant.is_about(kind)
}

/// Names what the holder of `rights` would give away without holding it: nobody grants what they do not hold.
///
/// Compares grants, not single verbs, so that a role that includes more one day was never handed on by somebody
/// who held only what it includes today.
pub(crate) fn missing_rights<'a>(
    rights: &Rights,
    granted: impl IntoIterator<Item = &'a RoleBinding>,
) -> Vec<&'a RoleBinding> {
    granted.into_iter().filter(|what| !rights.iter().any(|held| subsumes(held, what))).collect()
}

fn subsumes(held: &RoleBinding, granted: &RoleBinding) -> bool {
    use mcp_api::Role;
    (held.role == Role::Admin || held.role == granted.role)
        && held.is_about(granted.resource)
        && (held.name.is_none() || held.name == granted.name)
}

// With its path, so that it is found where tests/oracle includes this file too.
#[cfg(test)]
#[path = "policy/tests.rs"]
mod tests;
