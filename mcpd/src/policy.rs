//! The role model: what somebody may do, and which binding says so. Pure: no I/O, no clock, no store.
//!
//! Rights are additive and what no binding grants is denied, so the order of grants never changes a verdict.

use mcp_api::{Rbac, Resource, RoleBinding, Subject, SubjectName, Verb, rbac::ResourceName};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// One grant, and the binding that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) what: RoleBinding,
    pub(crate) binding: SubjectName,
    /// Its place among the grants of all bindings.
    place: usize,
}

/// Everything that one subject may do, directly and through its groups.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rights(Vec<Arc<Held>>);

/// The grants of the bindings that mention one subject, in their order, each once.
///
/// To decide takes hardly longer with a hundred thousand grants than with one: of those on one name (or on none) that say the same
/// only the first is looked at, and there are not many different ones.
#[derive(Debug, Default)]
struct Held {
    grants: Vec<Arc<Grant>>,
    on_all: Vec<Arc<Grant>>,
    on_name: BTreeMap<String, Vec<Arc<Grant>>>,
}

impl Held {
    /// Takes the next one in the order of all grants.
    fn push(&mut self, grant: &Arc<Grant>) {
        if self.grants.last().is_some_and(|last| last.place >= grant.place) {
            // A binding that names its subject twice.
            return;
        }
        self.grants.push(Arc::clone(grant));
        let firsts = match &grant.what.name {
            None => &mut self.on_all,
            Some(name) => self.on_name.entry(name.as_str().to_owned()).or_default(),
        };
        let says_the_same = |first: &Arc<Grant>| {
            first.what.role == grant.what.role && first.what.resource == grant.what.resource
        };
        if !firsts.iter().any(says_the_same) {
            firsts.push(Arc::clone(grant));
        }
    }

    /// The grants that could decide about something of these names.
    fn about<'a, 'n>(&'a self, names: &'n [&'n str]) -> impl Iterator<Item = &'a Grant> {
        let by_name = names.iter().filter_map(|name| self.on_name.get(*name)).flatten();
        self.on_all.iter().chain(by_name).map(|grant| &**grant)
    }
}

impl Rights {
    /// Everything that several subjects may do, who are one for once.
    pub(crate) fn joined<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        Self(all.flat_map(|rights| &rights.0).cloned().collect())
    }

    /// Each grant once, in the order of the bindings' names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &RoleBinding> {
        self.grants().map(|grant| &grant.what)
    }

    fn grants(&self) -> impl Iterator<Item = &Grant> {
        let mut all: Vec<&Grant> =
            self.0.iter().flat_map(|held| &held.grants).map(|grant| &**grant).collect();
        // Direct and through a group: once is enough.
        if self.0.len() > 1 {
            all.sort_unstable_by_key(|grant| grant.place);
            all.dedup_by_key(|grant| grant.place);
        }
        all.into_iter()
    }

    /// The grants that could decide about something of these names, in no order.
    fn about<'a, 'n>(&'a self, names: &'n [&'n str]) -> impl Iterator<Item = &'a Grant> {
        self.0.iter().flat_map(|held| held.about(names))
    }

    /// The names of things of this kind with which `verb` is allowed by name, in no order. Nothing need have them.
    pub(crate) fn names(&self, verb: Verb, kind: Resource) -> impl Iterator<Item = &str> {
        let named = self.0.iter().flat_map(|held| &held.on_name);
        let allowed = named.filter(move |(name, grants)| {
            grants.iter().any(|grant| allows(&grant.what, verb, On::One(kind, &[name.as_str()])))
        });
        allowed.map(|(name, _)| name.as_str())
    }

    /// Every verb that [`decide`] allows, in the order of their declaration.
    pub(crate) fn verbs(&self, on: On<'_>) -> Vec<Verb> {
        let mut allowed = [false; Verb::ALL.len()];
        for grant in self.about(on.names()) {
            for (verb, is_allowed) in Verb::ALL.iter().zip(&mut allowed) {
                *is_allowed |= allows(&grant.what, *verb, on);
            }
        }
        Verb::ALL.iter().zip(allowed).filter(|(_, is_allowed)| *is_allowed).map(|(verb, _)| *verb).collect()
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
    let mut held: HashMap<&Subject, Held> = HashMap::new();
    let mut place = 0;
    for rbac in bindings.values() {
        let mut seen = HashSet::new();
        let different = rbac.role_bindings.iter().filter(|what| seen.insert(*what));
        let grants: Vec<_> = different
            .map(|what| {
                place += 1;
                Arc::new(Grant { what: what.clone(), binding: rbac.name.clone(), place })
            })
            .collect();
        for named in &rbac.subjects {
            let held = held.entry(named).or_default();
            for grant in &grants {
                held.push(grant);
            }
        }
    }
    let mut rights: HashMap<Subject, Rights> = HashMap::new();
    for (named, held) in held {
        let held = Arc::new(held);
        let through_group = members.get(named).into_iter().flatten();
        for subject in std::iter::once(named).chain(through_group) {
            rights.entry(subject.clone()).or_default().0.push(Arc::clone(&held));
        }
    }
    rights
}

/// What a verb is to be done with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On<'a> {
    /// All of a kind, also those that do not exist yet.
    All(Resource),
    /// One thing, under every name that it has: an LLM has a name and an id, all else a name.
    One(Resource, &'a [&'a str]),
}

impl<'a> On<'a> {
    fn kind(self) -> Resource {
        match self {
            Self::All(kind) | Self::One(kind, _) => kind,
        }
    }

    fn names(self) -> &'a [&'a str] {
        match self {
            Self::All(_) => &[],
            Self::One(_, names) => names,
        }
    }
}

/// What was decided, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Allowed { binding: &'a SubjectName },
    Denied,
}

/// Decides whether `rights` let their holder do `verb`. The first grant that does is the reason.
pub(crate) fn decide<'a>(rights: &'a Rights, verb: Verb, on: On<'_>) -> Verdict<'a> {
    let mut first: Option<&Grant> = None;
    for grant in rights.about(on.names()) {
        let is_earlier = first.is_none_or(|first| grant.place < first.place);
        if is_earlier && allows(&grant.what, verb, on) {
            first = Some(grant);
        }
    }
    first.map_or(Verdict::Denied, |grant| Verdict::Allowed { binding: &grant.binding })
}

fn allows(grant: &RoleBinding, verb: Verb, on: On<'_>) -> bool {
    let (kind, names) = (on.kind(), on.names());
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
    let holds = |what: &&RoleBinding| {
        let name = what.name.as_ref().map(ResourceName::as_str);
        rights.about(name.as_slice()).any(|held| subsumes(&held.what, what))
    };
    granted.into_iter().filter(|what| !holds(what)).collect()
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
