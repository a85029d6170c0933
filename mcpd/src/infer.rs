//! `POST .../infer`: one chat completion of one LLM; and what every request for an answer of an LLM has in common.

use crate::{
    app::App,
    authorised::{Asked, Authorised},
    body::read_json,
    caller::Caller,
    problem::Problem,
    proxy::{Endpoint, Prompt, Vigil},
    sabotage,
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderValue, header};
use mcp_api::{AuditEvent, Verb};
use std::sync::Arc;

/// Authorises before the first byte of the prompt is read. Errors after that say which LLM they are about.
pub(crate) async fn infer(
    State(app): State<Arc<App>>,
    caller: Caller,
    asked: Asked,
    request: Request,
) -> Result<Response, Problem> {
    let decided = caller.llm(&[Verb::Run], &asked);
    let llm = app.witnessed(AuditEvent::Inference, &caller, &asked, decided).await?;
    stamped(&llm, ask(app, &caller, &llm, request).await)
}

async fn ask(
    app: Arc<App>,
    caller: &Caller,
    llm: &Authorised,
    request: Request,
) -> Result<Response, Problem> {
    // From here on: a prompt may take its time to arrive.
    let mut vigil = Vigil::begin(Arc::clone(&app), caller, llm);
    let accept = accept(&request);
    let bytes = tokio::select! {
        biased;
        breach = vigil.breach() => return Err(breach.problem()),
        bytes = read_json(&app, request, app.settings.max_body) => bytes?,
    };
    let prompt = Prompt::read(&bytes)?;
    if prompt.model()?.is_some_and(|model| !llm.aliases().contains(&&*model)) {
        return Err(Problem::Invalid(format!("`model` must be {:?} or absent.", llm.spec.name.as_str())));
    }
    pass_on(&app, caller, llm, Endpoint::Chat, &prompt, accept, vigil).await
}

/// The one header of a request that its upstream is told, beside the request's id.
pub(crate) fn accept(request: &Request) -> Option<HeaderValue> {
    let passed_on = if sabotage::BEARER_UPSTREAM { header::AUTHORIZATION } else { header::ACCEPT };
    request.headers().get(passed_on).cloned()
}

/// Has the upstream of an LLM answer somebody who may run it.
pub(crate) async fn pass_on(
    app: &App,
    caller: &Caller,
    llm: &Authorised,
    endpoint: Endpoint,
    prompt: &Prompt<'_>,
    accept: Option<HeaderValue>,
    vigil: Vigil,
) -> Result<Response, Problem> {
    let prompt = prompt.for_upstream(&llm.spec);
    // Not before the prompt is here: else whoever announces one and never sends it would hold the place of an answer.
    let vigil = vigil.of(app.limits.enter(llm, &caller.login().holder())?);
    app.upstream.complete(&llm.spec, endpoint, prompt, accept, vigil, caller.record()).await
}

/// Says on an answer, also on an error, which LLM it is about.
pub(crate) fn stamped(llm: &Authorised, answer: Result<Response, Problem>) -> Result<Response, Problem> {
    match answer {
        // What was decided at first no longer holds.
        Err(problem @ (Problem::Revoked | Problem::Ended)) => Err(problem),
        answer => Ok(llm.stamp(answer)),
    }
}
