//! What reads bytes of others and is private elsewhere, as plain functions: `mcp-fuzz` calls them with bytes that nobody
//! would send. Nothing of the server uses this.

use crate::{
    connections,
    framing::{Ambiguous, Framing},
    segment::{Name, Who},
    socket::ClientSocket,
};
use axum::{Router, body::Body, routing::any};
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use mcp_api::paths;
use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::ServiceExt;

pub use crate::http_client::fuzzing::{Answer, End, answer};

/// A request as the server takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its method.
    pub method: String,
    /// Its target, as it was sent.
    pub target: String,
    /// Its body; nothing if it did not come to its end.
    pub body: Option<Vec<u8>>,
}

/// Says whether a request that comes in these pieces, or one after it, can be cut at two places.
pub fn is_ambiguous(pieces: &[&[u8]]) -> bool {
    let found = Ambiguous::default();
    let mut framing = Framing::new(found.clone());
    for piece in pieces {
        framing.see(piece);
    }
    found.is_found()
}

/// Has the HTTP library read a connection as the server has it read, with the same watcher before it; gives the requests
/// that would have been answered by more than a refusal.
///
/// # Errors
///
/// If there is no runtime to be had.
pub fn requests(bytes: &[u8]) -> io::Result<Vec<Taken>> {
    let (ambiguous, taken) = (Ambiguous::default(), Rc::new(RefCell::new(Vec::new())));
    let socket = Recorded { bytes: bytes.to_vec(), at: 0 };
    let socket = ClientSocket::new(socket, Framing::new(ambiguous.clone()), Duration::from_secs(1));
    let service = service_fn(|request: Request<Incoming>| {
        let (ambiguous, taken) = (ambiguous.clone(), Rc::clone(&taken));
        async move {
            let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
            let is_ambiguous = ambiguous.is_found();
            if !is_ambiguous {
                let (head, body) = request.into_parts();
                let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
                let (method, target) = (head.method.to_string(), head.uri.to_string());
                taken.borrow_mut().push(Taken { method, target, body });
            }
            let mut response = Response::new(String::new());
            // As in `frame`.
            if is_chunked || is_ambiguous {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    // How it ends is no part of what was taken.
    let _ = runtime.block_on(connections::http().serve_connection(TokioIo::new(socket), service));
    Ok(taken.take())
}

/// The names that the server finds in a path, joined by `/`; nothing if it is no path with names.
pub fn named(path: &str) -> Option<String> {
    thread_local! {
        static NAMES: Router = Router::new()
            .route(paths::RBAC, any(async |Name(name): Name| name.to_string()))
            .route(paths::SUBJECT, any(async |Who(it): Who| format!("{}/{}", it.kind.path_segment(), it.name)));
    }
    let request = Request::builder().uri(path).body(Body::empty()).ok()?;
    let answer = NAMES.with(Router::clone).oneshot(request).now_or_never()?.ok()?;
    let names = answer.status().is_success().then(|| answer.into_body().collect().now_or_never())??.ok()?;
    String::from_utf8(names.to_bytes().to_vec()).ok()
}

/// A client that has said everything, one piece after the other, and hears nothing.
struct Recorded {
    bytes: Vec<u8>,
    at: usize,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let end = self.bytes.len().min(self.at + into.remaining());
        into.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
