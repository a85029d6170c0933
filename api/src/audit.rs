//! The audit trail: who did what, and whether they were allowed. Each entry carries the hash of the one before it, so
//! that a changed, removed or added one is found by everybody who can compute SHA-256.
//!
//! Never holds a prompt, an answer, a token or a key. [`AuditEntry::computed`] says what is hashed; both programs, and
//! whoever checks an exported trail by other means, rely on it staying as it is.

mod chain;
mod words;

pub use chain::{Chain, Flaw};
pub use words::{AuditEvent, AuditVerdict};

use crate::hex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use sha2::{Digest, Sha256};
use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

/// What the first entry follows: 64 zeros.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The most entries that one answer holds.
pub const PAGE_MAX: u32 = 1000;
/// Stands before what is hashed: another encoding would have another word.
const ENCODING: &str = "mcpd-audit-1\n";
/// More than most entries take to be hashed, in bytes.
const HASHED: usize = 768;

/// One entry, as it stands in the trail: words are texts here, so that one that somebody has put a nonsense into can be
/// shown, and found.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its number; the first is 1, and there are no gaps.
    pub seq: u64,
    /// When it happened, by the server's clock: RFC 3339, UTC, always with milliseconds.
    pub at: String,
    /// What kind of thing happened: `change`, `probe`, `inference`, `cut` or `failover`.
    pub event: String,
    /// Who did it. Nobody who logged in, if absent: `mcpd bootstrap` on the server's own machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<AuditSubject>,
    /// The public part of the token that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// What was to be done: a verb of the role model, such as `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// What was changed, as kind and name: `Rbac/data-team`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The name of the LLM; of one that does not exist, what it was asked for by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<String>,
    /// The id of the LLM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_id: Option<String>,
    /// What was decided: `allowed`, `denied`, `disabled` or `absent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// The role binding that allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<String>,
    /// The `x-request-id`, the same in the log and on the caller's side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// More about it: an object of JSON, hashed byte by byte as it is written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub detail: Option<Box<RawValue>>,
    /// The hash of the entry before it; 64 zeros in the first.
    pub prev: String,
    /// SHA-256 in hexadecimal digits, over `mcpd-audit-1` and every field that is there.
    pub hash: String,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditSubject {
    /// What it is: `User` or `ServiceAccount`.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl AuditEntry {
    /// The hash that it should have: SHA-256 in hexadecimal digits, over `mcpd-audit-1` and a line for each field
    /// that is there, in this order, of the form `name:length in bytes:value`. The lengths make it unambiguous.
    #[must_use]
    pub fn computed(&self) -> String {
        let mut hashed = String::with_capacity(HASHED);
        hashed.push_str(ENCODING);
        let mut line = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                hashed.extend([name, ":"]);
                // Writing to a string does not fail.
                let _ = write!(hashed, "{}", value.len());
                hashed.extend([":", value, "\n"]);
            }
        };
        line("prev", Some(&self.prev));
        line("seq", Some(&self.seq.to_string()));
        line("at", Some(&self.at));
        line("event", Some(&self.event));
        line("subject.kind", self.subject.as_ref().map(|subject| &*subject.kind));
        line("subject.name", self.subject.as_ref().map(|subject| &*subject.name));
        line("tokenId", self.token_id.as_deref());
        line("verb", self.verb.as_deref());
        line("object", self.object.as_deref());
        line("llm", self.llm.as_deref());
        line("llmId", self.llm_id.as_deref());
        line("verdict", self.verdict.as_deref());
        line("binding", self.binding.as_deref());
        line("requestId", self.request_id.as_deref());
        line("detail", self.detail.as_ref().map(|detail| detail.get()));
        hex(&Sha256::digest(&hashed))
    }

    /// Where the trail ends if this is its last entry.
    #[must_use]
    pub fn head(&self) -> AuditHead {
        AuditHead { seq: self.seq, hash: self.hash.clone() }
    }
}

/// The answer of `GET /api/v1/audit`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// In the order of their numbers.
    pub items: Vec<AuditEntry>,
    /// What to give as `after` for more; none if this was the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Where a trail ends. Kept elsewhere, it proves later that nothing before it was changed or cut off.
///
/// Written as `seq:hash`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditHead {
    /// The number of the last entry; 0 if there is none.
    pub seq: u64,
    /// Its hash; [`GENESIS`] if there is none.
    pub hash: String,
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// A text that is no [`AuditHead`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoHead;

impl fmt::Display for NoHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected SEQ:HASH, a number and 64 hexadecimal digits, as `mcpctl audit verify` prints it",
        )
    }
}

impl std::error::Error for NoHead {}

impl FromStr for AuditHead {
    type Err = NoHead;
    fn from_str(text: &str) -> Result<Self, NoHead> {
        let (seq, hash) = text.trim().split_once(':').ok_or(NoHead)?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let seq = seq.parse().map_err(|_| NoHead)?;
        if is_hash { Ok(Self { seq, hash: hash.to_owned() }) } else { Err(NoHead) }
    }
}

#[cfg(test)]
mod tests;
