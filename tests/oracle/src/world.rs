//! One random case: groups, bindings, a question, and a gift that the asker would like to hand on.

use crate::random::Random;
use mcp_api::{Labels, Rbac, Resource, Role, RoleBinding, Subject, SubjectKind, SubjectName, Verb};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Names that several kinds of subjects share: a user is not the group of the same name.
const PEOPLE: [&str; 3] = ["ana", "ops", "rob"];
/// Names of things, two of them with the shape of an id.
const THINGS: [&str; 5] = ["chat", "ops", "code", "c00000000000000000000000a", "c00000000000000000000000b"];
/// Who receives the gift. Nobody else has this name.
const RECEIVER: &str = "receiver";

#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The groups that exist, with their members.
    pub(crate) members: BTreeMap<Subject, Vec<Subject>>,
    pub(crate) bindings: Vec<Rbac>,
    pub(crate) asker: Subject,
    pub(crate) verb: Verb,
    pub(crate) resource: Resource,
    /// Every name of the one thing that is meant; none means all of the kind.
    pub(crate) names: Vec<String>,
    pub(crate) gift: Vec<RoleBinding>,
}

impl Case {
    pub(crate) fn any(random: &mut Random) -> Self {
        let members = random.some(3, |random| {
            let group = subject(SubjectKind::Group, random.of(&PEOPLE));
            (group, random.some(3, any_member))
        });
        let bindings = random.some(4, |random| (random.some(2, any_subject), random.some(3, any_grant)));
        let mut case = Self {
            members: members.into_iter().collect(),
            bindings: (0..)
                .zip(bindings)
                .map(|(number, (subjects, role_bindings))| rbac(number, subjects, role_bindings))
                .collect(),
            asker: any_member(random),
            verb: random.of(Verb::ALL),
            resource: random.of(Resource::ALL),
            names: any_names(random),
            gift: random.some(2, any_grant),
        };
        case.come_near(random);
        case
    }

    /// Three times in four asks about something that a binding mentions, else nearly all would be denied; and gives
    /// away something like what is held.
    fn come_near(&mut self, random: &mut Random) {
        let mentioned: Vec<_> = self
            .bindings
            .iter()
            .flat_map(|rbac| {
                rbac.subjects.iter().flat_map(|who| rbac.role_bindings.iter().map(move |what| (who, what)))
            })
            .collect();
        if mentioned.is_empty() || random.once_in(4) {
            return;
        }
        let (who, what) = random.of(&mentioned);
        let member = self.members.get(who).filter(|members| !members.is_empty());
        let asker = member.map_or_else(|| who.clone(), |members| random.of(members));
        let verb = Verb::ALL.iter().copied().find(|verb| verb.as_str() == what.role.as_str());
        let kind = Some(what.resource).filter(|kind| *kind != Resource::Any);
        let name = what.name.as_ref().map(|name| name.as_str().to_owned());
        let mut gift = what.clone();
        if random.once_in(3) {
            gift.name = any_grant(random).name;
        }
        self.asker = asker;
        self.verb = verb.filter(|_| !random.once_in(4)).unwrap_or(self.verb);
        self.resource = kind.filter(|_| !random.once_in(4)).unwrap_or(self.resource);
        if let Some(name) = name.filter(|_| !random.once_in(4)) {
            // First or second of its names.
            let at = random.below(self.names.len() + 1);
            self.names.insert(at, name);
        }
        if !random.once_in(3) {
            self.gift.push(gift);
        }
    }

    /// The same question of somebody who holds the gift and nothing else.
    pub(crate) fn as_receiver(&self) -> Self {
        let asker = subject(SubjectKind::User, RECEIVER);
        let gift = rbac(0, vec![asker.clone()], self.gift.clone());
        Self { members: BTreeMap::new(), bindings: vec![gift], asker, ..self.clone() }
    }

    pub(crate) fn without_groups(&self) -> Self {
        Self { members: BTreeMap::new(), ..self.clone() }
    }

    pub(crate) fn without_named_grants(&self) -> Self {
        let mut case = self.clone();
        for rbac in &mut case.bindings {
            rbac.role_bindings.retain(|what| what.name.is_none());
        }
        case
    }

    /// Every case with one thing less.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut case = self.clone();
            change(&mut case);
            all.push(case);
        };
        for (group, members) in &self.members {
            with(&|case| drop(case.members.remove(group)));
            for at in 0..members.len() {
                with(&|case| drop(case.members.get_mut(group).map(|members| members.remove(at))));
            }
        }
        for (at, rbac) in self.bindings.iter().enumerate() {
            with(&|case| drop(case.bindings.remove(at)));
            for of in 0..rbac.subjects.len() {
                with(&|case| drop(case.bindings[at].subjects.remove(of)));
            }
            for of in 0..rbac.role_bindings.len() {
                with(&|case| drop(case.bindings[at].role_bindings.remove(of)));
            }
        }
        for at in 0..self.names.len() {
            with(&|case| drop(case.names.remove(at)));
        }
        for at in 0..self.gift.len() {
            with(&|case| drop(case.gift.remove(at)));
        }
        all
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grant = |what: &RoleBinding| {
            let name = what.name.as_ref().map_or("", |name| name.as_str());
            format!("{} on {} {name}", what.role, what.resource).trim_end().to_owned()
        };
        let who = |subject: &Subject| format!("{} {}", subject.kind, subject.name);
        let list =
            |items: Vec<String>| if items.is_empty() { "nothing".to_owned() } else { items.join(", ") };
        for (group, members) in &self.members {
            writeln!(f, "{}: {}", who(group), list(members.iter().map(who).collect()))?;
        }
        for rbac in &self.bindings {
            let (to, what) = (rbac.subjects.iter().map(who), rbac.role_bindings.iter().map(grant));
            writeln!(f, "binding {} gives {}: {}", rbac.name, list(to.collect()), list(what.collect()))?;
        }
        let on = if self.names.is_empty() { "all".to_owned() } else { self.names.join(" alias ") };
        writeln!(f, "may {} {} {}: {on}?", who(&self.asker), self.verb, self.resource)?;
        write!(f, "gift: {}", list(self.gift.iter().map(grant).collect()))
    }
}

fn rbac(number: usize, subjects: Vec<Subject>, role_bindings: Vec<RoleBinding>) -> Rbac {
    Rbac { name: text(&format!("b{number}")), labels: Labels::default(), subjects, role_bindings }
}

fn any_subject(random: &mut Random) -> Subject {
    subject(random.of(SubjectKind::ALL), random.of(&PEOPLE))
}

fn any_member(random: &mut Random) -> Subject {
    subject(random.of(&[SubjectKind::User, SubjectKind::ServiceAccount]), random.of(&PEOPLE))
}

fn any_grant(random: &mut Random) -> RoleBinding {
    let name = if random.once_in(2) { Some(text(random.of(&THINGS))) } else { None };
    RoleBinding { role: random.of(Role::ALL), resource: random.of(Resource::ALL), name }
}

/// All of a kind, a thing with one name, or an LLM with a name and an id.
fn any_names(random: &mut Random) -> Vec<String> {
    match random.below(3) {
        0 => Vec::new(),
        1 => vec![random.of(&THINGS).to_owned()],
        _ => vec![random.of(&THINGS[..3]).to_owned(), random.of(&THINGS[3..]).to_owned()],
    }
}

fn subject(kind: SubjectKind, name: &str) -> Subject {
    Subject { kind, name: text::<SubjectName>(name) }
}

fn text<T: FromStr<Err: fmt::Display>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
