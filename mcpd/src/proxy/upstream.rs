//! One request to an upstream: our headers and our key, no redirects, every wait bounded.

use super::{
    Endpoint, UpstreamSettings, Vigil, key,
    relay::Relay,
    verdict::{Head, judge, rejection},
};
use crate::{
    http_client::{ExchangeError, HttpClient, address},
    log::chain,
    problem::{Problem, UpstreamProblem},
    reach::Reach,
    record::Record,
};
use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use mcp_api::{LlmSpec, Secret, headers};
use std::{net::IpAddr, sync::Arc};
use tokio::time::timeout;
use url::{Host, Url};

/// As much of a rejection is read; its reason stands near its start.
const REJECTION_MAX: usize = 64 << 10;

/// The way to all upstreams.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: HttpClient,
    settings: UpstreamSettings,
}

impl Upstream {
    /// Prepares connections; makes none.
    pub(crate) fn new(settings: &UpstreamSettings) -> anyhow::Result<Self> {
        let reach = Reach::Public(settings.upstream_allow.clone());
        Ok(Self { client: HttpClient::new(reach)?, settings: settings.clone() })
    }

    /// What whoever describes an LLM should know if this server will not connect to it. A name may mean anything, and
    /// is judged when it is used.
    pub(crate) fn out_of_reach(&self, llm: &LlmSpec) -> Option<String> {
        let literal = |url: &String| match Url::parse(url).ok()?.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        let addresses = llm.nodes().iter().filter_map(literal);
        let refused: Vec<_> = addresses.filter(|address| !self.client.reach().allows(*address)).collect();
        let first = refused.first()?;
        Some(format!(
            "This server does not connect to {first}: it is no address of the internet, and --upstream-allow \
             (MCPD_UPSTREAM_ALLOW) does not list it."
        ))
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
            answer = timeout(self.settings.upstream_first_byte_timeout, self.ask(request)) => answer,
            breach = vigil.breach() => return Err(breach.problem()),
        };
        let answer = answer.map_err(|_| Problem::Upstream(UpstreamProblem::Timeout))?.map_err(|error| {
            tracing::warn!(llm = %llm.name, error = chain(&error), "no answer from the upstream");
            Problem::Upstream(UpstreamProblem::Unavailable)
        })?;
        let (head, body) = answer.into_parts();
        let idle = self.settings.upstream_idle_timeout;
        let relay = match judge(&head, endpoint) {
            Head::Stream => Relay::stream(endpoint, body, vigil, idle, Arc::clone(record)),
            Head::Whole => Relay::whole(body, vigil, idle, Arc::clone(record)),
            Head::Rejected(status) => {
                let read = timeout(idle, read_rejection(body)).await.unwrap_or_default();
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

    async fn ask(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<hyper::Response<Incoming>, ExchangeError> {
        let limit = self.settings.upstream_connect_timeout;
        let mut wire = self.client.connect(request.uri(), limit).await?;
        address(&mut request);
        wire.send_request(request).await.map_err(ExchangeError::Broken)
    }

    async fn key(&self, llm: &LlmSpec) -> Result<Option<Secret>, Problem> {
        let Some(reference) = &llm.api_key_ref else { return Ok(None) };
        key::read(reference).await.map(Some).map_err(|error| {
            tracing::error!(llm = %llm.name, %error, "no key for the upstream");
            Problem::Upstream(UpstreamProblem::Auth)
        })
    }
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
