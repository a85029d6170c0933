//! One line in the log for each request: what is in it, and when it is written.
//!
//! The line never holds a prompt, a token or what an upstream said: [`Record`] has no field for them.

use crate::{
    ids, log,
    metrics::{Held, Metrics},
    proxy::Endpoint,
    trace::{Span, Trace, Tracer},
    usage::Usage,
};
use axum::extract::{MatchedPath, Request};
use http::{HeaderValue, Method, StatusCode, header};
use mcp_api::{ErrorCode, LlmKey, LlmSpec, Subject, SubjectName, headers};
use serde::Serialize;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

/// The outcome of an answer that was given to its last byte.
pub(crate) const DONE: &str = "done";

/// What will be logged about one request. Handlers add to it what they learn.
#[derive(Debug)]
pub(crate) struct Record {
    request_id: String,
    trace: Option<Trace>,
    tracer: Option<Tracer>,
    method: Method,
    route: Option<MatchedPath>,
    began: Instant,
    shows_credential: bool,
    metrics: Arc<Metrics>,
    _active: Held,
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
    run: Option<Run>,
}

/// What is measured of a request that goes on to an upstream.
#[derive(Debug)]
struct Run {
    llm: String,
    provider: String,
    operation: &'static str,
    usage: Option<Usage>,
    _active: Held,
}

impl Run {
    fn labels(&self) -> [&str; 3] {
        [self.operation, &self.provider, &self.llm]
    }
}

impl Record {
    pub(crate) fn new(request: &Request, metrics: Arc<Metrics>, tracer: Option<Tracer>) -> Self {
        // Of two, nobody knows which one a proxy on the way has logged.
        let mut all = request.headers().get_all(headers::REQUEST_ID).iter();
        let given = all.next().filter(|_| all.next().is_none()).and_then(|value| value.to_str().ok());
        let given = given.filter(|id| is_request_id(id)).map(str::to_owned);
        let active = metrics.http_active.held([method(request.method())]);
        Self {
            // An id is for finding a request again, not for keeping anybody out: without randomness there is none.
            request_id: given.or_else(|| ids::request_id().ok()).unwrap_or_else(|| "none".to_owned()),
            trace: Trace::of(request.headers(), tracer.is_some()),
            tracer,
            method: request.method().clone(),
            route: request.extensions().get().cloned(),
            began: Instant::now(),
            shows_credential: request.headers().contains_key(header::AUTHORIZATION),
            metrics,
            _active: active,
            learned: Mutex::default(),
        }
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// `traceparent` for the upstream, if the request is part of a trace.
    pub(crate) fn traceparent(&self) -> Option<HeaderValue> {
        self.trace.as_ref()?.for_upstream()
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

    /// Goes on to the upstream of an LLM, for what is measured.
    pub(crate) fn runs(&self, llm: &LlmSpec, endpoint: Endpoint) {
        let run = Run {
            llm: llm.name.to_string(),
            provider: llm.kind.clone(),
            operation: endpoint.operation(),
            usage: None,
            _active: self.metrics.llm_active.held([llm.name.as_str()]),
        };
        self.learned().run.get_or_insert(run);
    }

    /// Says whether an upstream was asked.
    pub(crate) fn is_run(&self) -> bool {
        self.learned().run.is_some()
    }

    /// Begins to stream an answer to the client.
    pub(crate) fn streams(&self) {
        if let Some(run) = &self.learned().run {
            self.metrics.llm_first.took(run.labels(), self.began.elapsed());
        }
    }

    /// Has seen how many tokens it were.
    pub(crate) fn used(&self, usage: Usage) {
        if let Some(run) = &mut self.learned().run {
            run.usage = Some(usage);
            let [operation, provider, llm] = run.labels();
            for (kind, tokens) in [("input", usage.input), ("output", usage.output)] {
                if let Some(tokens) = tokens {
                    self.metrics.llm_tokens.note([operation, provider, llm, kind], f64::from(tokens));
                }
            }
        }
    }

    /// Counts what came of it.
    fn measure(&self, learned: &Learned, outcome: &'static str) {
        let time = self.began.elapsed();
        let code = learned.code.map(ErrorCode::as_str);
        let error = code.unwrap_or(if outcome == DONE { "" } else { outcome });
        let status = learned.status.unwrap_or_default();
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        self.metrics.http_requests.took([method(&self.method), route, status.as_str(), error], time);
        match learned.code {
            Some(ErrorCode::Unauthenticated) => {
                let reason = if self.shows_credential { "invalid" } else { "absent" };
                self.metrics.login_failures.count([reason]);
            }
            Some(code @ (ErrorCode::DatabaseUnavailable | ErrorCode::OutcomeUnknown)) => {
                self.metrics.database_failures.count([code.as_str()]);
            }
            _ => {}
        }
        if let Some(run) = &learned.run {
            let [operation, provider, llm] = run.labels();
            self.metrics.llm_requests.took([operation, provider, llm, error], time);
            self.metrics.llm_ends.count([llm, if outcome == DONE { code.unwrap_or(DONE) } else { outcome }]);
        }
    }

    /// Tells what came of it to whoever collects traces.
    fn trace(&self, learned: &Learned, outcome: &'static str) {
        let (Some(tracer), Some(trace)) = (&self.tracer, &self.trace) else { return };
        if !trace.is_sampled() {
            return;
        }
        let (method, route) = (method(&self.method), self.route.as_ref().map(MatchedPath::as_str));
        let mut texts = vec![
            ("http.request.method", method.to_owned()),
            ("mcpd.request_id", self.request_id.clone()),
            ("mcpd.outcome", outcome.to_owned()),
        ];
        texts.extend(route.map(|route| ("http.route", route.to_owned())));
        texts.extend(learned.code.map(|code| ("error.type", code.as_str().to_owned())));
        let status = learned.status.unwrap_or_default();
        let mut numbers = vec![("http.response.status_code", u64::from(status.as_u16()))];
        if let Some(run) = &learned.run {
            texts.push(("gen_ai.operation.name", run.operation.to_owned()));
            texts.push(("gen_ai.provider.name", run.provider.clone()));
            texts.push(("gen_ai.request.model", run.llm.clone()));
            let usage = run.usage.unwrap_or(Usage { input: None, output: None });
            numbers.extend(usage.input.map(|tokens| ("gen_ai.usage.input_tokens", u64::from(tokens))));
            numbers.extend(usage.output.map(|tokens| ("gen_ai.usage.output_tokens", u64::from(tokens))));
        }
        let cut = !matches!(outcome, DONE | "client_gone");
        tracer.tell(Span {
            trace: trace.clone(),
            name: format!("{method} {}", route.unwrap_or_default()).trim_end().to_owned(),
            ended: SystemTime::now(),
            took: self.began.elapsed(),
            texts,
            numbers,
            is_failed: status.is_server_error() || cut,
        });
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
        let outcome = learned.outcome.unwrap_or("client_gone");
        record.measure(&learned, outcome);
        record.trace(&learned, outcome);
        log::request(&Fields {
            request_id: &record.request_id,
            trace_id: record.trace.as_ref().map(|trace| trace.id.as_str()),
            method: record.method.as_str(),
            route: record.route.as_ref().map(MatchedPath::as_str),
            status: learned.status.map(|status| status.as_u16()),
            duration_ms: record.began.elapsed().as_millis(),
            user: learned.user.as_deref(),
            llm: learned.llm.as_deref(),
            binding: learned.binding.as_ref().map(SubjectName::as_str),
            code: learned.code.map(ErrorCode::as_str),
            outcome,
        });
    }
}

/// What stands in the line, beside what every line has.
#[derive(Serialize)]
struct Fields<'a> {
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    duration_ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    llm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    outcome: &'a str,
}

/// The methods of HTTP; whatever else somebody makes up is one kind for all.
fn method(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS
        | Method::TRACE
        | Method::CONNECT => method.as_str(),
        _ => "_OTHER",
    }
}

/// `[A-Za-z0-9._-]{1,128}`: fit for a log, a header and a URL.
fn is_request_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
