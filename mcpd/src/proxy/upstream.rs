//! One request to an upstream: our headers and our key, no redirects, every wait bounded.

use super::{
    Endpoint, Vigil, key,
    relay::Relay,
    verdict::{Head, judge, rejection},
};
use crate::{
    config::Settings,
    log::chain,
    problem::{Problem, UpstreamProblem},
    record::Record,
};
use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use mcp_api::{LlmSpec, Secret, headers};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tower::{BoxError, timeout::Timeout, util::BoxCloneSyncService};

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connector = BoxCloneSyncService<Uri, Stream, BoxError>;

/// As much of a rejection is read; its reason stands near its start.
const REJECTION_MAX: usize = 64 << 10;
/// Shorter than the 5 s after which uvicorn, and with it vLLM, closes an idle connection: the one who closes first
/// must be us, or a prompt meets a closing connection.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// The largest head of an answer, in bytes.
const HEAD_MAX: usize = 64 << 10;

/// The way to all upstreams.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client<Connector, Full<Bytes>>,
    first_byte: Duration,
    idle: Duration,
}

impl Upstream {
    /// Prepares connections; makes none.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let connector = Timeout::new(connector()?, settings.upstream_connect_timeout);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .http1_max_buf_size(HEAD_MAX)
            .build(BoxCloneSyncService::new(connector));
        Ok(Self {
            client,
            first_byte: settings.upstream_first_byte_timeout,
            idle: settings.upstream_idle_timeout,
        })
    }

    /// Asks for what `endpoint` is and gives back the answer as it begins. Dropping it hangs up on the upstream.
    pub(crate) async fn complete(
        &self,
        llm: &LlmSpec,
        endpoint: Endpoint,
        prompt: Vec<u8>,
        accept: Option<HeaderValue>,
        mut vigil: Vigil,
        record: &Arc<Record>,
    ) -> Result<Response, Problem> {
        record.runs(llm, endpoint);
        let key = self.key(llm).await?;
        let request = request(llm, endpoint, prompt, accept, key.as_ref(), record)?;
        let answer = tokio::select! {
            answer = timeout(self.first_byte, self.client.request(request)) => answer,
            breach = vigil.breach() => return Err(breach.problem()),
        };
        let answer = answer.map_err(|_| Problem::Upstream(UpstreamProblem::Timeout))?.map_err(|error| {
            tracing::warn!(llm = %llm.name, error = chain(&error), "no answer from the upstream");
            Problem::Upstream(UpstreamProblem::Unavailable)
        })?;
        let (head, body) = answer.into_parts();
        let relay = match judge(&head, endpoint) {
            Head::Stream => Relay::stream(endpoint, body, vigil, self.idle, Arc::clone(record)),
            Head::Whole => Relay::whole(body, vigil, self.idle, Arc::clone(record)),
            Head::Rejected(status) => {
                let read = timeout(self.idle, read_rejection(body)).await.unwrap_or_default();
                return Err(rejection(status, &read, key.as_ref()));
            }
            Head::Problem(problem) => return Err(Problem::Upstream(problem)),
        };
        let mut response = Response::new(Body::new(relay));
        if let Some(content_type) = head.headers.get(header::CONTENT_TYPE) {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
        }
        Ok(response)
    }

    async fn key(&self, llm: &LlmSpec) -> Result<Option<Secret>, Problem> {
        let Some(reference) = &llm.api_key_ref else { return Ok(None) };
        key::read(reference).await.map(Some).map_err(|error| {
            tracing::error!(llm = %llm.name, %error, "no key for the upstream");
            Problem::Upstream(UpstreamProblem::Auth)
        })
    }
}

/// TCP without delay, and TLS as this system trusts it.
fn connector() -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = HttpsConnectorBuilder::new().with_provider_and_platform_verifier(provider)?;
    Ok(tls.https_or_http().enable_http1().wrap_connector(tcp))
}

/// Writes the request. Of the caller's headers only `Accept` goes on, never its token.
fn request(
    llm: &LlmSpec,
    endpoint: Endpoint,
    prompt: Vec<u8>,
    accept: Option<HeaderValue>,
    key: Option<&Secret>,
    record: &Record,
) -> Result<Request<Full<Bytes>>, Problem> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.of(&llm.url))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, accept.unwrap_or(HeaderValue::from_static("*/*")))
        .header(header::USER_AGENT, concat!("mcpd/", env!("CARGO_PKG_VERSION")))
        .header(headers::REQUEST_ID, record.request_id());
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, bearer(key)?);
    }
    request.body(Full::from(prompt)).map_err(|error| {
        tracing::error!(llm = %llm.name, %error, "no request can be made for this LLM");
        Problem::Internal
    })
}

fn bearer(key: &Secret) -> Result<HeaderValue, Problem> {
    let value = HeaderValue::try_from(format!("Bearer {}", key.expose()));
    // A key was checked to be visible ASCII when it was read.
    let mut value = value.map_err(|_| Problem::Internal)?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read_rejection(body: Incoming) -> Bytes {
    // A rejection whose reason cannot be read is one without a reason.
    Limited::new(body, REJECTION_MAX)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default()
}
