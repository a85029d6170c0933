//! Something that was asked for by name: what else may have been meant, if the server has no such thing.
//!
//! Nothing depends on the answer, so that it is not waited for long.

use super::Failure;
use crate::{
    documents::Key,
    failover::{CallFailure, Fault},
    gateway::Gateway,
    yaml::nearest,
};
use mcp_api::{
    Document, LlmKey, LlmList, Rbac, TokenInfo,
    identity::{Answer, Items, SubjectSpec},
    paths,
};
use std::{fmt, time::Duration};

/// How much longer an error may take for it.
const LIMIT: Duration = Duration::from_secs(1);

/// What was asked for, as the context of the error that came instead.
#[derive(Debug)]
pub(super) struct Asked {
    what: String,
    /// What was most likely meant.
    pub(super) meant: Option<String>,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The error of a call about one thing.
pub(super) fn failed(gateway: &Gateway, key: &Key, failure: CallFailure) -> anyhow::Error {
    let asked = Asked { what: key.to_string(), meant: thing(gateway, key, &failure) };
    anyhow::Error::new(Failure(failure)).context(asked)
}

/// The error of a call about a token.
pub(super) fn failed_token(gateway: &Gateway, id: &str, failure: CallFailure) -> anyhow::Error {
    let tokens = || {
        let all = gateway.get_within::<Items<TokenInfo>>(LIMIT, paths::TOKENS).ok()?;
        near(id, all.items.into_iter().map(|token| token.id))
    };
    let meant = is_unknown(&failure).then(tokens).flatten();
    anyhow::Error::new(Failure(failure)).context(Asked { what: format!("token {id}"), meant })
}

/// The thing of that kind that was most likely meant, of those that the caller may view.
pub(super) fn thing(gateway: &Gateway, key: &Key, failure: &CallFailure) -> Option<String> {
    if !is_unknown(failure) {
        return None;
    }
    let name = match key {
        Key::Llm(key) => llm(gateway, key)?,
        Key::Rbac(name) => {
            let all = gateway.get_within::<Items<Answer<Rbac>>>(LIMIT, paths::RBACS).ok()?;
            near(name.as_str(), all.items.into_iter().map(|it| it.content.name.to_string()))?
        }
        Key::Subject(_, name) => {
            let all = gateway.get_within::<Items<Answer<SubjectSpec>>>(LIMIT, paths::SUBJECTS).ok()?;
            let all = all.items.into_iter().map(|it| Document::from(it.content));
            near(name.as_str(), all.filter(|it| it.kind() == key.kind()).map(|it| it.name().to_owned()))?
        }
    };
    Some(format!("{}/{name}", key.kind().word()))
}

/// The LLM that was most likely meant, of those that the caller may view.
pub(super) fn llm(gateway: &Gateway, llm: &LlmKey) -> Option<String> {
    let LlmKey::Name(name) = llm else { return None };
    let all: LlmList = gateway.get_within(LIMIT, paths::LLMS).ok()?;
    near(name.as_str(), all.items.into_iter().map(|llm| llm.name.to_string()))
}

/// What is there under just this name was not misspelt.
fn near(name: &str, all: impl Iterator<Item = String>) -> Option<String> {
    let all: Vec<String> = all.collect();
    let known: Vec<&str> = all.iter().map(String::as_str).collect();
    nearest(name, &known).filter(|near| *near != name).map(str::to_owned)
}

/// The server itself, and no box before it, knows no such thing, or does not say whether it does.
fn is_unknown(failure: &CallFailure) -> bool {
    matches!(&failure.fault, Fault::Status { status: 403 | 404, error } if error.origin.is_some())
}

/// The server itself knows no such thing.
pub(super) fn is_absent(failure: &CallFailure) -> bool {
    is_unknown(failure) && matches!(failure.fault, Fault::Status { status: 404, .. })
}
