//! Who would stand in, before anybody is asked.

use super::args::Route;
use crate::{
    cmd::Run,
    config::Server,
    failover::NoStandIn,
    provider,
    providers_file::{Provider, ProvidersFile},
};
use mcp_api::LlmKey;

/// The providers, if they may be needed. A file that cannot be used never stands in the way of the server.
pub(super) fn usable_providers(run: &mut Run<'_>, route: Route) -> Option<Result<ProvidersFile, ()>> {
    if route == Route::Central {
        return None;
    }
    match run.providers() {
        Ok(file) => file.map(Ok),
        Err(error) => {
            run.warn(format_args!("{error}; failover is off until it is mended"));
            Some(Err(()))
        }
    }
}

/// The provider that is declared for an LLM, or why there is none.
pub(super) fn choose<'a>(
    providers: Option<&'a Result<ProvidersFile, ()>>,
    llm: &LlmKey,
    route: Route,
    server: &Server,
) -> Result<&'a Provider, NoStandIn> {
    if route == Route::Central {
        return Err(NoStandIn::RouteCentral);
    }
    let file = match providers {
        None => return Err(NoStandIn::NotDeclared),
        Some(Err(())) => return Err(NoStandIn::FileUnusable),
        Some(Ok(file)) => file,
    };
    let name = match llm {
        LlmKey::Name(name) => name,
        LlmKey::Id(_) => return Err(NoStandIn::AskedById),
    };
    let provider = file.registry.stand_in_for(name).ok_or(NoStandIn::NotDeclared)?;
    if provider::is_at(provider, &server.url) {
        Err(NoStandIn::IsCentral(provider.name.clone()))
    } else {
        Ok(provider)
    }
}
