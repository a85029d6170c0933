//! One request at one node: our headers and our key, no redirects, and the answer as far as its first bytes.

use super::{
    Endpoint,
    nodes::Node,
    settings::Times,
    verdict::{Verdict, judge, rejection},
};
use crate::{
    http_client::{ConnectError, Head, HttpClient, Incoming, Request, Target, Wire, WireError},
    problem::{Problem, UpstreamProblem},
    trace::TRACEPARENT,
};
use axum::body::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use mcp_api::{Secret, headers};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// As much of a rejection is read; its reason stands near its start.
const REJECTION_MAX: usize = 64 << 10;
/// A connection that had been closed when we wrote to it shows that within this time.
const STALE: Duration = Duration::from_secs(1);

/// What is asked, whichever node answers it.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) endpoint: Endpoint,
    /// In pieces.
    pub(super) prompt: Vec<Bytes>,
    pub(super) accept: Option<HeaderValue>,
    pub(super) key: Option<&'a Secret>,
    pub(super) request_id: &'a str,
    pub(super) traceparent: Option<HeaderValue>,
    pub(super) times: Times,
}

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) is_stream: bool,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) first: Option<Bytes>,
    pub(super) rest: Incoming,
}

/// How a request at one node ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With an answer that has begun.
    Answer(Answer),
    /// With an answer that every node would give.
    Refused(Problem),
    /// Without an answer. Nothing of it has been passed on.
    Failed(Failure),
    /// With a kept connection that broke as soon as it was used. It may have been closed before, or by the request.
    Stale(WireError),
}

/// Why a node gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It never saw the request.
    #[error("not connected")]
    Unconnected(#[from] ConnectError),
    /// The connection was gone before the request was written to it.
    #[error("the connection was gone")]
    Unsent(#[source] WireError),
    /// It may have seen the request, and even have worked on it.
    #[error("the connection broke")]
    Broken(#[source] WireError),
    /// An answer began and broke before its first byte.
    #[error("the answer ended before it began")]
    Empty,
    /// It failed by itself.
    #[error("the status was {0}")]
    Status(StatusCode),
    /// It has no room now.
    #[error("it has no capacity")]
    Busy(Option<HeaderValue>),
    /// An answer that is none.
    #[error("the answer is none of an OpenAI-compatible server")]
    Nonsense,
    /// A stream whose first event is an error. It can be passed on if there is no other node.
    #[error("the stream began with an error")]
    Error(Box<Answer>),
}

impl Failure {
    /// In a word, for what is counted.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Unconnected(_) | Self::Unsent(_) => "connect",
            Self::Broken(_) | Self::Empty => "broken",
            Self::Status(_) | Self::Error(_) => "status",
            Self::Busy(_) => "busy",
            Self::Nonsense => "nonsense",
        }
    }

    /// Says whether the node may have worked on the request.
    pub(super) fn was_sent(&self) -> bool {
        !matches!(self, Self::Unconnected(_) | Self::Unsent(_))
    }

    /// Says whether the node has surely done nothing: it never saw the request, or says that it has no room for it.
    pub(super) fn did_nothing(&self) -> bool {
        !self.was_sent() || matches!(self, Self::Busy(_) | Self::Status(StatusCode::SERVICE_UNAVAILABLE))
    }

    /// Says whether the node should be left alone for a while. One prompt that it cannot answer is no reason: whoever
    /// sends that prompt could keep everybody from all nodes.
    pub(super) fn is_the_nodes(&self) -> bool {
        match self {
            Self::Unconnected(_) | Self::Unsent(_) | Self::Broken(_) | Self::Empty => true,
            Self::Status(status) => {
                matches!(
                    *status,
                    StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
                )
            }
            Self::Busy(_) | Self::Nonsense | Self::Error(_) => false,
        }
    }

    /// What the caller is told if no other node answers.
    pub(super) fn problem(self) -> UpstreamProblem {
        match self {
            Self::Unconnected(_) | Self::Unsent(_) | Self::Broken(_) => UpstreamProblem::Unavailable,
            Self::Empty => UpstreamProblem::Broken,
            Self::Status(status) => UpstreamProblem::Failed(status),
            Self::Busy(wait) => UpstreamProblem::RateLimited(wait),
            Self::Nonsense | Self::Error(_) => UpstreamProblem::Nonsense,
        }
    }
}

/// Asks one node, on a connection that was `kept` if there is one. Dropping this hangs up on it.
pub(super) async fn ask(client: &HttpClient, call: &Call<'_>, node: &Node, kept: Option<Wire>) -> Outcome {
    match send(client, call, node, kept).await {
        Ok((head, body)) => begin(call, &head, body).await,
        Err(outcome) => outcome,
    }
}

/// A request that comes back unwritten, which nobody can have read, goes out again on a new connection.
async fn send(
    client: &HttpClient,
    call: &Call<'_>,
    node: &Node,
    mut kept: Option<Wire>,
) -> Result<(Head, Incoming), Outcome> {
    loop {
        let (to, request) = call.request(node).map_err(Outcome::Refused)?;
        let (wire, is_new) = if let Some(wire) = kept.take() {
            (wire, false)
        } else {
            let connected = client.connect(&to, call.times.connect).await;
            (connected.map_err(|error| Outcome::Failed(error.into()))?, true)
        };
        let sent = Instant::now();
        match wire.send(request, Arc::downgrade(&node.pool)).await {
            Ok(answer) => return Ok(answer),
            Err(error @ WireError::Unsent(_)) => {
                if is_new {
                    return Err(Outcome::Failed(Failure::Unsent(error)));
                }
            }
            Err(error @ WireError::Ended(_)) if !is_new && sent.elapsed() < STALE => {
                return Err(Outcome::Stale(error));
            }
            Err(error @ (WireError::Ended(_) | WireError::Malformed(_))) => {
                return Err(Outcome::Failed(Failure::Broken(error)));
            }
        }
    }
}

async fn begin(call: &Call<'_>, head: &Head, mut body: Incoming) -> Outcome {
    let is_stream = match judge(head, call.endpoint) {
        Verdict::Stream => true,
        Verdict::Whole => false,
        Verdict::Rejected(status) => {
            let read = timeout(call.times.idle, read_rejection(body)).await.unwrap_or_default();
            return Outcome::Refused(rejection(status, &read, call.key));
        }
        Verdict::Problem(problem) => return judged(head.status, problem),
    };
    // Whoever has seen a byte cannot be given another answer, so none is passed on before there is one.
    let first = loop {
        match body.frame().await {
            None => break None,
            Some(Err(error)) => return Outcome::Failed(Failure::Broken(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if !bytes.is_empty() => break Some(bytes),
                Ok(_) | Err(_) => {}
            },
        }
    };
    if is_stream && first.is_none() {
        return Outcome::Failed(Failure::Empty);
    }
    let is_error = is_stream && first.as_deref().is_some_and(is_error_event);
    let answer = Answer {
        is_stream,
        content_type: head.headers.get(header::CONTENT_TYPE).cloned(),
        first,
        rest: body,
    };
    if is_error { Outcome::Failed(Failure::Error(Box::new(answer))) } else { Outcome::Answer(answer) }
}

fn judged(status: StatusCode, problem: UpstreamProblem) -> Outcome {
    match problem {
        UpstreamProblem::RateLimited(wait) => Outcome::Failed(Failure::Busy(wait)),
        UpstreamProblem::Failed(status) => Outcome::Failed(Failure::Status(status)),
        UpstreamProblem::Nonsense if !status.is_client_error() => Outcome::Failed(Failure::Nonsense),
        // What one node says of the request, or of our key, each would say.
        problem => Outcome::Refused(Problem::Upstream(problem)),
    }
}

/// Says whether a stream begins with an error, as vLLM's does whose engine has died. Looks at no more than its first
/// bytes.
fn is_error_event(first: &[u8]) -> bool {
    [&b"data: {\"error\""[..], b"data:{\"error\"", b"event: error", b"event:error"]
        .iter()
        .any(|sign| first.starts_with(sign))
}

async fn read_rejection(body: Incoming) -> Bytes {
    // A rejection whose reason cannot be read is one without a reason.
    Limited::new(body, REJECTION_MAX)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default()
}

impl Call<'_> {
    /// Writes the request, and says where it goes. Of the caller's headers only `Accept` goes on, never its token.
    fn request(&self, node: &Node) -> Result<(Target, Request), Problem> {
        let internal = || {
            tracing::error!(node = node.url(), "no request can be made for this node");
            Problem::Internal
        };
        let to = node.target().ok_or_else(internal)?.below(self.endpoint.path());
        let request_id = HeaderValue::try_from(self.request_id).map_err(|_| internal())?;
        let mut request = Request::new(&Method::POST, &to)
            .with("content-type", &HeaderValue::from_static("application/json"))
            .with("accept", self.accept.as_ref().unwrap_or(&HeaderValue::from_static("*/*")))
            .with("user-agent", &HeaderValue::from_static(concat!("mcpd/", env!("CARGO_PKG_VERSION"))))
            .with(headers::REQUEST_ID, &request_id);
        if let Some(traceparent) = &self.traceparent {
            request = request.with(TRACEPARENT, traceparent);
        }
        if let Some(key) = self.key {
            request = request.with("authorization", &bearer(key)?);
        }
        Ok((to, request.body(self.prompt.clone())))
    }
}

/// The key as a header that nothing prints.
pub(super) fn bearer(key: &Secret) -> Result<HeaderValue, Problem> {
    let value = HeaderValue::try_from(format!("Bearer {}", key.expose()));
    // A key was checked to be visible ASCII when it was read.
    let mut value = value.map_err(|_| Problem::Internal)?;
    value.set_sensitive(true);
    Ok(value)
}
