//! How long an LLM's upstream may take, and how much may be asked of it at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// How long the upstream may take, where it is not as long as for all LLMs of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Timeouts {
    /// For a connection, with TLS: to one node, before another one is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_seconds: Option<NonZeroU32>,
    /// Until an answer begins, on all nodes that are tried together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_seconds: Option<NonZeroU32>,
    /// Without a byte within an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<NonZeroU32>,
}

/// How much may be asked of an LLM. More is a 429 of origin `quota`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Limits {
    /// Requests at the same time, of all callers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<NonZeroU32>,
    /// Requests in a minute, of all callers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// The same for each token.
    #[serde(default, skip_serializing_if = "TokenLimits::is_none")]
    pub per_token: TokenLimits,
}

/// How much may be asked of an LLM with one token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TokenLimits {
    /// Requests at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<NonZeroU32>,
    /// Requests in a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
}

impl Timeouts {
    /// Says whether the server's own hold.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Limits {
    /// Says whether there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl TokenLimits {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "this is how serde calls it")]
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
