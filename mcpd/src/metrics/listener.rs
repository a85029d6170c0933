//! A listener that shows the metrics and nothing else, to everybody who can reach it: for a network of its own.

use super::show::shown;
use crate::{app::App, problem::Problem};
use axum::{Router, routing::get};
use clap::Args;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use mcp_api::paths;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::task::AbortOnDropHandle;

/// How long the head of a request may take, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many connections there may be at once.
const CONNECTIONS_MAX: usize = 32;
/// How long to wait when no connection can be accepted.
const BREATH: Duration = Duration::from_millis(100);

/// How to show what is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct MetricsSettings {
    /// Where to show /metrics to everybody, besides --listen, where it takes a token; port 0 takes a free one
    #[arg(long, env = "MCPD_METRICS_LISTEN", value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<SocketAddr>,
}

/// Listens until what comes back is dropped: also while the server drains.
pub(crate) async fn listen(app: &Arc<App>) -> anyhow::Result<Option<AbortOnDropHandle<()>>> {
    let Some(address) = app.settings.metrics.metrics_listen else { return Ok(None) };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| anyhow::Error::new(error).context(format!("listening on {address} for metrics")))?;
    tracing::info!(address = %listener.local_addr()?, "listening for metrics");
    Ok(Some(AbortOnDropHandle::new(tokio::spawn(accept(listener, router(Arc::clone(app)))))))
}

fn router(app: Arc<App>) -> Router {
    let show = async move || shown(&app).await;
    Router::new().route(paths::METRICS, get(show)).fallback(async || Problem::NoSuchPath)
}

async fn accept(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    loop {
        // Nobody closes it.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(router.clone());
                let connection = http.serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move {
                    // What ends one connection is between us and that client.
                    let _ = connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}
