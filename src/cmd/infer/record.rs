//! What was tried on the way to an answer, for documents.

use crate::{
    failover::{CallFailure, Fault, PrimaryState},
    gateway::Probed,
};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// Who was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
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

/// One thing that was tried.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Who was asked: `central` for an answer, `probe` for permission, else the name of a local provider.
    #[schemars(with = "String")]
    pub(super) target: Target,
    /// One word: `ok`; of a probe `allowed`, `denied` or `unknown`; else what went wrong.
    outcome: &'static str,
    /// The status of HTTP, where one arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The server's word for what went wrong, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Of a failed call of the server, whether it may have carried out the request: `unknown`, or `partial` if a part
    /// of its answer arrived. Absent: it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_state: Option<&'static str>,
    /// How long it took, in milliseconds.
    #[serde(rename = "durationMs", serialize_with = "millis")]
    #[schemars(with = "u64")]
    pub(super) took: Duration,
}

fn millis<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

impl Record {
    /// It answered.
    pub(super) fn ok(target: Target, took: Duration) -> Self {
        Self { target, outcome: "ok", status: None, code: None, primary_state: None, took }
    }

    /// It failed.
    pub(super) fn failed(target: Target, failure: &CallFailure, took: Duration) -> Self {
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
    pub(super) fn probed(probed: &Probed) -> Self {
        let (outcome, took) = (probed.verdict.word(), probed.took);
        Self { target: Target::Probe, outcome, status: probed.status, code: None, primary_state: None, took }
    }

    /// A provider did not get as far as being asked.
    pub(super) fn not_lent(target: Target, took: Duration) -> Self {
        Self { target, outcome: "not_ready", status: None, code: None, primary_state: None, took }
    }
}
