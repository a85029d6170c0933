//! What is worth asking the server once it has refused for good, to say it in the error. Nothing depends on the
//! answers, so that they are not waited for long.

use crate::{gateway::Gateway, yaml::nearest};
use mcp_api::{LlmKey, LlmList, identity::Whoami, paths};
use std::time::Duration;

/// How much longer an error may take for it.
const LIMIT: Duration = Duration::from_secs(1);

/// Who the server says is asking.
pub(super) fn user(gateway: &Gateway) -> Option<String> {
    let who: Whoami = gateway.get_within(LIMIT, paths::WHOAMI).ok()?;
    Some(who.subject.name.to_string())
}

/// The LLM that was most likely meant, of those that the caller may view.
pub(super) fn meant(gateway: &Gateway, llm: &LlmKey) -> Option<String> {
    let LlmKey::Name(name) = llm else { return None };
    let list: LlmList = gateway.get_within(LIMIT, paths::LLMS).ok()?;
    let names: Vec<&str> = list.items.iter().map(|llm| llm.name.as_str()).collect();
    nearest(name.as_str(), &names).map(str::to_owned)
}
