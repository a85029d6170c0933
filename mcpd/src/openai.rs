//! `/v1/...`: what clients of OpenAI's API ask. The body names the LLM as `model`; the rest of it is the upstream's.
//!
//! Decides as `/api/v1/llms/.../infer` does, by the same calls, only later: which LLM is meant stands in the body.

use crate::{
    app::App,
    authorised::{Asked, Authorised},
    body::{Read, read_json},
    caller::Caller,
    infer::{accept, pass_on, stamped},
    problem::Problem,
    proxy::{Endpoint, Prompt, Vigil},
};
use axum::{
    Json,
    extract::{Request, State},
    response::Response,
};
use mcp_api::{
    AuditEvent, Verb,
    openai::{Model, ModelList},
};
use std::sync::Arc;

pub(crate) async fn chat(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    answer(app, caller, Endpoint::Chat, request).await
}

pub(crate) async fn completions(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    answer(app, caller, Endpoint::Completions, request).await
}

pub(crate) async fn embeddings(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    answer(app, caller, Endpoint::Embeddings, request).await
}

pub(crate) async fn responses(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    answer(app, caller, Endpoint::Responses, request).await
}

/// Reads the body of nobody who can only be refused, and decides on what holds once it has arrived.
async fn answer(
    app: Arc<App>,
    caller: Caller,
    endpoint: Endpoint,
    request: Request,
) -> Result<Response, Problem> {
    app.witnessed_unheard(&caller, caller.must_run_some_llm()).await?;
    let accept = accept(&request);
    let bytes = hear(&app, request).await?;
    let prompt = Prompt::read(&bytes)?;
    prompt.fits(endpoint)?;
    let model = named(&prompt)?;
    let caller = caller.renewed(app.store.moment().await?)?;
    // What can be no LLM's name could be anything, and is not written down; that it was refused is.
    let key = model.parse().map_err(|_| caller.lacks_llm(None));
    let asked = Asked::for_use(app.witnessed_unheard(&caller, key).await?);
    let decided = caller.llm(&[Verb::Run], &asked);
    let llm = app.witnessed(AuditEvent::Inference, &caller, &asked, decided).await?;
    let vigil = Vigil::begin(Arc::clone(&app), &caller, &llm);
    stamped(&llm, pass_on(&app, &caller, &llm, endpoint, &prompt, accept, vigil).await)
}

async fn hear(app: &App, request: Request) -> Result<Read, Problem> {
    tokio::select! {
        biased;
        () = app.stop.ending.cancelled() => Err(Problem::ShuttingDown),
        bytes = read_json(app, request, app.settings.max_body) => bytes,
    }
}

/// Which LLM is meant.
fn named(prompt: &Prompt<'_>) -> Result<String, Problem> {
    let missing = || Problem::Invalid("`model` is missing: the name of an LLM, as in GET /v1/models.".into());
    prompt.model()?.ok_or_else(missing)
}

/// What is switched off is not offered.
pub(crate) async fn models(caller: Caller) -> Json<ModelList> {
    let offered = caller.llms().filter(|llm| llm.spec.enabled);
    Json(ModelList::new(offered.map(|llm| shown(&llm)).collect()))
}

/// Never a probe: a permission to run is what `/api/v1/llms/...` gives.
pub(crate) async fn model(caller: Caller, asked: Asked) -> Result<Response, Problem> {
    let llm = caller.llm(&[Verb::View], &Asked::for_use(asked.key().clone()))?;
    if !llm.spec.enabled {
        return Err(Problem::LlmDisabled(None));
    }
    Ok(llm.stamp(Json(shown(&llm))))
}

fn shown(llm: &Authorised) -> Model {
    Model {
        id: llm.spec.name.to_string(),
        object: "model".to_owned(),
        created: llm.created_at.as_second(),
        owned_by: "mcpd".to_owned(),
        max_model_len: llm.spec.context_length,
    }
}
