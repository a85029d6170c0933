//! `infer --dry-run`: what would be asked, and of whom. Nothing is sent.

use super::{InferArgs, args::Route};
use crate::{
    chat::ChatRequest,
    cmd::Run,
    config::Server,
    exit::Exit,
    failover::NoStandIn,
    gateway,
    providers_file::Provider,
    render::{self, Format},
};
use mcp_api::{LlmKey, paths};
use serde_json::json;

/// Shows the plan as a document.
pub(crate) fn show(
    run: &mut Run<'_>,
    args: &InferArgs,
    server: &Server,
    llm: &LlmKey,
    request: &ChatRequest,
    stand_in: &Result<&Provider, NoStandIn>,
) -> anyhow::Result<Exit> {
    let central = (args.route != Route::Local).then(|| {
        json!({ "url": format!("{}{}", server.origin(), paths::infer(llm)), "body": request.body(gateway::model(llm)) })
    });
    let local = match stand_in {
        Ok(provider) => json!({
            "provider": provider.name,
            "type": provider.kind.as_str(),
            "onlyIf": format!("HEAD {}{} allows it", server.origin(), paths::llm(llm)),
            "body": request.for_local().body(Some(&provider.model)),
        }),
        Err(none) => json!({ "provider": null, "why": none.to_string() }),
    };
    let plan = render::document(
        "InferencePlan",
        json!({ "llm": llm.as_str(), "central": central, "failover": local }),
    );
    run.print(&render::document_text(&plan, Format::Json))?;
    Ok(Exit::Ok)
}
