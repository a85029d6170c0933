//! What can be wrong with a request, and how each of them is said: status, code, origin and a sentence.
//!
//! A leaf: it knows no handler. The response carries the [`Problem`] itself; [`crate::frame`] adds the request id
//! and writes the body, so that every error on every route looks the same.

use crate::limits::Reached;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mcp_api::{Decision, ErrorBody, ErrorCode, ErrorDetail, Nonce, Origin, headers};
use std::{sync::Arc, time::Duration};

/// Why a request was not done.
#[derive(Debug)]
pub(crate) enum Problem {
    /// No token, or none that is valid now.
    Unauthenticated,
    /// No right, whether or not the thing exists.
    Forbidden,
    /// The same about an LLM, where the answer also says so in `Mcpd-Decision`.
    LlmForbidden(Option<Nonce>),
    /// The LLM is off.
    LlmDisabled(Option<Nonce>),
    /// The caller would give away what it does not hold; names that.
    Escalation(String),
    /// The caller would have an LLM use a key that it may not use; names that.
    Secret(String),
    /// The caller may see all of the kind, and there is no such one.
    NotFound(&'static str),
    /// No route has this path.
    NoSuchPath,
    /// The route does not take this method.
    MethodNotAllowed,
    /// It exists already, or the change would break something that must stay.
    Conflict(String),
    /// It is not in the state that the change is meant for.
    PreconditionFailed,
    /// Not HTTP or JSON as it should be.
    Malformed(String),
    /// Well-formed, but not what the route takes.
    Invalid(String),
    /// A body of another type than JSON.
    NotJson,
    /// A body over the limit, in bytes.
    TooLarge(usize),
    /// A request that did not arrive in time.
    TooSlow,
    /// A login failed, as too many others have of late; carries when to come back.
    TooManyLogins(Duration),
    /// More is asked than may be.
    Limited(Reached),
    /// The caller's bodies under way are as much as they may be together.
    TooMuchAtOnce,
    /// Those of all callers are.
    Full,
    /// The issuer of a token cannot be asked for its keys.
    IssuerAway,
    /// The database cannot be asked.
    Database,
    /// The database went away while a change was being committed.
    Uncertain,
    /// The server is stopping.
    ShuttingDown,
    /// The right to run went away while the upstream was at work.
    Revoked,
    /// The token ended while the upstream was at work.
    Ended,
    /// The upstream failed.
    Upstream(UpstreamProblem),
    /// A bug.
    Internal,
}

/// How the upstream failed, in words that hold nothing it said but what a caller may read.
#[derive(Debug)]
pub(crate) enum UpstreamProblem {
    /// No connection, or none that lasted until the head of an answer.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// It rejects our key, or we have none.
    Auth,
    /// It rejects the request: 400, 413 or 422, and its own reason.
    Rejected(StatusCode, Option<String>),
    /// It limits our rate; carries its `Retry-After`.
    RateLimited(Option<HeaderValue>),
    /// It has no such endpoint.
    Unsupported,
    /// Its own 5xx.
    Failed(StatusCode),
    /// An answer that is none.
    Nonsense,
    /// An answer that began and did not end.
    Broken,
}

/// What is said while bodies take all the memory that they may.
const FULL: &str = "The requests that are under way are as large together as this server takes.";

/// How one problem is said.
struct Saying {
    status: StatusCode,
    code: ErrorCode,
    origin: Origin,
    message: String,
}

fn say(status: StatusCode, code: ErrorCode, origin: Origin, message: impl Into<String>) -> Saying {
    Saying { status, code, origin, message: message.into() }
}

impl Problem {
    pub(crate) fn code(&self) -> ErrorCode {
        self.saying().code
    }

    /// The body, with the id of the request that it answers.
    pub(crate) fn body(&self, request_id: &str) -> ErrorBody {
        let Saying { status, code, origin, message } = self.saying();
        let kind = openai_class(status).to_owned();
        ErrorBody { error: ErrorDetail { message, kind, code, origin, request_id: request_id.to_owned() } }
    }

    fn saying(&self) -> Saying {
        use ErrorCode as Code;
        use Origin::{Gateway, Policy, Quota};
        match self {
            Self::Unauthenticated => {
                let message = "A valid token is needed, of this server or of an issuer that it trusts: `Authorization: Bearer TOKEN`.";
                say(StatusCode::UNAUTHORIZED, Code::Unauthenticated, Policy, message)
            }
            Self::Forbidden | Self::LlmForbidden(_) => {
                let message =
                    "You do not have the right to do this. Ask an administrator for a role binding.";
                say(StatusCode::FORBIDDEN, Code::Forbidden, Policy, message)
            }
            Self::LlmDisabled(_) => {
                say(StatusCode::FORBIDDEN, Code::LlmDisabled, Policy, "This LLM is switched off.")
            }
            Self::Escalation(rights) => {
                let message = format!("Nobody grants what they do not hold; you lack: {rights}.");
                say(StatusCode::FORBIDDEN, Code::Forbidden, Policy, message)
            }
            Self::Secret(which) => {
                let message = format!(
                    "Who says where a key is sent must be allowed to use it; you lack: run on {which}."
                );
                say(StatusCode::FORBIDDEN, Code::Forbidden, Policy, message)
            }
            Self::NotFound(noun) => {
                say(StatusCode::NOT_FOUND, Code::NotFound, Gateway, format!("There is no such {noun}."))
            }
            Self::NoSuchPath => {
                say(StatusCode::NOT_FOUND, Code::NotFound, Gateway, "This server has no such path.")
            }
            Self::MethodNotAllowed => {
                let message = "This path does not take this method; see the header `Allow`.";
                say(StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed, Gateway, message)
            }
            Self::PreconditionFailed => {
                let message = "It was changed by somebody else meanwhile; read it again.";
                say(StatusCode::PRECONDITION_FAILED, Code::PreconditionFailed, Gateway, message)
            }
            Self::Conflict(message) => say(StatusCode::CONFLICT, Code::Conflict, Gateway, message),
            Self::Malformed(message) => say(StatusCode::BAD_REQUEST, Code::Invalid, Gateway, message),
            Self::Invalid(message) => say(StatusCode::UNPROCESSABLE_ENTITY, Code::Invalid, Gateway, message),
            Self::NotJson => {
                let message = "The body must be JSON, with `Content-Type: application/json`.";
                say(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Invalid, Gateway, message)
            }
            Self::TooLarge(limit) => {
                let message = format!("The body is larger than {limit} bytes, the limit of this server.");
                say(StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge, Gateway, message)
            }
            Self::TooSlow => say(
                StatusCode::REQUEST_TIMEOUT,
                Code::Invalid,
                Gateway,
                "The request did not arrive in time.",
            ),
            Self::TooManyLogins(_) => {
                let message = "Too many logins have failed from here, or with this token; this one did too.";
                say(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, Quota, message)
            }
            Self::Limited(reached) => {
                say(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, Quota, reached.to_string())
            }
            Self::TooMuchAtOnce => {
                let message = "The requests that you have under way are as large together as they may be.";
                say(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, Quota, message)
            }
            Self::Full => say(StatusCode::SERVICE_UNAVAILABLE, Code::RateLimited, Gateway, FULL),
            Self::IssuerAway => {
                let message = "The issuer of this token cannot be asked for its keys just now; try again.";
                say(StatusCode::SERVICE_UNAVAILABLE, Code::IssuerUnavailable, Gateway, message)
            }
            Self::Database => {
                let message = "The server's database cannot be asked just now; try again.";
                say(StatusCode::SERVICE_UNAVAILABLE, Code::DatabaseUnavailable, Gateway, message)
            }
            Self::Uncertain => {
                let message = "The database went away while the change was being made: look whether it was.";
                say(StatusCode::SERVICE_UNAVAILABLE, Code::OutcomeUnknown, Gateway, message)
            }
            Self::ShuttingDown => {
                let message = "The server is stopping; try again.";
                say(StatusCode::SERVICE_UNAVAILABLE, Code::ShuttingDown, Gateway, message)
            }
            Self::Revoked => {
                let message = "The right to run this LLM was withdrawn.";
                say(StatusCode::FORBIDDEN, Code::Revoked, Policy, message)
            }
            Self::Ended => {
                let message = "The token has ended; come back with a new one.";
                say(StatusCode::FORBIDDEN, Code::Revoked, Policy, message)
            }
            Self::Upstream(upstream) => upstream.saying(),
            Self::Internal => {
                let message = "Something went wrong in the server; its log has the request id.";
                say(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, Gateway, message)
            }
        }
    }

    /// The headers that go with one problem only.
    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        match self {
            Self::Unauthenticated => {
                vec![(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))]
            }
            Self::LlmForbidden(nonce) | Self::LlmDisabled(nonce) => {
                vec![decision_header(&Decision::Deny { nonce: nonce.clone() })]
            }
            Self::Revoked | Self::Ended => vec![decision_header(&Decision::Deny { nonce: None })],
            Self::TooMuchAtOnce | Self::Full | Self::IssuerAway | Self::Database | Self::ShuttingDown => {
                vec![(header::RETRY_AFTER, HeaderValue::from_static("1"))]
            }
            Self::TooManyLogins(wait) => vec![retry_after(*wait)],
            Self::Limited(reached) => vec![retry_after(reached.wait)],
            Self::Upstream(UpstreamProblem::RateLimited(Some(wait))) => {
                vec![(header::RETRY_AFTER, wait.clone())]
            }
            // What the SDKs of OpenAI ask before they try a 5xx once more.
            Self::Upstream(UpstreamProblem::Unsupported) => {
                vec![(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"))]
            }
            // Who only tries again could make it twice.
            Self::Uncertain
            | Self::Forbidden
            | Self::Escalation(_)
            | Self::Secret(_)
            | Self::NotFound(_)
            | Self::NoSuchPath
            | Self::MethodNotAllowed
            | Self::Conflict(_)
            | Self::PreconditionFailed
            | Self::Malformed(_)
            | Self::Invalid(_)
            | Self::NotJson
            | Self::TooLarge(_)
            | Self::TooSlow
            | Self::Upstream(_)
            | Self::Internal => Vec::new(),
        }
    }
}

impl UpstreamProblem {
    fn saying(&self) -> Saying {
        use ErrorCode as Code;
        let upstream = |status, code, message: &str| say(status, code, Origin::Upstream, message);
        match self {
            Self::Unavailable => upstream(
                StatusCode::BAD_GATEWAY,
                Code::UpstreamUnavailable,
                "The upstream cannot be reached.",
            ),
            Self::Timeout => upstream(
                StatusCode::GATEWAY_TIMEOUT,
                Code::UpstreamTimeout,
                "The upstream did not answer in time.",
            ),
            Self::Auth => upstream(
                StatusCode::BAD_GATEWAY,
                Code::UpstreamAuth,
                "The upstream rejects the key that this server uses for it; tell an administrator.",
            ),
            Self::Rejected(status, reason) => {
                let message = reason.as_deref().unwrap_or("The upstream rejects this request.");
                upstream(*status, Code::UpstreamRejected, message)
            }
            Self::RateLimited(_) => upstream(
                StatusCode::TOO_MANY_REQUESTS,
                Code::RateLimited,
                "The upstream has no capacity left for this server just now.",
            ),
            Self::Unsupported => upstream(
                StatusCode::NOT_IMPLEMENTED,
                Code::UpstreamUnsupported,
                "The upstream of this LLM does not have this endpoint.",
            ),
            Self::Failed(status) if *status == StatusCode::SERVICE_UNAVAILABLE => {
                upstream(*status, Code::UpstreamUnavailable, "The upstream is not available just now.")
            }
            Self::Failed(status) => upstream(*status, Code::UpstreamError, "The upstream failed."),
            Self::Nonsense => upstream(
                StatusCode::BAD_GATEWAY,
                Code::UpstreamError,
                "The upstream did not answer like an OpenAI-compatible server.",
            ),
            Self::Broken => {
                upstream(StatusCode::BAD_GATEWAY, Code::UpstreamError, "The upstream's answer broke off.")
            }
        }
    }
}

/// `OpenAI`'s word for the class of an error, for clients that look at nothing else.
fn openai_class(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        other if other.is_server_error() => "server_error",
        _ => "invalid_request_error",
    }
}

/// Whole seconds, and at least one: who comes back too early is only told the same again.
fn retry_after(wait: Duration) -> (HeaderName, HeaderValue) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    (header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
}

/// Writes a decision as a header.
pub(crate) fn decision_header(decision: &Decision) -> (HeaderName, HeaderValue) {
    // Names, ids and nonces are ASCII by their grammars; were that to change, no header is a "no".
    let value = HeaderValue::try_from(decision.to_string()).unwrap_or(HeaderValue::from_static("deny"));
    (HeaderName::from_static(headers::DECISION), value)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Saying { status, code, origin, .. } = self.saying();
        let mut response = status.into_response();
        let own = [
            (HeaderName::from_static(headers::ERROR_ORIGIN), HeaderValue::from_static(origin.as_str())),
            (HeaderName::from_static(headers::ERROR_CODE), HeaderValue::from_static(code.as_str())),
        ];
        response.headers_mut().extend(own.into_iter().chain(self.headers()).collect::<HeaderMap>());
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<getrandom::Error> for Problem {
    fn from(error: getrandom::Error) -> Self {
        tracing::error!(%error, "the system gives no random numbers");
        Self::Internal
    }
}
