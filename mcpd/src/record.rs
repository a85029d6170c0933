//! One line in the log for each request: what is in it, and when it is written.
//!
//! The line never holds a prompt, a token or what an upstream said: [`Record`] has no field for them.

use crate::ids;
use axum::extract::{MatchedPath, Request};
use http::{Method, StatusCode};
use mcp_api::{ErrorCode, LlmKey, Subject, SubjectName, headers};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

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
    code: Option<ErrorCode>,
    outcome: Option<&'static str>,
}

impl Record {
    pub(crate) fn new(request: &Request) -> Self {
        let given = request.headers().get(headers::REQUEST_ID).and_then(|value| value.to_str().ok());
        let given = given.filter(|id| is_request_id(id)).map(str::to_owned);
        Self {
            // An id is for finding a request again, not for keeping anybody out: without randomness there is none.
            request_id: given.or_else(|| ids::request_id().ok()).unwrap_or_else(|| "none".to_owned()),
            method: request.method().clone(),
            route: request.extensions().get().cloned(),
            began: Instant::now(),
            learned: Mutex::default(),
        }
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

    /// Names the binding that allows it; none if none does.
    pub(crate) fn decided(&self, binding: Option<&SubjectName>) {
        self.learned().binding = binding.cloned();
    }

    /// Names the binding that allows a change; the first one that does is the one that counts.
    pub(crate) fn granted(&self, binding: &SubjectName) {
        self.learned().binding.get_or_insert_with(|| binding.clone());
    }

    /// The binding that allowed it, if one did.
    pub(crate) fn binding(&self) -> Option<SubjectName> {
        self.learned().binding.clone()
    }

    pub(crate) fn fails_with(&self, code: ErrorCode) {
        self.learned().code = Some(code);
    }

    pub(crate) fn answers(&self, status: StatusCode) {
        self.learned().status = Some(status);
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
#[derive(Debug)]
pub(crate) struct Line(pub(crate) Arc<Record>);

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
            code = learned.code.map(ErrorCode::as_str),
            outcome = learned.outcome.unwrap_or("client_gone"),
            "request"
        );
    }
}

/// `[A-Za-z0-9._-]{1,128}`: fit for a log, a header and a URL.
fn is_request_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
