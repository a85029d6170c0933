//! LLMs: list, show, create, change, delete.

use crate::{
    app::App,
    authorised::Asked,
    body::Document,
    caller::Caller,
    etag::ETag,
    ids, llm_rules,
    policy::On,
    problem::Problem,
    reuse,
    store::StoredLlm,
    terms::{Terms, versioned},
};
use axum::{Json, extract::State, response::Response};
use http::{HeaderValue, StatusCode};
use mcp_api::{AuditEvent, Kind, Llm, LlmKey, LlmList, LlmPatch, LlmSpec, Resource, Verb, headers};
use std::sync::Arc;

pub(crate) async fn list(caller: Caller) -> Json<LlmList> {
    Json(LlmList { items: caller.llms().map(|llm| llm.shown()).collect() })
}

/// `GET` and `HEAD`. With `Mcpd-Probe` it answers whether the caller may run the LLM now.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    caller: Caller,
    asked: Asked,
) -> Result<Response, Problem> {
    let mut decided = caller.llm(asked.to_see(), &asked);
    if asked.is_probe() {
        decided = app.witnessed(AuditEvent::Probe, &caller, &asked, decided).await;
    }
    let llm = decided?;
    let mut answer = versioned(&ETag::of(&llm.spec), llm.stamp(Json(llm.shown())));
    if let Some(model) = plain(&llm.spec.model) {
        answer.headers_mut().insert(headers::MODEL, model);
    }
    Ok(answer)
}

/// A text that every proxy lets through: one that refused an answer because of a name would cost that LLM its failover.
/// What cannot stand in a header is still in the document.
fn plain(text: &str) -> Option<HeaderValue> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| HeaderValue::from_str(text).ok()).flatten()
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    terms: Terms,
    Document(spec): Document<LlmSpec>,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    caller.must(Verb::Create, On::All(Resource::Llms))?;
    caller.must_hold_key(llm_rules::key_put_to_use(None, &spec))?;
    terms.meet_nothing()?;
    llm_rules::check(&spec)?;
    if caller.snapshot().llm(&LlmKey::Name(spec.name.clone())).is_some() {
        return Err(Problem::Conflict(format!("There is already an LLM {}.", spec.name)));
    }
    let now = change.now();
    let llm = StoredLlm { id: ids::llm_id()?, spec, created_at: now, updated_at: now };
    change.insert_llm(&llm).await?;
    terms.settle(change).await?;
    let reused = reuse::warning(&caller, Kind::Llm, llm.spec.name.as_str());
    let warnings = reused.into_iter().chain(app.upstream.out_of_reach(&llm.spec)).collect();
    let shown = Llm { warnings, ..llm.shown_with(caller.verbs_on(&llm)) };
    Ok(terms.stamp(versioned(&ETag::of(&llm.spec), (StatusCode::CREATED, Json(shown)))))
}

pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    asked: Asked,
    terms: Terms,
    Document(spec): Document<LlmSpec>,
) -> Result<Response, Problem> {
    rewrite(&app, caller, &asked, &terms, |_| Ok(spec)).await
}

pub(crate) async fn edit(
    State(app): State<Arc<App>>,
    caller: Caller,
    asked: Asked,
    terms: Terms,
    Document(patch): Document<LlmPatch>,
) -> Result<Response, Problem> {
    rewrite(&app, caller, &asked, &terms, |spec| llm_rules::patched(spec, patch)).await
}

/// What is so already is not written again.
async fn rewrite(
    app: &App,
    caller: Caller,
    asked: &Asked,
    terms: &Terms,
    new_spec: impl FnOnce(&LlmSpec) -> Result<LlmSpec, Problem>,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let old = caller.llm(&[Verb::Edit], asked)?;
    let spec = new_spec(&old.spec)?;
    caller.must_hold_key(llm_rules::key_put_to_use(Some(&old.spec), &spec))?;
    terms.meet(&ETag::of(&old.spec))?;
    llm_rules::check(&spec)?;
    if spec.name != old.spec.name {
        // Bindings go by name: with another name the LLM would change hands.
        return Err(Problem::Invalid(format!("The name {} cannot be changed.", old.spec.name)));
    }
    if spec == old.spec {
        return Ok(terms.stamp(versioned(&ETag::of(&spec), old.stamp(Json(old.shown())))));
    }
    let lost_key = llm_rules::lost_key(&old.spec, &spec);
    let warnings = lost_key.into_iter().chain(app.upstream.out_of_reach(&spec)).collect();
    let new = StoredLlm { id: old.id.clone(), spec, created_at: old.created_at, updated_at: change.now() };
    change.update_llm(&new).await?;
    terms.settle(change).await?;
    let new = old.rewritten(new);
    let shown = Llm { warnings, ..new.shown() };
    Ok(terms.stamp(versioned(&ETag::of(&new.spec), new.stamp(Json(shown)))))
}

/// Answers with the LLM that is no more, if the caller may view it. Bindings that name it stay, and apply to a later one of that name.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    asked: Asked,
    terms: Terms,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let llm = caller.llm(&[Verb::Delete], &asked)?;
    terms.meet(&ETag::of(&llm.spec))?;
    change.delete_llm(&llm.id).await?;
    terms.settle(change).await?;
    let whole = llm.stamp(Json(llm.shown()));
    let on = On::One(Resource::Llms, &llm.aliases());
    Ok(terms.stamp(caller.farewell(on, Kind::Llm, llm.spec.name.as_str(), whole)))
}
