//! The documents of `mcpctl apply`: the bodies of the API with a `kind`.

use crate::{
    Labels, LlmSpec, Rbac, Subject, SubjectKind, SubjectName, identity::SubjectSpec, rbac::UnknownWord,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The only value of `apiVersion`.
pub const API_VERSION: &str = "mcpctl/v1";

/// What a document describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// See [`Document::User`].
    User,
    /// See [`Document::ServiceAccount`].
    ServiceAccount,
    /// See [`Document::Group`].
    Group,
    /// See [`Document::Llm`].
    Llm,
    /// See [`Document::Rbac`].
    Rbac,
}

impl Kind {
    /// All kinds, in an order in which they can be made: a group's members must be there before it.
    pub const ALL: &'static [Self] = &[Self::User, Self::ServiceAccount, Self::Group, Self::Llm, Self::Rbac];

    /// The kind as it stands in a document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::ServiceAccount => "ServiceAccount",
            Self::Group => "Group",
            Self::Llm => "Llm",
            Self::Rbac => "Rbac",
        }
    }

    /// The kind as it stands on a command line and in a line of output.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServiceAccount => "serviceaccount",
            Self::Group => "group",
            Self::Llm => "llm",
            Self::Rbac => "rbac",
        }
    }

    /// The kind of subject that it is, if it is one.
    #[must_use]
    pub fn subject(self) -> Option<SubjectKind> {
        match self {
            Self::User => Some(SubjectKind::User),
            Self::ServiceAccount => Some(SubjectKind::ServiceAccount),
            Self::Group => Some(SubjectKind::Group),
            Self::Llm | Self::Rbac => None,
        }
    }
}

impl From<SubjectKind> for Kind {
    fn from(kind: SubjectKind) -> Self {
        match kind {
            SubjectKind::User => Self::User,
            SubjectKind::ServiceAccount => Self::ServiceAccount,
            SubjectKind::Group => Self::Group,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.iter().copied().find(|kind| kind.as_str() == text);
        known.ok_or(UnknownWord { expected: "User, ServiceAccount, Group, Llm, Rbac" })
    }
}

/// One document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub enum Document {
    /// A language model: where it runs, and whether it may be run.
    Llm(LlmSpec),
    /// A role binding: who may do what. What no role binding grants is denied.
    Rbac(Rbac),
    /// A person. A token of theirs is made with `mcpctl token create --user NAME`.
    User(Named),
    /// A program. It can hold rights and tokens, like a person.
    ServiceAccount(Named),
    /// Several users and service accounts that get rights together.
    Group(GroupSpec),
}

/// A user or a service account: little more than a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The name, unique within the kind, such as `dana@example.com`. It cannot be changed.
    pub name: SubjectName,
    /// Words by which you find it again, as with `get -l` and `apply --prune -l`. They grant nothing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// The name, unique among the groups. It cannot be changed.
    pub name: SubjectName,
    /// Words by which you find it again, as with `get -l` and `apply --prune -l`. They grant nothing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Users and service accounts that belong to it. They must exist; a group has no groups in it.
    #[serde(default)]
    #[schemars(with = "Vec<Member>")]
    pub members: Vec<Subject>,
}

/// A [`Subject`] as the schema shows it among the members of a group.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used: the server says what it refuses")]
struct Member {
    /// Whether a person or a program is meant.
    kind: MemberKind,
    /// Its name.
    name: SubjectName,
}

/// Who can be in a group.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used: the server says what it refuses")]
enum MemberKind {
    /// A person.
    User,
    /// A program.
    ServiceAccount,
}

impl Document {
    /// The schema of all documents, with the meaning of every field.
    #[must_use]
    pub fn schema() -> Schema {
        schema_for!(Self)
    }

    /// What it describes.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Llm(_) => Kind::Llm,
            Self::Rbac(_) => Kind::Rbac,
            Self::User(_) => Kind::User,
            Self::ServiceAccount(_) => Kind::ServiceAccount,
            Self::Group(_) => Kind::Group,
        }
    }

    /// The name of what it describes.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Llm(spec) => spec.name.as_str(),
            Self::Rbac(rbac) => rbac.name.as_str(),
            Self::User(named) | Self::ServiceAccount(named) => named.name.as_str(),
            Self::Group(group) => group.name.as_str(),
        }
    }

    /// The labels of what it describes.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        match self {
            Self::Llm(spec) => &spec.labels,
            Self::Rbac(rbac) => &rbac.labels,
            Self::User(named) | Self::ServiceAccount(named) => &named.labels,
            Self::Group(group) => &group.labels,
        }
    }

    /// The body for `/api/v1/users`, if it describes a subject.
    #[must_use]
    pub fn subject(&self) -> Option<SubjectSpec> {
        let (kind, name, labels, members) = match self {
            Self::Llm(_) | Self::Rbac(_) => return None,
            Self::User(named) => (SubjectKind::User, &named.name, &named.labels, Vec::new()),
            Self::ServiceAccount(named) => {
                (SubjectKind::ServiceAccount, &named.name, &named.labels, Vec::new())
            }
            Self::Group(group) => (SubjectKind::Group, &group.name, &group.labels, group.members.clone()),
        };
        Some(SubjectSpec { kind, name: name.clone(), members, labels: labels.clone() })
    }
}

impl From<SubjectSpec> for Document {
    fn from(subject: SubjectSpec) -> Self {
        let SubjectSpec { kind, name, members, labels } = subject;
        match kind {
            SubjectKind::User => Self::User(Named { name, labels }),
            SubjectKind::ServiceAccount => Self::ServiceAccount(Named { name, labels }),
            SubjectKind::Group => Self::Group(GroupSpec { name, labels, members }),
        }
    }
}
