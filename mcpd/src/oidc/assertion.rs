//! What a signed token says of its holder: held against what is expected of its issuer, and put into names of ours. Has no
//! clock: whether a token counts now is [`Assertion::is_valid`], asked with the time of the request.

use super::{
    claims::find,
    jwt::Signed,
    names::{Space, name},
    settings::{Expected, GroupRule, Issuer},
};
use jiff::{SignedDuration, Timestamp};
use mcp_api::{Subject, failover_report::owner};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The longest `jti` that stands in the audit trail as it is.
const JTI_MAX: usize = 64;

/// Why a token with a good signature is not taken. Says which claim, never what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("its audience is another one")]
    Audience,
    #[error("its claim {0:?} is not there, or not of the type that it should have")]
    Claim(String),
    #[error("its claim {0:?} has another value than is required")]
    Required(String),
    #[error("its claim {0:?} fits into no name, or into one of another issuer")]
    Name(String),
}

/// Somebody whom an issuer vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assertion {
    pub(crate) subject: Subject,
    /// The groups that the issuer says they are in.
    pub(crate) groups: BTreeSet<Subject>,
    /// Tells this token from others: the issuer's name with us and the `jti`, or what stands for one.
    pub(crate) id: String,
    /// The claim `exp`.
    pub(crate) expires_at: Timestamp,
    /// Its subject has to be registered here.
    pub(crate) needs_registered: bool,
    /// For how long a token may last that is made with it.
    pub(crate) token_max: SignedDuration,
    /// Whose the reports are that were permitted by it, if it says whose it is.
    pub(crate) owner: Option<String>,
    begins: Timestamp,
    ends: Timestamp,
}

impl Assertion {
    /// Reads what is said under the rules of its issuer. `spaces` are the names of all issuers.
    pub(super) fn read(signed: &Signed, issuer: &Issuer, spaces: &[Space]) -> Result<Self, Unfit> {
        let Signed { claims, digest } = signed;
        let skew = SignedDuration::from_secs(issuer.clock_skew_seconds.into());
        if !texts(claims.get("aud")).iter().any(|aud| issuer.audiences.iter().any(|ours| ours == aud)) {
            return Err(Unfit::Audience);
        }
        for (claim, expected) in &issuer.require {
            if !meets(find(claims, claim), expected) {
                return Err(Unfit::Required(claim.clone()));
            }
        }
        let expires_at = time(claims, "exp")?.ok_or_else(|| Unfit::Claim("exp".into()))?;
        let begins = time(claims, "nbf")?.max(time(claims, "iat")?);
        Ok(Self {
            subject: subject(claims, issuer, spaces)?,
            groups: issuer.groups.iter().flat_map(|rule| groups(claims, issuer, rule, spaces)).collect(),
            id: format!("{}:{}", issuer.name, identifier(claims, digest)),
            expires_at,
            needs_registered: issuer.needs_registered(),
            token_max: SignedDuration::from_secs(issuer.token_max_seconds.try_into().unwrap_or(i64::MAX)),
            owner: claims.get("sub").and_then(Value::as_str).map(|sub| owner(&issuer.url, sub)),
            begins: begins.map_or(Timestamp::MIN, |begins| begins.saturating_sub(skew).unwrap_or(begins)),
            ends: expires_at.saturating_add(skew).unwrap_or(expires_at),
        })
    }

    /// Says whether it counts at a time. The clock of the issuer may differ from ours by as much as is allowed.
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        self.begins <= now && now < self.ends
    }

    /// Itself, and the groups that it is in.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        std::iter::once(&self.subject).chain(&self.groups)
    }
}

fn subject(claims: &Map<String, Value>, issuer: &Issuer, spaces: &[Space]) -> Result<Subject, Unfit> {
    let rule = &issuer.subject;
    let value = find(claims, &rule.claim).and_then(Value::as_str);
    let value = value.ok_or_else(|| Unfit::Claim(rule.claim.clone()))?;
    let value = value.strip_prefix(&*rule.strip).ok_or_else(|| Unfit::Required(rule.claim.clone()))?;
    let space = issuer.subject_space();
    named(&space, value, spaces).ok_or_else(|| Unfit::Name(rule.claim.clone()))
}

/// Rights only add up, so a group that has no name here is left out.
fn groups(
    claims: &Map<String, Value>,
    issuer: &Issuer,
    rule: &GroupRule,
    spaces: &[Space],
) -> impl Iterator<Item = Subject> {
    let space = issuer.group_space(rule);
    texts(find(claims, &rule.claim)).into_iter().filter_map(move |value| named(&space, value, spaces))
}

fn named(space: &Space, value: &str, spaces: &[Space]) -> Option<Subject> {
    let name = name(&space.prefix, value).ok()?;
    (!space.loses(&name, spaces)).then_some(Subject { kind: space.kind, name })
}

/// A text, or the texts of a list: a list with something else in it has none.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().map(Value::as_str).collect::<Option<_>>().unwrap_or_default(),
        Some(_) | None => Vec::new(),
    }
}

fn meets(value: Option<&Value>, expected: &Expected) -> bool {
    let is_expected = |value: &Value| expected.values().contains(value);
    match value {
        Some(Value::Array(list)) => list.iter().any(is_expected),
        Some(value) => is_expected(value),
        None => false,
    }
}

/// A time in seconds since 1970, which may have a fraction. One of another type is an error, never an absent one.
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<Timestamp>, Unfit> {
    let wrong = || Unfit::Claim(claim.to_owned());
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = value.as_f64().ok_or_else(wrong)?;
    let seconds = SignedDuration::try_from_secs_f64(seconds.floor()).map_err(|_| wrong())?;
    Timestamp::from_second(seconds.as_secs()).map(Some).map_err(|_| wrong())
}

/// The `jti`, if it is fit for a log, else the beginning of a hash of the token.
fn identifier(claims: &Map<String, Value>, digest: &[u8; 32]) -> String {
    let is_plain = |text: &&str| {
        (1..=JTI_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    let jti = claims.get("jti").and_then(Value::as_str).filter(is_plain);
    jti.map_or_else(|| mcp_api::hex(&digest[..16]), str::to_owned)
}

#[cfg(test)]
mod tests;
