//! Whether the process lives, can work, and which version it is. No token needed, nothing to learn.

use crate::{app::App, problem::Problem};
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready is who takes new requests, knows what is true now, and whose database answers.
///
/// Nothing is asked of upstreams: they differ from LLM to LLM, and a server that cannot reach one of them is still the
/// only one that can confirm rights, without which there is no failover either.
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    if app.stop.leaving.is_cancelled() {
        return Err(Problem::ShuttingDown);
    }
    app.store.moment().await?;
    app.store.ping().await.map_err(|_| Problem::Database)?;
    Ok("ok\n")
}

/// Which version runs.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Version {
    /// The version, such as `1.2.3`.
    version: &'static str,
}

pub(crate) async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION") })
}
