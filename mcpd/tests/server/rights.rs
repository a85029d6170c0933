//! Who may do what, worked out from documents by brute force. Knows nothing of how mcpd does it: a right is one verb on
//! one kind, with one name or with all of the kind, and a subject has the set of them.

use fakes::Mcpd;
use mcp_api::{
    Llm, LlmList, Rbac, Resource, Role, RoleBinding, Subject, TokenInfo, Verb, identity::Items,
    identity::SubjectSpec, paths,
};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that can be asked for by `can-i`.
pub(crate) type Right = (Verb, Resource, Option<String>);

/// Everything the server says to somebody who may see all of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct World {
    pub(crate) bindings: Vec<Rbac>,
    pub(crate) members: BTreeMap<Subject, Vec<Subject>>,
    pub(crate) llms: Vec<Llm>,
    pub(crate) tokens: Vec<TokenInfo>,
}

impl World {
    pub(crate) fn seen_by_admin(mcpd: &Mcpd) -> Self {
        let get =
            |path: &str| mcpd.request("GET", path, Some(mcpd.admin_token()), &[], b"").expect_success(path);
        let subjects: Items<SubjectSpec> = get(paths::SUBJECTS).json();
        Self {
            bindings: get(paths::RBACS).json::<Items<Rbac>>().items,
            members: subjects
                .items
                .into_iter()
                .map(|spec| (Subject { kind: spec.kind, name: spec.name }, spec.members))
                .collect(),
            llms: get(paths::LLMS).json::<LlmList>().items,
            tokens: get(paths::TOKENS).json::<Items<TokenInfo>>().items,
        }
    }

    /// The id of the LLM that has this name now.
    pub(crate) fn id_of(&self, llm: &str) -> Option<&str> {
        self.llms.iter().find(|known| known.name.as_str() == llm).map(|known| known.id.as_str())
    }

    /// Says whether a token is among those that are good.
    pub(crate) fn knows(&self, token: &str) -> bool {
        let id = token.split('_').nth(1);
        self.tokens.iter().any(|known| Some(known.id.as_str()) == id && known.revoked_at.is_none())
    }

    /// All that a subject may do, with things of these names.
    pub(crate) fn rights(&self, subject: &Subject, names: &[String]) -> BTreeSet<Right> {
        let mut rights = BTreeSet::new();
        for what in self.granted(subject) {
            let verbs = Verb::ALL
                .iter()
                .filter(|verb| what.role == Role::Admin || verb.as_str() == what.role.as_str());
            for verb in verbs {
                for kind in Resource::ALL {
                    if is_about(what, *kind) {
                        rights.extend(reached(what, *verb, names).map(|name| (*verb, *kind, name)));
                    }
                }
            }
        }
        // One thing with two names: a right on the one is a right on the other.
        for llm in &self.llms {
            for (verb, kind, name) in rights.clone() {
                let pair = [llm.name.as_str(), llm.id.as_str()];
                if kind == Resource::Llms && name.is_some_and(|name| pair.contains(&&*name)) {
                    rights.extend(pair.map(|name| (verb, kind, Some(name.to_owned()))));
                }
            }
        }
        rights
    }

    /// The grants of all bindings that mention the subject or a group with it.
    fn granted(&self, subject: &Subject) -> Vec<&RoleBinding> {
        let is_in = |named: &Subject| {
            named == subject || self.members.get(named).is_some_and(|members| members.contains(subject))
        };
        let bindings = self.bindings.iter().filter(|rbac| rbac.subjects.iter().any(is_in));
        bindings.flat_map(|rbac| &rbac.role_bindings).collect()
    }
}

/// `*` is all kinds, but without the role `admin` neither keys nor the audit trail.
fn is_about(what: &RoleBinding, kind: Resource) -> bool {
    let kept_back = [Resource::Secrets, Resource::Audit].contains(&kind) && what.role != Role::Admin;
    what.resource == kind || (what.resource == Resource::Any && !kept_back)
}

/// The names that a grant reaches with a verb; none is all of the kind.
fn reached<'a>(
    what: &'a RoleBinding,
    verb: Verb,
    names: &'a [String],
) -> impl Iterator<Item = Option<String>> + 'a {
    let is_meant = move |name: &&String| match &what.name {
        None => true,
        Some(one) => verb != Verb::Create && one.as_str() == name.as_str(),
    };
    let all = what.name.is_none().then_some(None);
    all.into_iter().chain(names.iter().filter(is_meant).map(|name| Some(name.clone())))
}
