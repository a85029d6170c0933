//! What is written down about one failover, whether it came to a prompt or was refused.

use jiff::Timestamp;
use mcp_api::failover_report::{FailoverReport, Outcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A failover, or one that was refused: a line of `failovers.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Random. The report to the server has the same.
    pub id: String,
    /// When it began, by the clock of this machine: RFC 3339, UTC.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The origin of the server whose place was to be taken.
    pub server: String,
    /// Who asked, as the server calls them; null if it never told this machine.
    pub user: Option<String>,
    /// Who asked, as this machine calls them (`USER`).
    pub login: Option<String>,
    /// The LLM that was asked for.
    pub llm: String,
    /// Its id, if the server told it.
    pub llm_id: Option<String>,
    /// What the server did instead of answering, such as `refused` or `http_502`; `drill` if it was not asked.
    pub reason: String,
    /// What the server said to the question for permission.
    pub verdict: Permission,
    /// The same in words, where it was no yes.
    pub why: Option<String>,
    /// The provider that was to answer; null if none was contacted.
    pub provider: Option<String>,
    /// Its type.
    pub provider_type: Option<String>,
    /// The model that it is asked for.
    pub model: Option<String>,
    /// How it ended.
    pub outcome: Ended,
    /// From the prompt to the end of the answer; of one without a prompt, from the question to the refusal.
    pub duration_ms: u64,
    /// The `x-request-id` of the call and of the question for permission.
    pub request_id: String,
    /// The public part of the token that permission was asked with.
    pub token_id: Option<String>,
}

/// What the server said to the question for permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Yes.
    Allowed,
    /// No.
    Denied,
    /// Nothing that proves anything.
    Unknown,
}

/// How a failover ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The provider answered.
    Ok,
    /// The answer began and was cut, or nobody knows how it ended.
    Incomplete,
    /// The provider was asked and did not answer.
    Failed,
    /// The provider was permitted and could not be asked.
    NotReady,
    /// It was not permitted, and no provider was contacted.
    Refused,
}

impl Permission {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
        }
    }
}

impl Ended {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::NotReady => "not_ready",
            Self::Refused => "refused",
        }
    }

    /// The word of a report; none of what a server is not told.
    fn reported(self) -> Outcome {
        match self {
            Self::Ok => Outcome::Complete,
            Self::Incomplete => Outcome::Incomplete,
            Self::Failed | Self::NotReady | Self::Refused => Outcome::Failed,
        }
    }
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Complete => Self::Ok,
            Outcome::Incomplete => Self::Incomplete,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl Event {
    /// What the server is told of a prompt that went to a provider.
    pub(super) fn report(&self) -> FailoverReport {
        FailoverReport {
            id: self.id.clone(),
            at: format!("{:.3}", self.at),
            llm: self.llm.clone(),
            llm_id: self.llm_id.clone(),
            reason: self.reason.clone(),
            provider: self.provider.clone().unwrap_or_default(),
            provider_type: self.provider_type.clone().unwrap_or_default(),
            model: self.model.clone(),
            outcome: self.outcome.reported().as_str().to_owned(),
            duration_ms: self.duration_ms,
            request_id: self.request_id.clone(),
            token_id: self.token_id.clone(),
        }
    }

    /// The same event with the end that its report tells.
    pub(super) fn ended_as(mut self, report: &FailoverReport) -> Self {
        self.outcome = Outcome::from_word(&report.outcome).map_or(Ended::Incomplete, Ended::from);
        self.duration_ms = report.duration_ms;
        self
    }
}
