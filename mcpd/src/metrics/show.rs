//! `GET /metrics`: what was counted, and what is so at this moment.

use crate::{
    app::{App, now},
    caller::Caller,
    log::chain,
    policy::On,
    problem::Problem,
};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use mcp_api::{LlmKey, Resource, Verb};
use std::sync::Arc;

/// Prometheus' text format.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// For those who may view all LLMs, since it names them all.
pub(crate) async fn show(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Problem> {
    caller.must(Verb::View, On::All(Resource::Llms))?;
    shown(&app).await
}

/// What everybody sees on a listener of its own.
pub(super) async fn shown(app: &App) -> Result<Response, Problem> {
    look(app).await;
    let text = app.metrics.text().map_err(|error| {
        tracing::error!(error = chain(&error), "the metrics cannot be written");
        Problem::Internal
    })?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}

/// Looks at what is not counted as it happens.
#[expect(clippy::cast_precision_loss, reason = "numbers of things are far below 2^52")]
async fn look(app: &App) {
    let metrics = &app.metrics;
    metrics.look_at_process();
    metrics.audit_waiting.set([], app.audit.waiting() as f64);
    metrics.audit_lost.reach(app.audit.lost() as f64);
    metrics.draining.set([], f64::from(u8::from(app.stop.draining.is_cancelled())));
    // While the database cannot be asked, what is known of it stays as it is.
    if let Ok(moment) = app.store.moment().await {
        metrics.database_epoch.set([], moment.snapshot.epoch() as f64);
        let is_there = |llm: &str| llm.parse::<LlmKey>().is_ok_and(|key| moment.snapshot.llm(&key).is_some());
        metrics.forget(&is_there);
        for node in app.upstream.nodes(is_there) {
            let labels = [node.llm.as_str(), node.url.as_str()];
            metrics.upstream_up.set(labels, f64::from(u8::from(node.is_up)));
            metrics.upstream_pending.set(labels, node.pending as f64);
        }
    }
}

impl super::Metrics {
    /// Notes what does not change any more.
    pub(crate) fn begin(&self) {
        self.build.set([env!("CARGO_PKG_VERSION")], 1.0);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^52")]
        self.began.set([], now().as_millisecond() as f64 / 1000.0);
    }
}
