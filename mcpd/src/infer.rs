//! `POST .../infer`: one chat completion of one LLM.

use crate::{
    app::App,
    authorised::{Asked, Authorised},
    body::read_json,
    caller::Caller,
    problem::Problem,
    proxy::{self, Endpoint, Vigil},
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use http::header;
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
    match ask(app, &caller, &llm, request).await {
        // What was decided at first no longer holds.
        Err(Problem::Revoked) => Err(Problem::Revoked),
        answer => Ok(llm.stamp(answer)),
    }
}

async fn ask(
    app: Arc<App>,
    caller: &Caller,
    llm: &Authorised,
    request: Request,
) -> Result<Response, Problem> {
    // From here on: a prompt may take its time to arrive.
    let mut vigil = Vigil::new(Arc::clone(&app), caller, llm);
    let accept = request.headers().get(header::ACCEPT).cloned();
    let bytes = tokio::select! {
        biased;
        breach = vigil.breach() => return Err(breach.problem()),
        bytes = read_json(request, app.settings.max_body) => bytes?,
    };
    let prompt = proxy::prompt(&bytes, &llm.spec)?;
    app.upstream.complete(&llm.spec, Endpoint::Chat, prompt, accept, vigil, caller.record()).await
}
