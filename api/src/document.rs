//! The documents of `mcpctl apply`: the bodies of the API with a `kind`.

use crate::{LlmSpec, Rbac, Subject, SubjectKind, SubjectName, identity::SubjectSpec};
use serde::{Deserialize, Serialize};

/// The only value of `apiVersion`.
pub const API_VERSION: &str = "mcpctl/v1";

/// One document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Document {
    /// An LLM.
    Llm(LlmSpec),
    /// A set of grants.
    Rbac(Rbac),
    /// A person.
    User(Named),
    /// A program.
    ServiceAccount(Named),
    /// Several of them.
    Group(GroupSpec),
}

/// A document that is a name and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The name.
    pub name: SubjectName,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// The name.
    pub name: SubjectName,
    /// Users and service accounts that belong to it.
    #[serde(default)]
    pub members: Vec<Subject>,
}

impl Document {
    /// The kind, as it is written.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Llm(_) => "Llm",
            Self::Rbac(_) => "Rbac",
            Self::User(_) => "User",
            Self::ServiceAccount(_) => "ServiceAccount",
            Self::Group(_) => "Group",
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

    /// The body for `/api/v1/users`, if it describes a subject.
    #[must_use]
    pub fn subject(&self) -> Option<SubjectSpec> {
        let (kind, name, members) = match self {
            Self::Llm(_) | Self::Rbac(_) => return None,
            Self::User(named) => (SubjectKind::User, &named.name, Vec::new()),
            Self::ServiceAccount(named) => (SubjectKind::ServiceAccount, &named.name, Vec::new()),
            Self::Group(group) => (SubjectKind::Group, &group.name, group.members.clone()),
        };
        Some(SubjectSpec { kind, name: name.clone(), members })
    }
}
