//! A question without an answer: what was tried, why it ended, and what to do next.

use crate::{
    cmd::start_progress::end_of_log,
    exit::Exit,
    failover::{CallFailure, Delivered, Denial, Fault, GaveUp, NoStandIn, PrimaryState, Why},
    gateway::Probed,
    provider::LendError,
};
use mcp_api::LlmKey;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::{fmt, time::Duration};

/// Who was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The server, for an answer.
    Central,
    /// The server, for permission.
    Probe,
    /// A local provider.
    Provider(String),
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Central => "central",
            Self::Probe => "probe",
            Self::Provider(name) => name,
        })
    }
}

/// One thing that was tried, for documents.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Who was asked.
    pub target: Target,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_state: Option<&'static str>,
    /// How long it took.
    #[serde(rename = "durationMs", serialize_with = "millis")]
    pub took: Duration,
}

fn millis<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

impl Record {
    /// It answered.
    pub fn ok(target: Target, took: Duration) -> Self {
        Self { target, outcome: "ok", status: None, code: None, primary_state: None, took }
    }

    /// It failed.
    pub fn failed(target: Target, failure: &CallFailure, took: Duration) -> Self {
        let (status, code) = match &failure.fault {
            Fault::Status { status, error } => (Some(*status), error.code.clone()),
            Fault::ErrorEvent { code, .. } => (*code, None),
            _ => (None, None),
        };
        let primary_state = match (&target, failure.primary_state()) {
            (Target::Central, PrimaryState::Unknown | PrimaryState::Partial) => {
                Some(failure.primary_state().as_str())
            }
            (Target::Central | Target::Probe | Target::Provider(_), _) => None,
        };
        Self { target, outcome: failure.fault.word(), status, code, primary_state, took }
    }

    /// The server was asked for permission.
    pub fn probed(probed: &Probed) -> Self {
        let (outcome, took) = (probed.verdict.word(), probed.took);
        Self { target: Target::Probe, outcome, status: probed.status, code: None, primary_state: None, took }
    }

    /// A provider did not get as far as being asked.
    pub fn not_lent(target: Target, took: Duration) -> Self {
        Self { target, outcome: "not_ready", status: None, code: None, primary_state: None, took }
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Reason {
    /// The server failed and nothing took over.
    GaveUp(GaveUp),
    /// The server failed, and so did the provider that was permitted; carries both.
    StandIn { cause: CallFailure, provider: String, how: StandInFailure },
    /// `--strict`, and the model was not done.
    NotStopped(String),
}

#[derive(Debug)]
enum StandInFailure {
    NotLent { why: String, lines: Vec<String> },
    Call(CallFailure),
}

/// A question without an answer.
#[derive(Debug)]
pub struct InferFailure {
    reason: Reason,
    llm: Option<LlmKey>,
    request_id: String,
    records: Vec<Record>,
    partial: Option<String>,
}

impl From<GaveUp> for InferFailure {
    fn from(gave_up: GaveUp) -> Self {
        Self::new(Reason::GaveUp(gave_up))
    }
}

impl InferFailure {
    fn new(reason: Reason) -> Self {
        Self { reason, llm: None, request_id: String::new(), records: Vec::new(), partial: None }
    }

    /// The permitted provider was asked and failed too.
    pub fn stand_in(cause: CallFailure, provider: &str, failure: CallFailure) -> Self {
        let how = StandInFailure::Call(failure);
        Self::new(Reason::StandIn { cause, provider: provider.to_owned(), how })
    }

    /// The permitted provider could not be asked.
    pub fn not_lent(cause: CallFailure, provider: &str, error: &LendError) -> Self {
        let lines = match error {
            LendError::Engine(engine) => end_of_log(engine, provider),
            _ => Vec::new(),
        };
        let how = StandInFailure::NotLent { why: error.to_string(), lines };
        Self::new(Reason::StandIn { cause, provider: provider.to_owned(), how })
    }

    /// The answer is complete, but the model was not done.
    pub fn not_stopped(finish_reason: String) -> Self {
        Self::new(Reason::NotStopped(finish_reason))
    }

    /// Adds what a document about it needs.
    #[must_use]
    pub fn of(
        mut self,
        llm: LlmKey,
        request_id: &str,
        records: Vec<Record>,
        partial: Option<String>,
    ) -> Self {
        self.llm = Some(llm);
        self.records = records;
        self.partial = partial;
        request_id.clone_into(&mut self.request_id);
        self
    }

    /// The exit code's name.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match &self.reason {
            Reason::GaveUp(gave_up) => Exit::of_gave_up(gave_up),
            Reason::NotStopped(_) => Exit::Incomplete,
            Reason::StandIn { how: StandInFailure::NotLent { .. }, .. } => Exit::Unavailable,
            Reason::StandIn { how: StandInFailure::Call(failure), .. } => match Exit::of_failure(failure) {
                exit @ (Exit::Incomplete | Exit::OutputClosed | Exit::Internal) => exit,
                // What a provider says of a request or a key is no word of the server's.
                _ => Exit::Unavailable,
            },
        }
    }

    /// A part of an answer was handed over before.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        match &self.reason {
            Reason::GaveUp(GaveUp { cause: failure, .. })
            | Reason::StandIn { how: StandInFailure::Call(failure), .. } => is_cut(failure),
            Reason::StandIn { how: StandInFailure::NotLent { .. }, .. } => false,
            Reason::NotStopped(_) => true,
        }
    }

    /// What it means and what to do next, a line each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let llm = self.llm.as_ref().map_or("NAME", LlmKey::as_str);
        match &self.reason {
            Reason::GaveUp(GaveUp { cause, why }) => match why {
                Why::Final => final_hints(cause, llm),
                Why::NoStandIn(NoStandIn::RouteCentral) => {
                    vec!["no failover: --route central forbids one".into()]
                }
                Why::NoStandIn(none) => vec![format!("no failover: {none}")],
                Why::Denied(denial @ Denial::FailoverForbidden) => {
                    vec![format!("failover refused: {denial}"), "no local provider was contacted".into()]
                }
                Why::Denied(denial) => vec![
                    format!("failover refused: {denial}"),
                    "no local provider was contacted".into(),
                    format!("tip: mcpctl auth can-i run llm/{llm}"),
                ],
                Why::Unverified(doubt) => vec![
                    format!("failover refused: cannot confirm that you may use \"{llm}\" (probe: {doubt})"),
                    "tip: mcpctl auth status        why: mcpctl help failover".into(),
                ],
            },
            Reason::StandIn { how: StandInFailure::Call(failure), .. } if is_cut(failure) => {
                vec![INCOMPLETE.into()]
            }
            Reason::StandIn { provider, how, .. } => {
                let mut hints = vec![format!("failover: provider \"{provider}\" failed: {how}")];
                if let StandInFailure::NotLent { lines, .. } = how {
                    hints.extend(lines.iter().cloned());
                }
                hints
            }
            Reason::NotStopped(_) => vec!["--strict takes finish_reason \"stop\" only".into()],
        }
    }

    /// What a document has beside the message.
    #[must_use]
    pub fn document(&self) -> Map<String, Value> {
        let mut document = Map::new();
        document.insert("llm".into(), json!(self.llm.as_ref().map(LlmKey::as_str)));
        document.insert("attempts".into(), json!(self.records));
        document.insert("requestId".into(), json!(self.request_id));
        if let Some(partial) = &self.partial {
            document.insert("partialContent".into(), json!(partial));
        }
        document
    }
}

const INCOMPLETE: &str = "what was written is incomplete; a failover never continues another model's answer: \
                          run the command again";

fn is_cut(failure: &CallFailure) -> bool {
    matches!(failure.delivered, Delivered::Content(_))
}

fn final_hints(cause: &CallFailure, llm: &str) -> Vec<String> {
    if is_cut(cause) {
        return vec![INCOMPLETE.into()];
    }
    let hints: &[&str] = match &cause.fault {
        Fault::Status { status: 401, .. } => &[
            "no local provider was contacted: without a valid login nothing stands in",
            "tip: mcpctl auth login --token-stdin",
        ],
        Fault::Status { status: 403, error } if error.code.as_deref() == Some("llm_disabled") => {
            &["no local provider was contacted: an LLM that is switched off has no stand-in"]
        }
        Fault::Status { status: 403, .. } => {
            let needs = format!("needs: run on llms/{llm}");
            let tip = format!("tip: mcpctl auth can-i run llm/{llm}");
            return vec![needs, "no local provider was contacted: a denial is final".into(), tip];
        }
        Fault::Status { status: 404, .. } => {
            &["no failover: the server knows no such LLM", "tip: mcpctl llm list"]
        }
        Fault::Status { status: 402 | 429, .. } => {
            &["no failover: this limit is about you, not about the server's inference path"]
        }
        Fault::Status { status: 300..=399, .. } => {
            &["no failover: a redirect is never followed; check the server's URL"]
        }
        Fault::Status { status: 400..=499, .. } | Fault::ErrorEvent { .. } => {
            &["no failover: the request itself is wrong, and would be wrong everywhere"]
        }
        Fault::Tls(_) => &[
            "no failover: somebody else may be answering in the server's place",
            "check the server's certificate, the caFile of the context, and the clock of this machine",
        ],
        Fault::Deadline(_) => &["no failover: your own limit is over"],
        Fault::Status { .. } | Fault::Unparsable(_) => {
            &["no failover: this does not look like the server; check its URL"]
        }
        Fault::NotAsked
        | Fault::Unreachable { .. }
        | Fault::NoContent(_)
        | Fault::Cut(_)
        | Fault::Idle(_)
        | Fault::OutputClosed
        | Fault::Output(_) => &[],
    };
    hints.iter().map(ToString::to_string).collect()
}

impl fmt::Display for StandInFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLent { why, .. } => f.write_str(why),
            Self::Call(failure) => failure.told_of("it").fmt(f),
        }
    }
}

impl fmt::Display for InferFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::GaveUp(GaveUp { cause, .. }) => match (&cause.fault, &self.llm) {
                (Fault::Status { status: 403, error }, Some(llm))
                    if error.code.as_deref() != Some("llm_disabled") =>
                {
                    write!(f, "you are not allowed to run LLM \"{llm}\" (403)")
                }
                _ => cause.told_of("central").fmt(f),
            },
            Reason::StandIn { provider, how: StandInFailure::Call(failure), .. } if is_cut(failure) => {
                failure.told_of(&format!("provider \"{provider}\"")).fmt(f)
            }
            Reason::StandIn { cause, .. } => cause.told_of("central").fmt(f),
            Reason::NotStopped(reason) => write!(f, "the answer is truncated (finish_reason: {reason})"),
        }
    }
}

impl std::error::Error for InferFailure {}
