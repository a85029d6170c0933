//! Connections of clients: accepted, with TLS if there is a certificate, and answered until they are over.

use crate::{
    app::App,
    frame::frame,
    framing::{Ambiguous, Framing},
    ids,
    limits::Peer,
    problem::Problem,
    routes,
    socket::ClientSocket,
    tls::Arrival,
};
use axum::{Router, middleware::from_fn_with_state, response::IntoResponse};
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1::{self, Parts},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// How long the head of a request may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// The largest head of a request, in bytes and in headers.
const HEAD_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;
/// How long to wait when no connection can be accepted, for want of file descriptors for example.
const BREATH: Duration = Duration::from_millis(100);

/// Answers a head that did not come to its end, which the HTTP library leaves without a word.
async fn too_slow(mut stream: impl AsyncWrite + Unpin) {
    let problem = Problem::TooSlow;
    let Ok(id) = ids::request_id() else { return };
    let Ok(body) = serde_json::to_string(&problem.body(&id)) else { return };
    let status = problem.into_response().status();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // Whether somebody still listens is their business.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// What every connection needs.
pub(crate) struct Connections {
    app: Arc<App>,
    http: http1::Builder,
    router: Router,
    /// What is said to HTTP where TLS is spoken.
    without_tls: Router,
}

/// How requests are read.
pub(crate) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_MAX)
        .max_buf_size(HEAD_MAX);
    http
}

impl Connections {
    pub(crate) fn new(app: &Arc<App>) -> Self {
        let http = http();
        let message = "This port speaks TLS: write https:// instead of http://.";
        let without_tls = Router::new()
            .fallback(async move || Problem::Malformed(message.into()))
            .layer(from_fn_with_state(Arc::clone(app), frame));
        Self { app: Arc::clone(app), http, router: routes::router(Arc::clone(app)), without_tls }
    }

    /// Takes connections for ever.
    pub(crate) async fn accept(self: &Arc<Self>, listener: &TcpListener, tasks: &TaskTracker) -> Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    tasks.spawn(Arc::clone(self).attend(stream, Peer(from.ip())));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn attend(self: Arc<Self>, stream: TcpStream, peer: Peer) {
        // Without it the kernel holds back a token until the one before is acknowledged. A socket that is gone
        // already shows at the first read.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.app.tls else {
            return self.converse(stream, peer, &self.http, &self.router).await;
        };
        match tls.greet(stream).await {
            Arrival::Tls(stream) => self.converse(*stream, peer, &self.http, &self.router).await,
            Arrival::Plain(stream) => {
                let mut once = self.http.clone();
                once.keep_alive(false);
                self.converse(stream, peer, &once, &self.without_tls).await;
            }
            Arrival::Gone => {}
        }
    }

    /// Answers one request after the other. What ends a connection is between us and that client.
    async fn converse<S>(&self, stream: S, peer: Peer, http: &http1::Builder, router: &Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ambiguous = Ambiguous::default();
        let framing = Framing::new(ambiguous.clone());
        let stream = ClientSocket::new(stream, framing, self.app.settings.client_stall_timeout);
        let service = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ambiguous.clone());
            request.extensions_mut().insert(peer);
            request
        });
        let service = TowerToHyperService::new(service);
        let mut connection = http.serve_connection(TokioIo::new(stream), service);
        let draining = &self.app.stop.draining;
        let has_begun_before = !draining.is_cancelled();
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = draining.cancelled(), if has_begun_before => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if ended.is_err_and(|error| error.is_timeout()) {
            let Parts { io, read_buf, .. } = connection.into_parts();
            // A client that has not even begun to ask would take an answer for that to its next question.
            if !read_buf.is_empty() {
                too_slow(io.into_inner()).await;
            }
        }
    }
}
