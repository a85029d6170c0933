//! Whether the process lives, can work, and which version it is. No token needed, nothing to learn.

use crate::{app::App, problem::Problem};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready is who takes new requests and whose database answers.
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    if app.stop.draining.is_cancelled() {
        return Err(Problem::ShuttingDown);
    }
    app.store.ping().await.map_err(|_| Problem::Database)?;
    Ok("ok\n")
}

#[derive(Serialize)]
pub(crate) struct Version {
    version: &'static str,
}

pub(crate) async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION") })
}
