//! The steps that random walks are made of.

use mcp_api::{
    Labels, LlmPatch, Rbac, Resource, Role, RoleBinding, Subject, SubjectKind, identity::SubjectSpec,
};
use proptest::{
    prelude::*,
    sample::{Index, select},
};

/// The people who act, each with rights and a token from the start. The last one may do everything.
pub(super) const ACTORS: [&str; 3] = ["ana", "ben", "boss"];
pub(super) const BOSS: usize = 2;
pub(super) const SUBJECTS: &[(SubjectKind, &str)] = &[
    (SubjectKind::User, "ana"),
    (SubjectKind::User, "ben"),
    // Not there from the start, but bindings may mention them.
    (SubjectKind::User, "late"),
    (SubjectKind::ServiceAccount, "ana"),
    (SubjectKind::Group, "ops"),
    (SubjectKind::Group, "ana"),
];
pub(super) const LLMS: &[&str] = &["chat", "code"];
pub(super) const BINDINGS: &[&str] = &["b1", "ana"];
/// Names of things that grants mention, of every kind.
pub(super) const THINGS: &[&str] = &["chat", "code", "ana", "late", "ops", "b1", "KEY"];
/// Instead of an id, which nobody knows before there is one: the id that the LLM of this name has then.
pub(super) const ID_OF_CHAT: &str = "id-of-chat";

/// What somebody tries. `caller` picks one of the tokens that they have by then.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) actor: usize,
    pub(super) caller: Index,
    pub(super) call: Call,
    /// Only to see what would come of it.
    pub(super) rehearsal: bool,
}

/// `odd`: makes what is there already, or replaces what is not.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Bind { rbac: Rbac, odd: bool },
    Unbind(&'static str),
    Subject { spec: SubjectSpec, odd: bool },
    Forget(Subject),
    Token(Subject),
    Revoke(Index),
    Llm { name: &'static str, odd: bool },
    Patch { name: &'static str, patch: LlmPatch },
    Drop(&'static str),
}

/// The rights that the actors have from the start, and what is tried.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    pub(super) initial: Vec<Vec<RoleBinding>>,
    pub(super) steps: Vec<Step>,
}

pub(super) fn any_walk() -> impl Strategy<Value = Walk> {
    let initial = prop::collection::vec(any_rights(), BOSS).prop_map(|mut rights| {
        rights.push(vec![RoleBinding { role: Role::Admin, resource: Resource::Any, name: None }]);
        rights
    });
    // What is there to be coveted.
    let by_boss = |(caller, call)| Step { actor: BOSS, caller, call, rehearsal: false };
    let first = prop::collection::vec((any::<Index>(), prop_oneof![bind(), join()]).prop_map(by_boss), 0..5);
    (initial, first, prop::collection::vec(any_step(), 10..40))
        .prop_map(|(initial, first, steps)| Walk { initial, steps: [first, steps].concat() })
}

/// Mostly those of a clerk, who may administer and holds little else.
fn any_rights() -> impl Strategy<Value = Vec<RoleBinding>> {
    let all = |role, resource| RoleBinding { role, resource, name: None };
    let clerk =
        [Resource::Rbac, Resource::Users, Resource::Tokens].map(|kind| all(Role::Admin, kind)).to_vec();
    let registrar = vec![
        all(Role::Create, Resource::Llms),
        all(Role::Edit, Resource::Llms),
        all(Role::Delete, Resource::Llms),
    ];
    let base = prop_oneof![
        5 => Just(clerk.clone()),
        3 => Just([clerk, registrar.clone()].concat()),
        1 => Just(registrar),
        1 => Just(vec![]),
    ];
    (base, prop::collection::vec(any_grant(), 0..4)).prop_map(|(base, more)| [base, more].concat())
}

fn any_step() -> impl Strategy<Value = Step> {
    let step = |(actor, caller, call, rehearsal)| Step { actor, caller, call, rehearsal };
    (0..ACTORS.len(), any::<Index>(), any_call(), prop::bool::weighted(0.1)).prop_map(step)
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => bind(),
        1 => select(BINDINGS).prop_map(Call::Unbind),
        1 => select(&["initial-ana", "initial-ben"][..]).prop_map(Call::Unbind),
        5 => join(),
        2 => any_person().prop_map(|who| Call::Subject { spec: described(who, vec![]), odd: false }),
        2 => any_subject().prop_map(Call::Forget),
        3 => any_person().prop_map(Call::Token),
        1 => any::<Index>().prop_map(Call::Revoke),
        2 => (select(LLMS), odd()).prop_map(|(name, odd)| Call::Llm { name, odd }),
        1 => (select(LLMS), any::<bool>()).prop_map(|(name, on)| {
            let url = Some("http://127.0.0.1:10/v1".to_owned());
            Call::Patch { name, patch: LlmPatch { enabled: Some(on), url, ..LlmPatch::default() } }
        }),
        1 => select(LLMS).prop_map(Call::Drop),
    ]
}

/// A binding, of groups as often as of people.
fn bind() -> impl Strategy<Value = Call> {
    let subjects = prop::collection::vec(prop_oneof![any_person(), any_group()], 0..3);
    let grants = prop::collection::vec(any_grant(), 0..4);
    (select(BINDINGS), subjects, grants, odd()).prop_map(|(name, subjects, role_bindings, odd)| {
        let rbac = Rbac { name: name.parse().unwrap(), labels: Labels::default(), subjects, role_bindings };
        Call::Bind { rbac, odd }
    })
}

/// A group with members.
fn join() -> impl Strategy<Value = Call> {
    let members = prop::collection::vec(any_person(), 0..3);
    (any_group(), members, odd())
        .prop_map(|(group, members, odd)| Call::Subject { spec: described(group, members), odd })
}

fn described(who: Subject, members: Vec<Subject>) -> SubjectSpec {
    SubjectSpec { kind: who.kind, name: who.name, members, labels: Labels::default() }
}

fn odd() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.15)
}

fn any_subject() -> impl Strategy<Value = Subject> {
    select(SUBJECTS).prop_map(|(kind, name)| subject(kind, name))
}

fn any_person() -> impl Strategy<Value = Subject> {
    any_subject().prop_filter("a group", |who| who.kind != SubjectKind::Group)
}

fn any_group() -> impl Strategy<Value = Subject> {
    any_subject().prop_filter("no group", |who| who.kind == SubjectKind::Group)
}

fn any_grant() -> impl Strategy<Value = RoleBinding> {
    let name = prop_oneof![3 => Just(None), 3 => select(THINGS).prop_map(Some), 1 => Just(Some(ID_OF_CHAT))];
    (select(Role::ALL), select(Resource::ALL), name).prop_map(|(role, resource, name)| RoleBinding {
        role,
        resource,
        name: name.map(|name| name.parse().unwrap()),
    })
}

/// A subject by kind and name.
pub(super) fn subject(kind: SubjectKind, name: &str) -> Subject {
    Subject { kind, name: name.parse().unwrap() }
}
