//! What a change has changed, by comparison of what was there before with what is there after it: nothing that a
//! handler does can go by it. Pure.

use super::Fact;
use crate::store::{Snapshot, StoredLlm, StoredToken};
use jiff::Timestamp;
use mcp_api::{AuditEvent, LlmKey, Rbac, Subject, TokenInfo, Verb, identity::SubjectSpec};
use serde::Serialize;
use serde_json::value::to_raw_value;

/// What stood there before, and what stands there now. Keys are references, of a token there is only what can be shown.
#[derive(Serialize)]
struct Detail<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a T>,
}

/// A fact for each thing that is new, different or gone.
pub(in crate::store) fn changes(before: &Snapshot, after: &Snapshot, at: Timestamp) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut note = |fact: Option<Fact>| facts.extend(fact.map(|fact| Fact { at, ..fact }));
    for now in after.subjects() {
        note(subject(before.subject(&named(now)), Some(now)));
    }
    for now in after.bindings() {
        note(binding(before.binding(now.name.as_str()), Some(now)));
    }
    for now in after.llms() {
        note(llm(before.llm(&LlmKey::Id(now.id.clone())).map(|was| &**was), Some(now)));
    }
    for now in after.tokens() {
        note(token(before.token(&now.id), Some(now)));
    }
    for was in before.tokens().filter(|was| after.token(&was.id).is_none()) {
        note(token(Some(was), None));
    }
    for was in before.llms().filter(|was| after.llm(&LlmKey::Id(was.id.clone())).is_none()) {
        note(llm(Some(was), None));
    }
    for was in before.bindings().filter(|was| after.binding(was.name.as_str()).is_none()) {
        note(binding(Some(was), None));
    }
    for was in before.subjects().filter(|was| after.subject(&named(was)).is_none()) {
        note(subject(Some(was), None));
    }
    facts
}

fn named(spec: &SubjectSpec) -> Subject {
    Subject { kind: spec.kind, name: spec.name.clone() }
}

fn subject(from: Option<&SubjectSpec>, to: Option<&SubjectSpec>) -> Option<Fact> {
    let known = to.or(from)?;
    change(|| format!("{}/{}", known.kind, known.name), from, to)
}

fn binding(from: Option<&Rbac>, to: Option<&Rbac>) -> Option<Fact> {
    let known = to.or(from)?;
    change(|| format!("Rbac/{}", known.name), from, to)
}

fn llm(from: Option<&StoredLlm>, to: Option<&StoredLlm>) -> Option<Fact> {
    let known = to.or(from)?;
    let name = || format!("Llm/{}", known.spec.name);
    let fact = change(name, from.map(|llm| &llm.spec), to.map(|llm| &llm.spec))?;
    Some(Fact { llm: Some(known.spec.name.to_string()), llm_id: Some(known.id.to_string()), ..fact })
}

/// One that is revoked is gone for all who ask.
fn token(from: Option<&StoredToken>, to: Option<&StoredToken>) -> Option<Fact> {
    let known = to.or(from)?;
    if from.zip(to).is_some_and(|(from, to)| from.is_shown_like(to)) {
        return None;
    }
    let shown = |token: Option<&StoredToken>| -> Option<TokenInfo> { token.map(StoredToken::shown) };
    let (from, to) = (shown(from), shown(to));
    let is_revoked = to.as_ref().is_some_and(|to| to.revoked_at.is_some());
    let fact = change(|| format!("Token/{}", known.id), from.as_ref(), to.as_ref())?;
    Some(if is_revoked { Fact { verb: Some(Verb::Delete), ..fact } } else { fact })
}

/// None if nothing has changed, which is so for nearly everything that is compared.
fn change<T: Serialize + PartialEq>(
    object: impl Fn() -> String,
    from: Option<&T>,
    to: Option<&T>,
) -> Option<Fact> {
    let verb = match (from, to) {
        (Some(from), Some(to)) if from == to => return None,
        (Some(_), Some(_)) => Verb::Edit,
        (Some(_), None) => Verb::Delete,
        (None, _) => Verb::Create,
    };
    Some(Fact {
        verb: Some(verb),
        object: Some(object()),
        // A wire type of our own always serialises.
        detail: to_raw_value(&Detail { from, to }).ok(),
        ..Fact::new(AuditEvent::Change, Timestamp::UNIX_EPOCH)
    })
}
