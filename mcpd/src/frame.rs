//! What surrounds every request: its id, the refusal while stopping, the shape of errors, and one line in the log.
//!
//! The line never holds a prompt, a token or what an upstream said: only what [`Record`] has fields for.

use crate::{app::App, ids, problem::Problem};
use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use mcp_api::{LlmKey, Subject, SubjectName, headers, paths};
use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

const REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);

/// What will be logged about one request. Handlers add to it what they learn.
#[derive(Debug)]
pub(crate) struct Record {
    request_id: String,
    method: Method,
    route: Option<MatchedPath>,
    began: Instant,
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    status: Option<StatusCode>,
    user: Option<String>,
    llm: Option<String>,
    binding: Option<SubjectName>,
    code: Option<&'static str>,
    outcome: Option<&'static str>,
}

impl Record {
    fn new(request: &Request) -> Result<Self, Problem> {
        let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
        Ok(Self {
            request_id: match given.filter(|id| is_request_id(id)) {
                Some(id) => id.to_owned(),
                None => ids::request_id()?,
            },
            method: request.method().clone(),
            route: request.extensions().get().cloned(),
            began: Instant::now(),
            learned: Mutex::default(),
        })
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    pub(crate) fn caller_is(&self, subject: &Subject) {
        self.learned().user = Some(format!("{}/{}", subject.kind, subject.name));
    }

    pub(crate) fn asks_for(&self, llm: &LlmKey) {
        self.learned().llm = Some(llm.to_string());
    }

    pub(crate) fn allowed_by(&self, binding: &SubjectName) {
        self.learned().binding = Some(binding.clone());
    }

    /// Says how the answer ended, if not simply with its last byte.
    pub(crate) fn ended(&self, outcome: &'static str) {
        self.learned().outcome.get_or_insert(outcome);
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        // A panic between two assignments leaves a line that is less complete, not one that is wrong.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the line when it is dropped: after the last byte, or as soon as the client is gone.
struct Line(Arc<Record>);

impl Drop for Line {
    fn drop(&mut self) {
        let record = &self.0;
        let learned = record.learned();
        tracing::info!(
            target: "mcpd::request",
            request_id = record.request_id,
            method = record.method.as_str(),
            route = record.route.as_ref().map(MatchedPath::as_str),
            status = learned.status.map(|status| status.as_u16()),
            duration_ms = u64::try_from(record.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            user = learned.user,
            llm = learned.llm,
            binding = learned.binding.as_ref().map(SubjectName::as_str),
            code = learned.code,
            outcome = learned.outcome.unwrap_or("client_gone"),
            "request"
        );
    }
}

/// The outermost layer of the router.
pub(crate) async fn frame(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let record = match Record::new(&request) {
        Ok(record) => Arc::new(record),
        Err(problem) => return problem.into_response(),
    };
    let line = Line(Arc::clone(&record));
    request.extensions_mut().insert(Arc::clone(&record));
    let is_head = request.method() == Method::HEAD;
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);

    let answered = if app.stop.draining.is_cancelled() && !is_about_health(&request) {
        Problem::ShuttingDown.into_response()
    } else {
        let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        answer.unwrap_or_else(|_| Problem::Internal.into_response())
    };

    let mut response = in_one_shape(answered, &record);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::try_from(record.request_id()) {
        headers.insert(REQUEST_ID, id);
    }
    // A request whose length is given twice is read as chunked, and nothing after it on this connection is read at
    // all: what one reader takes for its body another one must not take for the next request.
    if chunked || app.stop.draining.is_cancelled() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    record.learned().status = Some(response.status());
    if is_head || response.body().is_end_stream() {
        record.ended("done");
    }
    response.map(|inner| Body::new(Logged { inner, line }))
}

fn is_about_health(request: &Request) -> bool {
    [paths::HEALTHZ, paths::READYZ].contains(&request.uri().path())
}

/// `[A-Za-z0-9._-]{1,128}`: fit for a log, a header and a URL.
fn is_request_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
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
    record.learned().code = Some(problem.code().as_str());
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
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(_)) if !self.inner.is_end_stream() => {}
            Some(Ok(_)) | None => self.line.0.ended("done"),
            Some(Err(_)) => self.line.0.ended("aborted"),
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
