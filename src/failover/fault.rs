//! What a call did instead of answering, in the words of the decision table.

use crate::sabotage;
use mcp_api::{LlmId, Origin};
use std::{fmt, time::Duration};

/// A failed call: what happened, and whether any part of an answer had been handed over by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFailure {
    /// What happened.
    pub fault: Fault,
    /// What had been handed over before.
    pub delivered: Delivered,
    /// The id under which the server knew the LLM, if its answer told. A later verdict must be about the same one.
    pub llm_id: Option<LlmId>,
    /// What a caller must be allowed for such a call, in the words of `auth can-i`: `view audit`. For people only.
    pub needs: Option<Box<str>>,
}

/// Whether the caller has seen a part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// Not one byte of content.
    Nothing,
    /// So many bytes of reasoning, at least one, and nothing of the answer itself.
    Reasoning(u64),
    /// So many bytes, at least one of them of content or of a tool call.
    Content(u64),
}

/// What happened instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The route was told not to ask the central server (`--route local`).
    NotAsked,
    /// No connection, or none that lived until the head of an answer.
    Unreachable {
        /// `host:port`, or the socket.
        target: String,
        /// How.
        how: Unreachable,
    },
    /// Connected, but no content within this time.
    NoContent(Duration),
    /// An answer with a status other than 200.
    Status {
        /// The status.
        status: u16,
        /// What came with it.
        error: RemoteError,
    },
    /// An error event inside a stream that began with 200.
    ErrorEvent {
        /// The event's numeric code, where it has one.
        code: Option<u16>,
        /// Its text.
        message: String,
    },
    /// The bytes ended before the answer was complete.
    Cut(String),
    /// Silence for this long in the middle of an answer.
    Idle(Duration),
    /// The certificate, the name in it or the handshake is wrong.
    Tls(String),
    /// A 200 that is no answer of this protocol.
    Unparsable(String),
    /// The caller's own limit for everything.
    Deadline(Duration),
    /// Standard output is closed: nobody reads any more.
    OutputClosed,
    /// The answer could not be written.
    Output(String),
}

/// How a connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// The name has no address.
    Dns(String),
    /// Nobody listens.
    Refused,
    /// No connection within this time.
    ConnectTimeout(Duration),
    /// Closed or reset before the head of an answer. The request may have been carried out.
    Reset,
    /// Another failure of the network or of a proxy.
    Network(String),
}

/// What an error answer says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteError {
    /// `Mcpd-Error-Origin`. None from a server, or a box before it, that does not speak our protocol.
    pub origin: Option<Origin>,
    /// `Mcpd-Error-Code`, or the body's code.
    pub code: Option<String>,
    /// The body's text.
    pub message: Option<String>,
    /// `Retry-After` in seconds, bounded.
    pub retry_after: Option<u64>,
    /// `Location` of a redirect, which is not followed.
    pub location: Option<String>,
}

/// What is known about the request that failed: may it have been carried out, and billed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrimaryState {
    /// It never left, or was answered with an error.
    NotExecuted,
    /// It may have been carried out although no answer arrived.
    Unknown,
    /// A part of its answer arrived.
    Partial,
}

impl PrimaryState {
    /// The word in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotExecuted => "not_executed",
            Self::Unknown => "unknown",
            Self::Partial => "partial",
        }
    }
}

impl CallFailure {
    /// A failure before any content.
    #[must_use]
    pub fn before_content(fault: Fault) -> Self {
        Self { fault, delivered: Delivered::Nothing, llm_id: None, needs: None }
    }

    /// Says whether a stand-in may be considered at all: the first column of the decision table.
    ///
    /// Once a part of an answer was delivered the failure is final: two models are never spliced.
    #[must_use]
    pub fn may_fail_over(&self) -> bool {
        match self.delivered {
            Delivered::Reasoning(_) | Delivered::Content(_) if !sabotage::SPLICE => false,
            Delivered::Nothing | Delivered::Reasoning(_) | Delivered::Content(_) => {
                self.fault.may_fail_over()
            }
        }
    }

    /// Says whether the request may have been carried out.
    #[must_use]
    pub fn primary_state(&self) -> PrimaryState {
        if let Delivered::Reasoning(_) | Delivered::Content(_) = self.delivered {
            return PrimaryState::Partial;
        }
        match &self.fault {
            Fault::NotAsked | Fault::Tls(_) => PrimaryState::NotExecuted,
            Fault::Unreachable { how, .. } => match how {
                Unreachable::Dns(_) | Unreachable::Refused | Unreachable::ConnectTimeout(_) => {
                    PrimaryState::NotExecuted
                }
                Unreachable::Reset | Unreachable::Network(_) => PrimaryState::Unknown,
            },
            // A gateway that timed out does not know either; every other status is the end of the request.
            Fault::Status { status: 504, .. } => PrimaryState::Unknown,
            Fault::Status { .. } => PrimaryState::NotExecuted,
            Fault::NoContent(_)
            | Fault::ErrorEvent { .. }
            | Fault::Cut(_)
            | Fault::Idle(_)
            | Fault::Unparsable(_)
            | Fault::Deadline(_)
            | Fault::OutputClosed
            | Fault::Output(_) => PrimaryState::Unknown,
        }
    }
}

impl Fault {
    /// One word for documents.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Unreachable { how, .. } => match how {
                Unreachable::Dns(_) => "dns",
                Unreachable::Refused => "refused",
                Unreachable::ConnectTimeout(_) => "connect_timeout",
                Unreachable::Reset => "reset",
                Unreachable::Network(_) => "network",
            },
            Self::NoContent(_) => "no_content",
            Self::Status { .. } => "http",
            Self::ErrorEvent { .. } => "error_event",
            Self::Cut(_) => "cut",
            Self::Idle(_) => "idle",
            Self::Tls(_) => "tls",
            Self::Unparsable(_) => "protocol",
            Self::Deadline(_) => "deadline",
            Self::OutputClosed | Self::Output(_) => "output",
        }
    }

    fn may_fail_over(&self) -> bool {
        match self {
            Self::NotAsked | Self::Unreachable { .. } | Self::NoContent(_) | Self::Cut(_) | Self::Idle(_) => {
                true
            }
            Self::Status { status: 500..=599, .. } => true,
            // The quota of this caller is a decision about this caller; only the upstream's own limit is an outage.
            Self::Status { status: 429, error } => {
                error.origin == Some(Origin::Upstream) || sabotage::PROBE_ON_QUOTA
            }
            Self::Status { .. } => sabotage::PROBE_ON_4XX,
            // An error event with a code that blames the request would be one on every server. One that speaks of a
            // key or a limit comes from the upstream: what mcpd decides about the caller, it says by status.
            Self::ErrorEvent { code, .. } => !code.is_some_and(blames_the_request),
            Self::Tls(_) => sabotage::PROBE_ON_BAD_TLS,
            Self::OutputClosed | Self::Output(_) => sabotage::PROBE_ON_CLOSED_OUTPUT,
            Self::Unparsable(_) | Self::Deadline(_) => false,
        }
    }
}

/// Says whether a status or code means that the request itself is wrong.
fn blames_the_request(code: u16) -> bool {
    matches!(code, 400 | 404..=407 | 409..=428 | 430..=499)
}

impl CallFailure {
    /// Puts it into words; `who` is the server or provider that was called, such as `central`.
    #[must_use]
    pub fn told_of<'a>(&'a self, who: &'a str) -> Told<'a> {
        Told { failure: self, who, after: None }
    }
}

/// A failure in words, with the name of who failed.
pub struct Told<'a> {
    failure: &'a CallFailure,
    who: &'a str,
    after: Option<Duration>,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.failure.delivered, &self.failure.fault) {
            (Delivered::Nothing, _) | (_, Fault::OutputClosed | Fault::Output(_)) => self.fault(f)?,
            (Delivered::Reasoning(bytes) | Delivered::Content(bytes), _) => {
                let of =
                    if let Delivered::Reasoning(_) = self.failure.delivered { " of reasoning" } else { "" };
                write!(f, "the answer broke off after {} bytes{of} (", Thousands(bytes))?;
                self.fault(f)?;
                f.write_str(")")?;
            }
        }
        self.after.map_or(Ok(()), |took| write!(f, " after {}", Took(took)))?;
        match &self.failure.fault {
            Fault::Status { error: RemoteError { retry_after: Some(seconds), .. }, .. } => {
                write!(f, "; try again in {seconds} s")
            }
            _ => Ok(()),
        }
    }
}

impl Told<'_> {
    /// Says also how long it took until then.
    #[must_use]
    pub fn after(self, took: Duration) -> Self {
        Self { after: Some(took), ..self }
    }

    fn fault(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who;
        match &self.failure.fault {
            Fault::NotAsked => write!(f, "{who} was not asked (--route local)"),
            Fault::Unreachable { target, how } => write!(f, "cannot reach {target}: {how}"),
            Fault::NoContent(limit) => write!(f, "{who} sent no content within {}", Seconds(*limit)),
            Fault::Status { status, error } => write!(f, "{who} answered {status}{error}"),
            Fault::ErrorEvent { message, .. } => write!(f, "{who} reported an error: {message}"),
            Fault::Cut(how) => write!(f, "{how} by {who}"),
            Fault::Idle(limit) => write!(f, "{who} sent nothing for {}", Seconds(*limit)),
            Fault::Tls(what) => write!(f, "cannot trust {who}: {what}"),
            Fault::Unparsable(what) => write!(f, "{who} sent no answer of this protocol: {what}"),
            Fault::Deadline(limit) => write!(f, "--timeout {} is over", Seconds(*limit)),
            Fault::OutputClosed => f.write_str("standard output is closed"),
            Fault::Output(what) => write!(f, "cannot write the answer: {what}"),
        }
    }
}

/// Codes whose message says what is wrong with the request.
const SPEAKS_OF_THE_REQUEST: &[&str] =
    &["invalid", "upstream_rejected", "too_large", "conflict", "forbidden", "precondition_failed"];

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Our own server's code is the shorter truth, unless it is the request that is wrong, or more than it may be: then
        // details matter.
        let by_us = self.origin.is_some_and(|origin| origin != Origin::Quota)
            && self.code.as_deref().is_some_and(|code| !SPEAKS_OF_THE_REQUEST.contains(&code));
        match (&self.message, &self.code) {
            (Some(message), _) if !by_us => write!(f, " ({})", message.trim_end_matches('.'))?,
            (_, Some(code)) => write!(f, " ({})", code.replace('_', " "))?,
            (_, None) => {}
        }
        if let Some(location) = &self.location {
            write!(f, ", a redirect to {location} that is not followed")?;
        }
        Ok(())
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(what) => write!(f, "no address ({what})"),
            Self::Refused => f.write_str("connection refused"),
            Self::ConnectTimeout(limit) => write!(f, "no connection within {}", Seconds(*limit)),
            Self::Reset => f.write_str("connection closed before an answer"),
            Self::Network(what) => f.write_str(what),
        }
    }
}

/// A duration for people: `0.4 s`, `3 s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_millis() == 0 {
            write!(f, "{} s", self.0.as_secs())
        } else {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        }
    }
}

/// A time that was measured: `402 ms`, `1.3 s`.
struct Took(Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            millis @ 0..1000 => write!(f, "{millis} ms"),
            _ => write!(f, "{:.1} s", self.0.as_secs_f64()),
        }
    }
}

/// A number for people: `1,031`.
struct Thousands(u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (i, digit) in digits.char_indices() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}
