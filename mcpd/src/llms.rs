//! LLMs: list, show, create, change, delete.

use crate::{
    app::App,
    authorised::Asked,
    body::Document,
    caller::Caller,
    ids, llm_rules,
    policy::On,
    problem::Problem,
    store::{Moment, StoredLlm},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use mcp_api::{LlmKey, LlmList, LlmPatch, LlmSpec, Rbac, Resource, Verb};
use std::sync::Arc;

pub(crate) async fn list(caller: Caller) -> Json<LlmList> {
    Json(LlmList { items: caller.llms().map(|llm| llm.shown()).collect() })
}

/// `GET` and `HEAD`. With `Mcpd-Probe` it answers whether the caller may run the LLM now.
pub(crate) async fn show(caller: Caller, asked: Asked) -> Result<Response, Problem> {
    let llm = caller.llm(asked.to_see(), &asked)?;
    Ok(llm.stamp(Json(llm.shown())))
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Document(spec): Document<LlmSpec>,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    caller.must(Verb::Create, On::All(Resource::Llms))?;
    llm_rules::check(&spec)?;
    if caller.snapshot().llm(&LlmKey::Name(spec.name.clone())).is_some() {
        return Err(Problem::Conflict(format!("There is already an LLM {}.", spec.name)));
    }
    let now = change.now();
    let llm = StoredLlm { id: ids::llm_id()?, spec, created_at: now, updated_at: now };
    change.insert_llm(&llm).await?;
    change.commit().await?;
    let mut shown = llm.shown_with(caller.verbs_on(&llm));
    shown.warnings.extend(old_bindings(&caller, llm.spec.name.as_str()));
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// Bindings that mention a name apply to whatever has it, also to a newcomer: whoever makes one should know.
fn old_bindings(caller: &Caller, name: &str) -> Option<String> {
    let mentions = |rbac: &&Rbac| {
        rbac.role_bindings.iter().any(|grant| {
            grant.resource.covers(Resource::Llms)
                && grant.name.as_ref().is_some_and(|named| named.as_str() == name)
        })
    };
    let mentioning: Vec<_> =
        caller.snapshot().bindings().filter(mentions).map(|rbac| rbac.name.as_str()).collect();
    if mentioning.is_empty() {
        return None;
    }
    // Their names are for those who may see them.
    let seen =
        mentioning.iter().all(|binding| caller.must(Verb::View, On::One(Resource::Rbac, &[binding])).is_ok());
    let which = if seen { mentioning.join(", ") } else { format!("{} of them", mentioning.len()) };
    Some(format!("Role bindings that were there before apply to this LLM, by its name {name}: {which}."))
}

pub(crate) async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    asked: Asked,
    Document(spec): Document<LlmSpec>,
) -> Result<Response, Problem> {
    rewrite(&app, caller, &asked, |_| spec).await
}

pub(crate) async fn edit(
    State(app): State<Arc<App>>,
    caller: Caller,
    asked: Asked,
    Document(patch): Document<LlmPatch>,
) -> Result<Response, Problem> {
    rewrite(&app, caller, &asked, |spec| llm_rules::patched(spec, patch)).await
}

async fn rewrite(
    app: &App,
    caller: Caller,
    asked: &Asked,
    new_spec: impl FnOnce(&LlmSpec) -> LlmSpec,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let old = caller.llm(&[Verb::Edit], asked)?;
    let spec = new_spec(&old.spec);
    llm_rules::check(&spec)?;
    if spec.name != old.spec.name {
        // Bindings go by name: with another name the LLM would change hands.
        return Err(Problem::Invalid(format!("The name {} cannot be changed.", old.spec.name)));
    }
    let new = StoredLlm { id: old.id.clone(), spec, created_at: old.created_at, updated_at: change.now() };
    change.update_llm(&new).await?;
    let now = change.now();
    let moment = Moment { snapshot: change.commit().await?, now };
    let new = caller.renewed(moment)?.llm(&[Verb::Edit], asked)?;
    Ok(new.stamp(Json(new.shown())))
}

/// Answers with the LLM that is no more. Bindings that name it stay, and apply to a later one of that name.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    asked: Asked,
) -> Result<Response, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let llm = caller.llm(&[Verb::Delete], &asked)?;
    change.delete_llm(&llm.id).await?;
    change.commit().await?;
    Ok(llm.stamp(Json(llm.shown())))
}
