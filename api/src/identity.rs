//! Who calls, by which token, and what they may do.

use crate::{Labels, Resource, Subject, SubjectName, Verb, rbac::ResourceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer of `GET /api/v1/whoami`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Whoami {
    /// The user or service account that the token belongs to.
    pub subject: Subject,
    /// Its groups, in the order of their names.
    pub groups: Vec<SubjectName>,
    /// The public part of the token.
    pub token_id: String,
    /// RFC 3339, UTC; absent if the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<String>,
}

/// The body of `POST /api/v1/can-i`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CanI {
    /// What.
    pub verb: Verb,
    /// With what.
    pub resource: Resource,
    /// With which one; absent asks for all of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ResourceName>,
}

/// The answer to [`CanI`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CanIAnswer {
    /// Yes or no.
    pub allowed: bool,
    /// The binding that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<SubjectName>,
}

/// The body of `POST /api/v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewToken {
    /// A user or a service account.
    pub subject: Subject,
    /// Lifetime in seconds; absent: does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// The answer to [`NewToken`]: the only time the token is seen.
///
/// `Debug` is left out on purpose: this is the one wire type that carries a live secret.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenCreated {
    /// What can be shown of it.
    #[serde(flatten)]
    pub info: TokenInfo,
    /// `mcpd_<id>_<secret>`.
    pub token: String,
}

/// What can be shown of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    /// The public part.
    pub id: String,
    /// Whose it is.
    pub subject: Subject,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC; absent: does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// RFC 3339, UTC; absent: not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// The answer of `GET` on tokens, subjects and role bindings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Items")]
pub struct Items<T> {
    /// Only what the caller may view.
    pub items: Vec<T>,
}

/// A user, group or service account as the server stores it: the body of `/api/v1/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubjectSpec {
    /// Person, group or program.
    pub kind: crate::SubjectKind,
    /// Its name, unique within the kind.
    pub name: SubjectName,
    /// Of a group only: who belongs to it. Names a user or a service account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Subject>,
    /// Words by which it is found again. They grant nothing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What the server says after a change, and about one thing that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Answer")]
pub struct Answer<T> {
    /// As it is now.
    #[serde(flatten)]
    pub content: T,
    /// After a change only: what whoever made it should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
