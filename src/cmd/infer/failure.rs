//! A question without an answer: why it ended, and what a document says about it.

use super::{record::Record, schema::Mismatch};
use crate::{
    cmd::start_progress::end_of_log,
    exit::Exit,
    failover::{CallFailure, Delivered, Fault, GaveUp, NoStandIn, Why},
    provider::LendError,
};
use mcp_api::{ErrorCode, LlmKey};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// A question without an answer.
#[derive(Debug)]
pub struct InferFailure {
    pub(super) reason: Reason,
    pub(super) about: About,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Reason {
    /// The server failed and nothing took over.
    GaveUp(GaveUp),
    /// The server failed, and so did the provider that was permitted; carries both.
    StandIn { cause: CallFailure, provider: String, how: StandInFailure },
    /// The answer is complete, and not what was asked for.
    Unfit(Unfit),
}

/// How a permitted provider failed.
#[derive(Debug)]
pub(super) enum StandInFailure {
    NotLent { why: String, lines: Vec<String> },
    Call(CallFailure),
}

/// Why a complete answer is of no use.
///
/// The exit is that of a cut one, since the same is to be done: do not use it, run the command again. The request is
/// not wrong (9), and the server and whoever answered work (7).
#[derive(Debug)]
pub(super) enum Unfit {
    /// The model was not done, and this flag wants it to be.
    NotStopped { reason: String, flag: &'static str },
    /// `--schema`, and it is something else.
    Mismatch(Mismatch),
}

/// The question, and what else is known when it has failed.
#[derive(Debug, Default)]
pub(super) struct About {
    /// What was asked for.
    pub(super) llm: Option<LlmKey>,
    /// The `x-request-id` of this run.
    pub(super) request_id: String,
    /// What was tried.
    pub(super) records: Vec<Record>,
    /// What came of the answer, where it was kept for a document.
    pub(super) partial: Option<String>,
    /// Nothing of it has been written.
    pub(super) withheld: bool,
    /// Who the server says is asking.
    pub(super) user: Option<String>,
    /// The LLM that was most likely meant.
    pub(super) meant: Option<String>,
}

impl From<GaveUp> for InferFailure {
    fn from(gave_up: GaveUp) -> Self {
        Self::new(Reason::GaveUp(gave_up))
    }
}

impl From<Unfit> for InferFailure {
    fn from(unfit: Unfit) -> Self {
        Self::new(Reason::Unfit(unfit))
    }
}

impl InferFailure {
    fn new(reason: Reason) -> Self {
        Self { reason, about: About::default() }
    }

    /// The permitted provider was asked and failed too.
    pub(super) fn stand_in(cause: CallFailure, provider: &str, failure: CallFailure) -> Self {
        let how = StandInFailure::Call(failure);
        Self::new(Reason::StandIn { cause, provider: provider.to_owned(), how })
    }

    /// The permitted provider could not be asked.
    pub(super) fn not_lent(cause: CallFailure, provider: &str, error: &LendError) -> Self {
        let lines = match error {
            LendError::Engine(engine) => end_of_log(engine, provider),
            _ => Vec::new(),
        };
        let how = StandInFailure::NotLent { why: error.to_string(), lines };
        Self::new(Reason::StandIn { cause, provider: provider.to_owned(), how })
    }

    /// Adds what a message and a document about it need.
    #[must_use]
    pub(super) fn about(self, about: About) -> Self {
        Self { about, ..self }
    }

    /// The exit code's name.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match &self.reason {
            Reason::GaveUp(gave_up) => Exit::of_gave_up(gave_up),
            Reason::Unfit(Unfit::NotStopped { .. } | Unfit::Mismatch(_)) => Exit::Incomplete,
            Reason::StandIn { how: StandInFailure::NotLent { .. }, .. } => Exit::Unavailable,
            Reason::StandIn { how: StandInFailure::Call(failure), .. } => match Exit::of_failure(failure) {
                exit @ (Exit::Incomplete | Exit::OutputClosed | Exit::Internal) => exit,
                // What a provider says of a request or a key is no word of the server's.
                _ => Exit::Unavailable,
            },
        }
    }

    /// What the server did, and why nobody was asked in its place; none if somebody was, or nobody had to.
    #[must_use]
    pub fn gave_up(&self) -> Option<&GaveUp> {
        match &self.reason {
            Reason::GaveUp(gave_up) => Some(gave_up),
            Reason::StandIn { .. } | Reason::Unfit(_) => None,
        }
    }

    /// A part of an answer was handed over before.
    #[must_use]
    pub(super) fn was_cut(&self) -> bool {
        match &self.reason {
            Reason::GaveUp(GaveUp { cause: failure, .. })
            | Reason::StandIn { how: StandInFailure::Call(failure), .. } => is_cut(failure),
            Reason::StandIn { how: StandInFailure::NotLent { .. }, .. } => false,
            Reason::Unfit(_) => true,
        }
    }

    /// The code by which mcpd itself, and no box before it, has refused the question for good.
    pub(super) fn refusal(&self) -> Option<ErrorCode> {
        let Reason::GaveUp(GaveUp { cause, why: Why::Final }) = &self.reason else { return None };
        match &cause.fault {
            Fault::Status { status: 403 | 404, error } if error.origin.is_some() => {
                error.code.as_deref().and_then(ErrorCode::from_word)
            }
            _ => None,
        }
    }

    /// What a document has beside the message.
    #[must_use]
    pub(crate) fn detail(&self) -> FailureDetail<'_> {
        FailureDetail {
            llm: self.about.llm.as_ref().map(LlmKey::as_str),
            attempts: &self.about.records,
            request_id: &self.about.request_id,
            partial_content: self.about.partial.as_deref(),
        }
    }
}

/// What the document of an error has beside the message if a question went without an answer.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailureDetail<'a> {
    /// The LLM, as it was asked for.
    llm: Option<&'a str>,
    /// What was tried, in order.
    attempts: &'a [Record],
    /// The `x-request-id` of all calls of this run.
    request_id: &'a str,
    /// What came of the answer before it broke off, or all of one that is not what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    partial_content: Option<&'a str>,
}

pub(super) fn is_cut(failure: &CallFailure) -> bool {
    failure.delivered != Delivered::Nothing
}

impl fmt::Display for StandInFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLent { why, .. } => f.write_str(why),
            Self::Call(failure) => failure.told_of("it").fmt(f),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStopped { reason, .. } => {
                let what =
                    if reason == "length" { "the answer is truncated" } else { "the model was not done" };
                write!(f, "{what} (finish_reason: {reason})")
            }
            Self::Mismatch(mismatch) => mismatch.fmt(f),
        }
    }
}

impl fmt::Display for InferFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::GaveUp(GaveUp { cause, why }) => match (&cause.fault, why, &self.about.llm) {
                (Fault::Status { status: 403, error }, _, Some(llm))
                    if error.code.as_deref() != Some(ErrorCode::LlmDisabled.as_str()) =>
                {
                    write!(f, "you are not allowed to run LLM \"{llm}\" (403)")
                }
                (_, Why::NoStandIn(none @ NoStandIn::RouteCentral), _) => {
                    write!(f, "{}, and {none}", cause.told_of("central"))
                }
                _ => cause.told_of("central").fmt(f),
            },
            Reason::StandIn { provider, how: StandInFailure::Call(failure), .. } if is_cut(failure) => {
                failure.told_of(&format!("provider \"{provider}\"")).fmt(f)
            }
            Reason::StandIn { cause, .. } => cause.told_of("central").fmt(f),
            Reason::Unfit(unfit) => unfit.fmt(f),
        }
    }
}

impl std::error::Error for InferFailure {}
