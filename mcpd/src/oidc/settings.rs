//! Which issuers are believed, as the configuration file says it under `oidc`, and what is wrong with that.

use super::{claims, names::Space};
use mcp_api::{SubjectKind, failover_report};
use serde::{Deserialize, de::Error as _};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use url::{Host, Url};

/// The longest name of an issuer.
const NAME_MAX: usize = 32;

/// What is wrong with an issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("oidc: {issuer}: {what}")]
pub(crate) struct BadIssuer {
    issuer: String,
    what: String,
}

/// One issuer of JWTs that are taken as tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Issuer {
    /// Our name for it, `[a-z0-9][a-z0-9-]{0,31}`: stands in the audit trail and, by default, before its subjects' names.
    pub(crate) name: String,
    /// The claim `iss`, letter by letter.
    #[serde(rename = "issuer")]
    pub(crate) url: String,
    /// The claim `aud`: one of these has to be in it.
    pub(crate) audiences: Vec<String>,
    /// Where its keys are; without it the issuer is asked, at `/.well-known/openid-configuration`.
    #[serde(default)]
    pub(crate) jwks_url: Option<String>,
    /// Authorities that its certificate may come from, as PEM; without it those of this system.
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    /// A token that is shown to fetch the keys, read each time. Only together with `jwksUrl`, and only for that.
    #[serde(default)]
    pub(crate) bearer_file: Option<PathBuf>,
    /// Who it is.
    #[serde(default)]
    pub(crate) subject: SubjectRule,
    /// Which groups they are in.
    #[serde(default, deserialize_with = "one_or_many")]
    pub(crate) groups: Vec<GroupRule>,
    /// Claims that a token must have, each with one of these values.
    #[serde(default)]
    pub(crate) require: BTreeMap<String, Expected>,
    /// Whether its subjects have to be registered here; without it those have to whose prefix is empty.
    #[serde(default)]
    pub(crate) registered: Option<Registered>,
    /// For how long a token of ours may last that is made with one of its.
    #[serde(default = "thirty_days")]
    pub(crate) token_max_seconds: u64,
    /// By how much its clock may differ from ours.
    #[serde(default = "sixty")]
    pub(crate) clock_skew_seconds: u32,
    /// How its keys are kept.
    #[serde(default)]
    pub(crate) keys: KeySettings,
}

/// Whether who comes by an issuer has to be known here as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Registered {
    /// Whoever is not, or is no longer, is nobody.
    Required,
    /// Bindings are enough.
    Optional,
}

/// From a claim to a user or service account.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SubjectRule {
    /// Which claim. One that begins with `/` is a JSON pointer (RFC 6901).
    #[serde(default = "sub")]
    pub(crate) claim: String,
    /// What they are: `ServiceAccount`, or `User`.
    #[serde(default = "service_account")]
    pub(crate) kind: SubjectKind,
    /// Stands before the name; without it the issuer's name and a dot. An empty one says that its names are ours.
    #[serde(default)]
    pub(crate) prefix: Option<String>,
    /// What the claim has to begin with, and what is left off.
    #[serde(default)]
    pub(crate) strip: String,
}

/// From a claim to groups.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct GroupRule {
    /// Which claim: a text, or a list of texts.
    pub(crate) claim: String,
    /// Stands before the names; without it the issuer's name and a dot. An empty one says that its groups are ours.
    #[serde(default)]
    pub(crate) prefix: Option<String>,
}

/// One value of a claim, or several of which one will do.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Expected {
    /// One of these.
    Any(Vec<Value>),
    /// This one.
    One(Value),
}

impl Expected {
    pub(super) fn values(&self) -> &[Value] {
        match self {
            Self::Any(values) => values,
            Self::One(value) => std::slice::from_ref(value),
        }
    }
}

/// How the keys of an issuer are kept, in seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KeySettings {
    /// For how long keys count without being asked for again, at most; the issuer may say less.
    #[serde(rename = "maxAgeSeconds")]
    max_age: u32,
    /// How long to wait at least between two questions, whatever tokens come.
    #[serde(rename = "minRefreshSeconds")]
    min_refresh: u32,
    /// For how long keys count, since they were last seen, while the issuer does not answer.
    #[serde(rename = "keepSeconds")]
    keep: u32,
}

impl Default for KeySettings {
    fn default() -> Self {
        Self { max_age: 3600, min_refresh: 30, keep: 6 * 3600 }
    }
}

impl KeySettings {
    pub(super) fn max_age(self) -> Duration {
        Duration::from_secs(self.max_age.into())
    }

    pub(super) fn min_refresh(self) -> Duration {
        Duration::from_secs(self.min_refresh.into())
    }

    pub(super) fn keep(self) -> Duration {
        Duration::from_secs(self.keep.into())
    }
}

impl Default for SubjectRule {
    fn default() -> Self {
        Self { claim: sub(), kind: service_account(), prefix: None, strip: String::new() }
    }
}

impl Issuer {
    /// The names that its subjects can have.
    pub(super) fn subject_space(&self) -> Space {
        Space { kind: self.subject.kind, prefix: self.prefix(self.subject.prefix.as_ref()) }
    }

    /// The names that the groups of one rule can have.
    pub(super) fn group_space(&self, rule: &GroupRule) -> Space {
        Space { kind: SubjectKind::Group, prefix: self.prefix(rule.prefix.as_ref()) }
    }

    /// Says whether its subjects have to be registered here. Those that are called like ours are ours: whoever takes
    /// such a user away means all of their logins.
    pub(super) fn needs_registered(&self) -> bool {
        let usual =
            if self.subject_space().prefix.is_empty() { Registered::Required } else { Registered::Optional };
        self.registered.unwrap_or(usual) == Registered::Required
    }

    fn prefix(&self, said: Option<&String>) -> String {
        said.cloned().unwrap_or_else(|| format!("{}.", self.name))
    }

    fn spaces(&self) -> impl Iterator<Item = Space> {
        std::iter::once(self.subject_space()).chain(self.groups.iter().map(|rule| self.group_space(rule)))
    }

    fn fault(&self) -> Option<String> {
        if !is_name(&self.name) {
            return Some(format!("a name has at most {NAME_MAX} letters a to z, digits and '-'"));
        }
        if self.name == failover_report::OWNER {
            return Some("this name stands for all issuers in reports: take another one".into());
        }
        if let Some(fault) = fault_of_url("issuer", &self.url) {
            return Some(fault);
        }
        if let Some(fault) = self.jwks_url.as_ref().and_then(|url| fault_of_url("jwksUrl", url)) {
            return Some(fault);
        }
        if self.bearer_file.is_some() && self.jwks_url.is_none() {
            return Some("bearerFile goes to jwksUrl only, and there is none".into());
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Some("audiences must name at least one, and none of them may be empty".into());
        }
        if self.subject.kind == SubjectKind::Group {
            return Some("subject.kind is ServiceAccount or User".into());
        }
        if let Some(space) = self.spaces().find(|space| !is_prefix(&space.prefix)) {
            return Some(format!("{:?} is no prefix of a name", space.prefix));
        }
        if self.require.values().any(|expected| !is_expectable(expected)) {
            return Some("require has texts, numbers, true and false, or lists of them".into());
        }
        if let Some(fault) = self.fault_of_claims() {
            return Some(fault);
        }
        if self.token_max_seconds == 0 {
            return Some("tokenMaxSeconds is at least 1".into());
        }
        let KeySettings { max_age, min_refresh, keep } = self.keys;
        if max_age == 0 || min_refresh == 0 || keep < max_age {
            return Some("keys: times are at least 1, and keepSeconds at least maxAgeSeconds".into());
        }
        (self.clock_skew_seconds > 600).then(|| "clockSkewSeconds is at most 600".into())
    }

    /// What would let in whoever likes to be, or to be called, somebody.
    fn fault_of_claims(&self) -> Option<String> {
        let requires = |claim: &str| self.require.keys().any(|required| claims::is_same(required, claim));
        if let Some(telling) = claims::telling(&self.url)
            && !telling.iter().any(|claim| requires(claim))
        {
            return Some(format!(
                "anybody can have a token of this issuer: say with `require` whose tokens are meant, by one of {}",
                telling.join(", ")
            ));
        }
        let verified = self.require.iter().any(|(claim, expected)| {
            claims::is_same(claim, "email_verified") && expected.values() == [Value::Bool(true)]
        });
        let groups = self.groups.iter().map(|rule| (&rule.claim, self.group_space(rule)));
        let naming: Vec<_> =
            std::iter::once((&self.subject.claim, self.subject_space())).chain(groups).collect();
        let mut used = naming.iter().map(|(claim, _)| *claim).chain(self.require.keys());
        if !verified && used.any(|claim| claims::is_email(claim)) {
            return Some(
                "whoever chooses their own email chooses who they are: add `require: { email_verified: true }`"
                    .into(),
            );
        }
        let mut ours = naming.iter().filter(|(_, space)| space.prefix.is_empty());
        ours.find(|(claim, _)| claims::is_chosen(claim)).map(|(claim, _)| {
            format!("whoever chooses their own {claim} would choose who they are here: it needs a prefix")
        })
    }
}

/// Says what is wrong with the issuers, alone and together; gives the names that there can be.
pub(super) fn check(issuers: &[Issuer]) -> Result<Vec<Space>, BadIssuer> {
    let mut taken: Vec<Space> = Vec::new();
    for (at, issuer) in issuers.iter().enumerate() {
        let bad = |what: String| BadIssuer { issuer: issuer.name.clone(), what };
        if let Some(what) = issuer.fault() {
            return Err(bad(what));
        }
        let earlier = &issuers[..at];
        if earlier.iter().any(|other| other.name == issuer.name) {
            return Err(bad("the name is there twice".into()));
        }
        if let Some(other) = earlier.iter().find(|other| other.url == issuer.url) {
            return Err(bad(format!("{} is the same issuer", other.name)));
        }
        for space in issuer.spaces() {
            if taken.contains(&space) {
                let Space { kind, prefix } = space;
                return Err(bad(format!(
                    "another {kind} could have its names: {prefix:?} is a prefix twice"
                )));
            }
            taken.push(space);
        }
    }
    Ok(taken)
}

/// An absolute URL over TLS, or of this machine.
fn fault_of_url(what: &str, text: &str) -> Option<String> {
    let Ok(url) = Url::parse(text) else { return Some(format!("{what} is no URL")) };
    if !is_safe(&url) {
        return Some(format!("{what} must be an https URL; http is for this machine only"));
    }
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (!plain).then(|| format!("{what} must not hold a user, a password or a fragment"))
}

/// Says whether nobody on the way can change what comes from there.
pub(super) fn is_safe(url: &Url) -> bool {
    url.host().is_some() && (url.scheme() == "https" || url.scheme() == "http" && is_loopback(url))
}

/// Says whether it is this machine, by what is written there.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn is_name(text: &str) -> bool {
    let fits = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    fits && (1..=NAME_MAX).contains(&text.len()) && !text.starts_with('-')
}

fn is_prefix(text: &str) -> bool {
    text.is_empty() || (text.len() <= 64 && format!("{text}x").parse::<mcp_api::SubjectName>().is_ok())
}

fn is_expectable(expected: &Expected) -> bool {
    let is_scalar = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    !expected.values().is_empty() && expected.values().iter().all(is_scalar)
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<GroupRule>, D::Error> {
    // Not an untagged enum: its errors would not say which key is wrong.
    match Value::deserialize(from)? {
        Value::Array(rules) => {
            rules.into_iter().map(|rule| GroupRule::deserialize(rule).map_err(D::Error::custom)).collect()
        }
        rule => Ok(vec![GroupRule::deserialize(rule).map_err(D::Error::custom)?]),
    }
}

fn sub() -> String {
    "sub".to_owned()
}

fn service_account() -> SubjectKind {
    SubjectKind::ServiceAccount
}

fn thirty_days() -> u64 {
    30 * 24 * 3600
}

fn sixty() -> u32 {
    60
}

#[cfg(test)]
mod tests;
