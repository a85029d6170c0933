//! What surrounds every request: its id, the refusal while stopping, the shape of errors, and its line in the log.

use crate::{
    app::App,
    framing::Ambiguous,
    linger,
    problem::Problem,
    record::{DONE, Line, Record},
    usage::Beside,
};
use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use mcp_api::{headers, paths};
use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

const REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);

/// What is said to a request that two readers may cut at different places.
const AMBIGUOUS: &str = "The request can be read in two ways: its lines must end in CR LF, and its body must have one length, \
                         as a number or as chunks.";

/// The outermost layer of the router.
pub(crate) async fn frame(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let record = Arc::new(Record::new(&request, Arc::clone(&app.metrics), app.tracer.clone()));
    let line = Line(Arc::clone(&record));
    request.extensions_mut().insert(Arc::clone(&record));
    let is_head = request.method() == Method::HEAD;
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);

    let is_ambiguous = request.extensions().get().is_some_and(Ambiguous::is_found);
    let answered = if is_ambiguous {
        Problem::Malformed(AMBIGUOUS.into()).into_response()
    } else if app.stop.draining.is_cancelled() && !is_about_health(&request) {
        Problem::ShuttingDown.into_response()
    } else {
        let request = request.map(linger::read_on);
        let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        answer.unwrap_or_else(|_| Problem::Internal.into_response())
    };

    let mut response = in_one_shape(answered, &record);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::try_from(record.request_id()) {
        headers.insert(REQUEST_ID, id);
    }
    // Nothing after a chunked body is read on its connection: see [`crate::framing`].
    if is_chunked || is_ambiguous || app.stop.leaving.is_cancelled() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    record.answers(response.status());
    if is_head || response.body().is_end_stream() {
        record.ended(DONE);
    }
    let beside = (record.is_run() && response.status().is_success()).then(|| Beside::new(response.headers()));
    response.map(|inner| Body::new(Logged { inner, line, beside }))
}

fn is_about_health(request: &Request) -> bool {
    [paths::HEALTHZ, paths::READYZ].contains(&request.uri().path())
}

/// Gives every error its body, also those that the router makes by itself.
fn in_one_shape(response: Response, record: &Record) -> Response {
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Arc<Problem>>() {
        Some(problem) => problem,
        None if parts.status.is_client_error() || parts.status.is_server_error() => {
            return in_one_shape(named(parts.status, parts.headers), record);
        }
        None => return Response::from_parts(parts, body),
    };
    record.fails_with(problem.code());
    // Wire types of our own always serialise; an empty body is still an error with its headers.
    let body = serde_json::to_vec(&problem.body(record.request_id())).unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(body))
}

/// Finds the name of an error that is only a status, and keeps its headers: `Allow` is one of them.
fn named(status: StatusCode, headers: HeaderMap) -> Response {
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::NoSuchPath,
        StatusCode::METHOD_NOT_ALLOWED => Problem::MethodNotAllowed,
        other if other.is_client_error() => Problem::Malformed("The request is malformed.".into()),
        _ => Problem::Internal,
    };
    let mut response = problem.into_response();
    response.headers_mut().extend(headers);
    response
}

/// A body that knows when it is over.
struct Logged {
    inner: Body,
    line: Line,
    /// Only of what an LLM answers.
    beside: Option<Beside>,
}

impl Logged {
    fn over(&mut self, outcome: &'static str) {
        self.line.0.ended(outcome);
        if let Some(usage) = self.beside.take().and_then(Beside::usage) {
            self.line.0.used(usage);
        }
    }
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let this = &mut *self;
        if let (Some(beside), Some(Ok(frame))) = (&mut this.beside, &frame)
            && let Some(bytes) = frame.data_ref()
            && beside.sees(bytes)
        {
            this.line.0.streams();
        }
        match &frame {
            Some(Ok(_)) if !this.inner.is_end_stream() => {}
            Some(Ok(_)) | None => this.over(DONE),
            Some(Err(_)) => this.over("aborted"),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
