//! What the server's answer to a probe proves.

use super::Why;
use crate::sabotage;
use mcp_api::{Decision, FailoverPolicy, LlmId, LlmKey, Nonce, Verb};
use std::fmt;

/// What was asked, to compare the answer with.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The LLM, as the caller named it.
    pub llm: LlmKey,
    /// The nonce of this very probe.
    pub nonce: Nonce,
    /// The id under which the failed primary knew the LLM, if it told.
    pub id: Option<LlmId>,
    /// This server has sent `Mcpd-Decision` before, so its absence now is not an older server.
    pub decision_required: bool,
}

/// What came back: the raw facts, each header with all its values.
#[derive(Debug, Clone, Default)]
pub struct ProbeReply {
    /// The status, whatever it is.
    pub status: u16,
    /// Values of `Mcpd-Decision`.
    pub decision: Vec<String>,
    /// Values of `Mcpd-Failover`.
    pub failover: Vec<String>,
    /// Values of `Content-Type`.
    pub content_type: Vec<String>,
}

/// Whether the caller may still use the LLM. Only [`Verdict::judge`] can make it an allowed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict(Result<(), Why>);

/// How the server said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// By this status: 401, 403 or 404.
    Status(u16),
    /// By `Mcpd-Decision: deny`.
    Decision,
    /// The caller may view the LLM, not run it.
    NotRun,
    /// The administrator forbids failovers of this LLM.
    FailoverForbidden,
}

/// Why an answer, or none, proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// The server did not answer; carries how.
    NoAnswer(String),
    /// Another status than 200, 401, 403 and 404.
    Status(u16),
    /// A web page: somebody else answered in the server's place.
    Html,
    /// A decision header that does not follow its grammar, or comes twice.
    Malformed,
    /// The server has sent the decision header before and does not now.
    NoDecision,
    /// The nonce is missing or another one: a copy of an older answer.
    WrongNonce,
    /// The decision is about another LLM.
    OtherLlm,
}

impl Verdict {
    /// Judges an answer. Everything that is not a clear yes is a no.
    #[must_use]
    pub fn judge(asked: &Asked, reply: &ProbeReply) -> Self {
        Self(judge(asked, reply))
    }

    /// The server could not be asked.
    #[must_use]
    pub fn no_answer(how: impl Into<String>) -> Self {
        if sabotage::UNVERIFIED_IS_YES {
            return Self(Ok(()));
        }
        Self(Err(Why::Unverified(Doubt::NoAnswer(how.into()))))
    }

    /// Yes, or why not.
    pub fn outcome(&self) -> Result<(), &Why> {
        match &self.0 {
            Ok(()) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// Yes, or why not.
    pub(super) fn into_outcome(self) -> Result<(), Why> {
        self.0
    }

    /// One word for documents: `allowed`, `denied` or `unknown`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.0 {
            Ok(()) => "allowed",
            Err(Why::Denied(_)) => "denied",
            Err(Why::Unverified(_) | Why::Final | Why::NoStandIn(_)) => "unknown",
        }
    }
}

fn judge(asked: &Asked, reply: &ProbeReply) -> Result<(), Why> {
    let denied = |denial| Err(Why::Denied(denial));
    let doubt = |doubt| Err(Why::Unverified(doubt));

    match reply.status {
        200 => {}
        201..=299 if sabotage::ACCEPT_ANY_2XX => {}
        401 | 403 | 404 => return denied(Denial::Status(reply.status)),
        other => return doubt(Doubt::Status(other)),
    }
    if !sabotage::HTML_IS_YES && reply.content_type.iter().any(|value| is_html(value)) {
        return doubt(Doubt::Html);
    }
    match parsed::<FailoverPolicy>(&reply.failover) {
        Err(Twisted) => return doubt(Doubt::Malformed),
        Ok(Some(FailoverPolicy::Forbidden)) if !sabotage::IGNORE_POLICY => {
            return denied(Denial::FailoverForbidden);
        }
        Ok(Some(FailoverPolicy::Allowed | FailoverPolicy::Forbidden) | None) => {}
    }
    match parsed::<Decision>(&reply.decision) {
        Err(Twisted) => doubt(Doubt::Malformed),
        Ok(None) if asked.decision_required && !sabotage::BARE_YES => doubt(Doubt::NoDecision),
        Ok(None) => Ok(()),
        Ok(Some(Decision::Deny { .. })) => denied(Denial::Decision),
        Ok(Some(Decision::Allow { llm, id, verbs, nonce })) => {
            let is_same = match &asked.llm {
                LlmKey::Id(asked) => *asked == id,
                LlmKey::Name(asked) => *asked == llm,
            } && asked.id.as_ref().is_none_or(|known| *known == id);
            if nonce.as_ref() != Some(&asked.nonce) && !sabotage::IGNORE_NONCE {
                doubt(Doubt::WrongNonce)
            } else if !is_same && !sabotage::OTHER_LLM {
                doubt(Doubt::OtherLlm)
            } else if !verbs.contains(&Verb::Run) && !sabotage::VIEW_IS_ENOUGH {
                denied(Denial::NotRun)
            } else {
                Ok(())
            }
        }
    }
}

fn is_html(content_type: &str) -> bool {
    // As generous as browsers are: those who put a page in the server's place do not always write the header well.
    let text = content_type.trim_ascii().to_ascii_lowercase();
    ["text/html", "application/xhtml"].iter().any(|page| text.starts_with(page))
}

struct Twisted;

/// One well-formed value, or none at all.
fn parsed<T: std::str::FromStr>(values: &[String]) -> Result<Option<T>, Twisted> {
    match values {
        [] => Ok(None),
        [value] => value.parse().map(Some).map_err(|_| Twisted),
        [_, _, ..] => Err(Twisted),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(()) => f.write_str("allowed"),
            Err(Why::Denied(denial)) => write!(f, "denied: {denial}"),
            Err(Why::Unverified(doubt)) => write!(f, "unknown: {doubt}"),
            Err(Why::Final | Why::NoStandIn(_)) => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(401) => f.write_str("the server does not accept the credential (401)"),
            Self::Status(404) => f.write_str("the server has no such LLM (404)"),
            Self::Status(status) => write!(f, "run is not granted ({status})"),
            Self::Decision => f.write_str("run is not granted"),
            Self::NotRun => f.write_str("view is granted, run is not"),
            Self::FailoverForbidden => f.write_str("the administrator forbids failovers of this LLM"),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(how) => f.write_str(how),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Html => f.write_str("answered with a web page"),
            Self::Malformed => f.write_str("answered with a malformed decision"),
            Self::NoDecision => {
                f.write_str("answered without the decision that this server is known to send")
            }
            Self::WrongNonce => f.write_str("answered with a copy of an older decision"),
            Self::OtherLlm => f.write_str("answered about another LLM"),
        }
    }
}
