//! What commands write down of failovers, in the words of the journal.

use crate::{
    credential::holder,
    environment::Environment,
    failover::{CallFailure, Fault, GaveUp, Why},
    gateway::Gateway,
    journal::{Failover, Permission, StandIn},
    providers_file::Provider,
};
use mcp_api::LlmKey;

/// A failover that is wanted because of what the server did.
pub(super) fn wanted(
    env: &Environment,
    origin: &str,
    gateway: &Gateway,
    llm: &LlmKey,
    cause: &CallFailure,
) -> Failover {
    Failover {
        server: origin.to_owned(),
        user: holder::name(env, origin, gateway.token_id()),
        llm: llm.to_string(),
        llm_id: cause.llm_id.as_ref().map(ToString::to_string),
        reason: reason(&cause.fault),
        request_id: gateway.request_id().to_owned(),
        token_id: gateway.owner(),
    }
}

/// Who is to answer.
pub(super) fn stand_in(provider: &Provider) -> StandIn {
    StandIn {
        provider: provider.name.clone(),
        provider_type: provider.kind.as_str().to_owned(),
        model: shown_model(&provider.model).to_owned(),
    }
}

/// How the question for permission was answered, if it was asked and the answer was no yes.
pub(super) fn refusal(gave_up: &GaveUp) -> Option<(Permission, String)> {
    match &gave_up.why {
        Why::Denied(denial) => Some((Permission::Denied, denial.to_string())),
        Why::Unverified(doubt) => Some((Permission::Unknown, doubt.to_string())),
        Why::Final | Why::NoStandIn(_) => None,
    }
}

/// One word: what the server did instead of answering.
fn reason(fault: &Fault) -> String {
    match fault {
        Fault::NotAsked => "drill".to_owned(),
        Fault::Status { status, .. } => format!("http_{status}"),
        other => other.word().to_owned(),
    }
}

/// The model without the folders of this machine, which are nobody's business.
fn shown_model(model: &str) -> &str {
    if model.starts_with(['/', '~']) { model.rsplit('/').next().unwrap_or_default() } else { model }
}
