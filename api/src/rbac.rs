//! The words of the role model. Rights are additive; what no binding grants is denied.

use crate::{Labels, SubjectName, name::NameError};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, str::FromStr};

/// A word that is none of the known ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWord {
    /// What was expected, for a message.
    pub expected: &'static str,
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected one of: {}", self.expected)
    }
}

impl std::error::Error for UnknownWord {}

/// Declares an enum whose values are fixed words on the wire, in the database and on the command line.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $list:literal, { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
            schemars::JsonSchema,
        )]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// All values, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::rbac::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::rbac::UnknownWord { expected: $list }),
                }
            }
        }
    };
}

pub(crate) use words;

words!(
    /// What somebody wants to do with a resource.
    Verb, "view, run, create, edit, delete", {
        /// Read it, and see it in lists.
        View = "view",
        /// Send prompts to it.
        Run = "run",
        /// Make a new one.
        Create = "create",
        /// Change it.
        Edit = "edit",
        /// Remove it.
        Delete = "delete",
    }
);

words!(
    /// What a binding grants: one verb, or all of them.
    Role, "view, run, create, edit, delete, admin", {
        /// Read it, and see it in lists.
        View = "view",
        /// Send prompts to it. Of a secret: let an LLM use it.
        Run = "run",
        /// Make a new one.
        Create = "create",
        /// Change it.
        Edit = "edit",
        /// Remove it.
        Delete = "delete",
        /// Every verb.
        Admin = "admin",
    }
);

impl Role {
    /// Says whether the role includes the verb.
    #[must_use]
    pub fn includes(self, verb: Verb) -> bool {
        match self {
            Self::View => verb == Verb::View,
            Self::Run => verb == Verb::Run,
            Self::Create => verb == Verb::Create,
            Self::Edit => verb == Verb::Edit,
            Self::Delete => verb == Verb::Delete,
            Self::Admin => true,
        }
    }
}

words!(
    /// What a binding is about.
    Resource, "llms, rbac, users, tokens, secrets, audit, *", {
        /// Registered LLMs.
        Llms = "llms",
        /// Role bindings.
        Rbac = "rbac",
        /// Users, groups and service accounts.
        Users = "users",
        /// Tokens.
        Tokens = "tokens",
        /// Keys of upstreams: `run` on one, by the name of its environment variable, lets an LLM use it.
        Secrets = "secrets",
        /// The audit trail; there is only `view`, of all of it.
        Audit = "audit",
        /// All of them; but `secrets` and `audit` only for the role `admin`, other roles on these two name them.
        Any = "*",
    }
);

impl Resource {
    /// Says whether only the role `admin` reaches it through `*`.
    fn must_be_named(self) -> bool {
        matches!(self, Self::Secrets | Self::Audit)
    }
}

words!(
    /// Who can hold a right.
    SubjectKind, "User, Group, ServiceAccount", {
        /// A person.
        User = "User",
        /// Several users and service accounts.
        Group = "Group",
        /// A program.
        ServiceAccount = "ServiceAccount",
    }
);

impl SubjectKind {
    /// The kind as it stands in a path.
    #[must_use]
    pub fn path_segment(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::ServiceAccount => "serviceaccount",
        }
    }

    /// The kind that a path segment means.
    #[must_use]
    pub fn from_path_segment(segment: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.path_segment() == segment)
    }
}

/// Somebody who can hold a right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Whether a person, a group or a program is meant.
    pub kind: SubjectKind,
    /// Its name. It need not exist yet.
    pub name: SubjectName,
}

/// One grant: a role on a kind of resource, or on one named resource only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleBinding {
    /// What may be done.
    pub role: Role,
    /// With what it may be done.
    pub resource: Resource,
    /// The only one with which it may be done, by name or id. Left out: all of the resource, also those to come. A
    /// grant with a name never allows `create` nor a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ResourceName>,
}

impl RoleBinding {
    /// Says whether the grant is about things of this kind.
    #[must_use]
    pub fn is_about(&self, kind: Resource) -> bool {
        let reaches_all = self.role == Role::Admin || !kind.must_be_named();
        self.resource == kind || (self.resource == Resource::Any && reaches_all)
    }
}

/// The name of the one resource a binding is about: an LLM, a binding, a subject or a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceName(SubjectName);

impl ResourceName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ResourceName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for ResourceName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl JsonSchema for ResourceName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ResourceName".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SubjectName::json_schema(generator)
    }
}

impl From<ResourceName> for String {
    fn from(name: ResourceName) -> String {
        name.0.into()
    }
}

/// A named set of grants to some subjects: the body of `/api/v1/rbac` and the document `kind: Rbac`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rbac {
    /// Its name, unique among the role bindings. It cannot be changed.
    pub name: SubjectName,
    /// Words by which you find it again, as with `get -l` and `apply --prune -l`. They grant nothing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Who gets the rights. A group's members get them too.
    pub subjects: Vec<Subject>,
    /// Which rights they get. Nobody grants what they do not hold.
    pub role_bindings: Vec<RoleBinding>,
}
