//! What a client tells the server after a local provider was asked in its place: `POST /api/v1/failover-reports`.
//!
//! The fields are texts that the server looks at one report at a time: one that it cannot take is named in the answer
//! and does not hold up the others. Never holds a prompt or an answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The most reports of one request.
pub const REPORTS_MAX: usize = 100;

/// The field for which a report is rejected that is not the caller's: whoever it is of may still deliver it.
pub const TOKEN_ID: &str = "tokenId";

/// Stands before the colon where [`owner`] says whose a report is. No issuer is called so.
pub const OWNER: &str = "jwt";

/// Whose a report is that was permitted by the word of an issuer: in place of a token's id. It is the same for each of
/// their tokens, and does not say who they are.
#[must_use]
pub fn owner(issuer: &str, subject: &str) -> String {
    // With its length before it, no part of one text can be taken for a part of the other.
    let hash = Sha256::digest(format!("{}:{issuer}{subject}", issuer.len()));
    format!("{OWNER}:{}", crate::hex(&hash[..16]))
}

/// The body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailoverReports {
    /// At most [`REPORTS_MAX`].
    pub reports: Vec<FailoverReport>,
}

/// One failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailoverReport {
    /// Chosen by the client, 32 random lower-case hexadecimal digits: a report that is sent twice counts once.
    pub id: String,
    /// When the prompt went to the provider, by the client's clock: RFC 3339, UTC.
    pub at: String,
    /// The LLM that was asked for.
    pub llm: String,
    /// Its id, if the server told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_id: Option<String>,
    /// What the server did instead of answering, such as `refused` or `http_502`; `drill` if it was not asked.
    pub reason: String,
    /// The provider's name.
    pub provider: String,
    /// Its type.
    pub provider_type: String,
    /// The model that it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How it ended: `complete`, `incomplete` or `failed`.
    pub outcome: String,
    /// From the prompt to the end, in milliseconds.
    pub duration_ms: u64,
    /// The `x-request-id` of the call and of the probe that permitted this.
    pub request_id: String,
    /// The public part of the token that this was permitted with, or the [`owner`] of a JWT: a report that is delivered
    /// later is of whoever that belongs to, and of nobody else. One that comes with a JWT must have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The provider answered.
    Complete,
    /// The answer began and was cut, or nobody knows how it ended.
    Incomplete,
    /// There was no answer.
    Failed,
}

impl Outcome {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }

    /// The outcome that a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Complete, Self::Incomplete, Self::Failed].into_iter().find(|it| it.as_str() == word)
    }
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailoverReceipt {
    /// Ids of the reports that are in the audit trail now, also of those that were before.
    pub accepted: Vec<String>,
    /// Reports that will never be taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejected>,
}

/// A report that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// Its id.
    pub id: String,
    /// The field that cannot be taken.
    pub field: String,
}
