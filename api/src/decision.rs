//! The headers by which the server says what it decided about one LLM, and the client asks for it.
//!
//! `Mcpd-Probe: run; nonce=5f1c…` is answered by
//! `Mcpd-Decision: allow; llm=chat-prod; id=c…; verbs=view,run; nonce=5f1c…` and `Mcpd-Failover: allowed`.
//! The nonce shows that the answer was made for this very question and is no copy from a cache.

use crate::{LlmId, LlmName, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest value that is looked at, in bytes. Anything longer is malformed.
const VALUE_MAX: usize = 512;

/// A random text that makes one probe unlike all others: 16 to 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// Makes a nonce of 128 random bits. The randomness comes from the caller.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(crate::hex(&bytes))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Nonce {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex && (16..=64).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(Malformed) }
    }
}

/// A header value that does not follow its grammar. What it said is not repeated: it came from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed header value")
    }
}

impl std::error::Error for Malformed {}

/// The value of `Mcpd-Probe`: "decide as if I wanted to run it".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeRequest {
    /// To be echoed.
    pub nonce: Nonce,
}

impl fmt::Display for ProbeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run; nonce={}", self.nonce)
    }
}

impl FromStr for ProbeRequest {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut fields = Fields::parse(text)?;
        if fields.head != "run" {
            return Err(Malformed);
        }
        let nonce = fields.take("nonce").ok_or(Malformed)?.parse()?;
        fields.finish()?;
        Ok(Self { nonce })
    }
}

/// The value of `Mcpd-Decision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The caller may do what was asked.
    Allow {
        /// The LLM's name.
        llm: LlmName,
        /// The LLM's id.
        id: LlmId,
        /// Everything the caller may do with this LLM.
        verbs: Vec<Verb>,
        /// The nonce of the probe, if it was one.
        nonce: Option<Nonce>,
    },
    /// The caller may not. Says nothing about whether such an LLM exists.
    Deny {
        /// The nonce of the probe, if it was one.
        nonce: Option<Nonce>,
    },
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nonce = match self {
            Self::Allow { llm, id, verbs, nonce } => {
                write!(f, "allow; llm={llm}; id={id}; verbs=")?;
                for (i, verb) in verbs.iter().enumerate() {
                    write!(f, "{}{verb}", if i == 0 { "" } else { "," })?;
                }
                nonce
            }
            Self::Deny { nonce } => {
                f.write_str("deny")?;
                nonce
            }
        };
        nonce.as_ref().map_or(Ok(()), |nonce| write!(f, "; nonce={nonce}"))
    }
}

impl FromStr for Decision {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut fields = Fields::parse(text)?;
        let nonce = fields.take("nonce").map(str::parse).transpose()?;
        let decision = match fields.head {
            "allow" => Self::Allow {
                llm: fields.take("llm").and_then(|t| t.parse().ok()).ok_or(Malformed)?,
                id: fields.take("id").and_then(|t| t.parse().ok()).ok_or(Malformed)?,
                verbs: parse_verbs(fields.take("verbs").ok_or(Malformed)?)?,
                nonce,
            },
            "deny" => Self::Deny { nonce },
            _ => return Err(Malformed),
        };
        fields.finish()?;
        Ok(decision)
    }
}

fn parse_verbs(text: &str) -> Result<Vec<Verb>, Malformed> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|verb| verb.parse().map_err(|_| Malformed)).collect()
}

/// The value of `Mcpd-Failover`, and the field `failover` of an LLM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailoverPolicy {
    /// A local provider may stand in.
    #[default]
    Allowed,
    /// No local provider may stand in, whoever asks.
    Forbidden,
}

impl fmt::Display for FailoverPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Allowed => "allowed",
            Self::Forbidden => "forbidden",
        })
    }
}

impl FromStr for FailoverPolicy {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        match text {
            "allowed" => Ok(Self::Allowed),
            "forbidden" => Ok(Self::Forbidden),
            _ => Err(Malformed),
        }
    }
}

/// `head; key=value; key=value`, each key once.
struct Fields<'a> {
    head: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Result<Self, Malformed> {
        if text.len() > VALUE_MAX || !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(Malformed);
        }
        let mut parts = text.split(';').map(str::trim);
        let head = parts.next().ok_or(Malformed)?;
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for part in parts {
            let (key, value) = part.split_once('=').ok_or(Malformed)?;
            if pairs.iter().any(|(seen, _)| *seen == key) {
                return Err(Malformed);
            }
            pairs.push((key, value));
        }
        Ok(Self { head, pairs })
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let at = self.pairs.iter().position(|(k, _)| *k == key)?;
        Some(self.pairs.swap_remove(at).1)
    }

    /// Nothing may be left: a field we do not know could change the meaning of those we do.
    fn finish(self) -> Result<(), Malformed> {
        if self.pairs.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests;
