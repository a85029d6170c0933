//! The role model: what somebody may do, and which binding says so. Pure: no I/O, no clock, no store.
//!
//! Rights are additive and what no binding grants is denied, so the order of grants never changes a verdict.

use mcp_api::{Resource, RoleBinding, SubjectName, Verb};

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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &RoleBinding> {
        self.0.iter().map(|grant| &grant.what)
    }

    /// Says whether [`decide`] allows it, for those who need no reason.
    pub(crate) fn allow(&self, verb: Verb, on: On<'_>) -> bool {
        matches!(decide(self, verb, on), Verdict::Allowed { .. })
    }
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
    reaches && grant.role.includes(verb) && grant.resource.covers(kind)
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
        && held.resource.covers(granted.resource)
        && (held.name.is_none() || held.name == granted.name)
}

#[cfg(test)]
mod tests;
