//! The one client of mcpd. It never follows a redirect and sends its bearer to one origin only.

pub mod documents;
mod reach;
mod right;

pub use reach::{Reached, reach};

use crate::{
    chat::{self, ChatRequest, Complete, Limits, Sink},
    config::Server,
    credential,
    failover::{Asked, CallFailure, Fault, ProbeReply, Verdict},
    files,
    http::{self, BuildError, Options},
};
use mcp_api::{
    AuditHead, AuditPage, Decision, FailoverReceipt, FailoverReports, Llm, LlmId, LlmKey, LlmList, Nonce,
    ProbeRequest, Secret, headers, paths,
};
use reqwest::{
    Method,
    blocking::{Client, RequestBuilder, Response},
    header::{ACCEPT, CONTENT_TYPE, HeaderMap},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::Read,
    time::{Duration, Instant},
};
use url::Url;

/// The limit for a probe, everything included.
pub const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// The limit for a call that is neither a probe nor an inference.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// The largest document that is read, in bytes.
const DOCUMENT_MAX: u64 = 16 << 20;
const CA_FILE_MAX: u64 = 4 << 20;
/// The longest name of a model that is told, in characters.
const MODEL_MAX: usize = 200;

/// A server, and the credential for it.
pub struct Gateway {
    client: Client,
    server: Url,
    bearer: Secret,
    options: Options,
    request_id: String,
}

/// Why no client of the server can be made.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The file of certificate authorities cannot be read.
    #[error("caFile: {0}")]
    CaFile(#[from] files::FileError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// There is no randomness to be had.
    #[error("the operating system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// What a probe found out.
#[derive(Debug)]
pub struct Probed {
    /// Whether the caller may still use the LLM.
    pub verdict: Verdict,
    /// The status, if there was an answer.
    pub status: Option<u16>,
    /// The server has sent `Mcpd-Decision`.
    pub decision_sent: bool,
    /// The model behind the LLM, if the server told. For people only: nothing is decided by it.
    pub model: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Probed {
    fn unanswered(verdict: Verdict, started: Instant) -> Self {
        Self { verdict, status: None, decision_sent: false, model: None, took: started.elapsed() }
    }
}

impl Gateway {
    /// Prepares to call a server; nothing is sent yet. The head of an answer is awaited for `head` at most.
    pub fn new(
        server: &Server,
        bearer: Secret,
        connect: Duration,
        head: Duration,
    ) -> Result<Self, GatewayError> {
        let extra_roots = server.ca_file.as_deref().map(|path| files::read(path, CA_FILE_MAX)).transpose()?;
        let options = Options { connect, head, extra_roots, local: None };
        let client = http::client(&server.url, &options)?;
        let request_id = format!("r-{}", nonce()?);
        Ok(Self { client, server: server.url.clone(), bearer, options, request_id })
    }

    /// A client for questions that are answered at once.
    pub fn for_calls(server: &Server, bearer: Secret) -> Result<Self, GatewayError> {
        Self::new(server, bearer, Duration::from_secs(5), CALL_LIMIT)
    }

    /// The `x-request-id` of all calls of this run.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The public part of the token: `id` of `mcpd_id_secret`.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        credential::token_id(&self.bearer)
    }

    /// Whose a report is that is permitted now: the public part of the token, or of a JWT what its issuer calls the
    /// caller, as a hash.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        self.token_id().map(str::to_owned).or_else(|| credential::jwt::owner(&self.bearer))
    }

    /// All LLMs the caller may view.
    pub fn llms(&self) -> Result<LlmList, CallFailure> {
        self.get(paths::LLMS)
    }

    /// One LLM.
    pub fn llm(&self, key: &LlmKey) -> Result<Llm, CallFailure> {
        self.get(&paths::llm(key))
    }

    /// Asks whether the caller may still use an LLM, on a connection of its own, in three seconds at most.
    ///
    /// `limit` is what is left of the caller's own time, if that is less.
    pub fn probe(
        &self,
        llm: &LlmKey,
        known_as: Option<LlmId>,
        decision_required: bool,
        limit: Option<Duration>,
    ) -> Probed {
        let limit = limit.map_or(PROBE_LIMIT, |limit| limit.min(PROBE_LIMIT));
        let started = Instant::now();
        let nonce = match nonce() {
            Ok(nonce) => nonce,
            Err(error) => {
                let verdict = Verdict::no_answer(format!("no random numbers: {error}"));
                return Probed::unanswered(verdict, started);
            }
        };
        let asked = Asked { llm: llm.clone(), nonce: nonce.clone(), id: known_as, decision_required };
        let sent = self
            .request(Method::HEAD, &paths::llm(llm))
            .header(headers::PROBE, ProbeRequest { nonce }.to_string())
            .timeout(limit)
            .send();
        // The body of an answer to HEAD does not exist, whatever a box on the way may send: it is not looked at.
        match sent {
            Ok(response) => {
                let reply = reply(&response);
                Probed {
                    verdict: Verdict::judge(&asked, &reply),
                    status: Some(reply.status),
                    decision_sent: !reply.decision.is_empty(),
                    model: told_model(&response),
                    took: started.elapsed(),
                }
            }
            Err(error) => {
                let options = Options { head: limit, ..self.options.clone() };
                let failure = CallFailure::before_content(http::fault(&error, &self.server, &options));
                Probed::unanswered(Verdict::no_answer(failure.told_of("the server").to_string()), started)
            }
        }
    }

    /// Has the LLM answer, and hands over the answer while it arrives. One try.
    pub fn infer(
        &self,
        llm: &LlmKey,
        request: &ChatRequest,
        limits: &Limits,
        sink: &mut dyn Sink,
    ) -> Result<Complete, (CallFailure, Option<HeaderMap>)> {
        let endpoint = chat::Endpoint {
            url: self.url(&paths::infer(llm)),
            bearer: Some(self.bearer.clone()),
            model: model(llm).map(str::to_owned),
            request_id: Some(self.request_id.clone()),
        };
        chat::complete(&self.client, &self.options, &endpoint, limits, request, sink).map_err(|failed| {
            let llm_id = failed.head.as_ref().and_then(decision).and_then(|decision| match decision {
                Decision::Allow { id, .. } => Some(id),
                Decision::Deny { .. } => None,
            });
            (
                CallFailure { fault: failed.fault, delivered: failed.delivered, llm_id, needs: None },
                failed.head,
            )
        })
    }

    /// Reads a document.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallFailure> {
        self.call(self.request(Method::GET, path))
    }

    /// Reads a document within a limit of the caller's.
    pub fn get_within<T: DeserializeOwned>(&self, limit: Duration, path: &str) -> Result<T, CallFailure> {
        self.call_within(limit, self.request(Method::GET, path))
    }

    /// Sends a document and reads the answer.
    pub fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        document: &impl Serialize,
    ) -> Result<T, CallFailure> {
        let body = serde_json::to_vec(document)
            .map_err(|error| CallFailure::before_content(Fault::Unparsable(error.to_string())))?;
        self.call(self.request(method, path).header(CONTENT_TYPE, "application/json").body(body))
    }

    /// A page of the audit trail: what is looked for, after the entry of this number.
    pub fn audit(&self, search: &[(&str, String)], after: Option<u64>) -> Result<AuditPage, CallFailure> {
        let mut url = self.url(paths::AUDIT);
        url.query_pairs_mut()
            .extend_pairs(search)
            .extend_pairs(after.map(|after| ("after", after.to_string())));
        self.call(self.request_to(Method::GET, url))
    }

    /// Where the audit trail ends.
    pub fn audit_head(&self) -> Result<AuditHead, CallFailure> {
        self.get(paths::AUDIT_HEAD)
    }

    /// Tells what local providers were asked in the server's place, within a limit of the caller's.
    pub fn report(&self, reports: &FailoverReports, limit: Duration) -> Result<FailoverReceipt, CallFailure> {
        let body = serde_json::to_vec(reports)
            .map_err(|error| CallFailure::before_content(Fault::Unparsable(error.to_string())))?;
        let request = self.request(Method::POST, paths::FAILOVER_REPORTS);
        self.call_within(limit, request.header(CONTENT_TYPE, "application/json").body(body))
    }

    /// Removes something.
    pub fn delete(&self, path: &str) -> Result<(), CallFailure> {
        self.answer(self.request(Method::DELETE, path), CALL_LIMIT).map(drop)
    }

    fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallFailure> {
        self.call_within(CALL_LIMIT, request)
    }

    fn call_within<T: DeserializeOwned>(
        &self,
        limit: Duration,
        request: RequestBuilder,
    ) -> Result<T, CallFailure> {
        Self::read(self.answer(request, limit)?, limit)
    }

    fn read<T: DeserializeOwned>(response: Response, limit: Duration) -> Result<T, CallFailure> {
        let media_type = chat::media_type(response.headers());
        if media_type != "application/json" {
            return Err(CallFailure::before_content(Fault::Unparsable(format!(
                "content type {media_type:?}"
            ))));
        }
        let mut body = Vec::new();
        let read = response.take(DOCUMENT_MAX).read_to_end(&mut body).map_err(|error| {
            if http::is_timeout(&error) { Fault::NoContent(limit) } else { http::body_fault(&error) }
        });
        read.and_then(|_| serde_json::from_slice(&body).map_err(|error| Fault::Unparsable(error.to_string())))
            .map_err(CallFailure::before_content)
    }

    /// An answer with a status of success, or what happened instead.
    fn answer(&self, request: RequestBuilder, limit: Duration) -> Result<Response, CallFailure> {
        let options = Options { head: limit, ..self.options.clone() };
        let failed = |error| CallFailure::before_content(http::fault(&error, &self.server, &options));
        let request = request.timeout(limit).build().map_err(failed)?;
        let needs = right::needed(request.method(), request.url().path()).map(String::into_boxed_str);
        let response = self.client.execute(request).map_err(failed)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let deadline = Instant::now() + limit.min(chat::ERROR_LIMIT);
        let fault = chat::error_status(response, Some(&self.bearer), deadline);
        Err(CallFailure { needs, ..CallFailure::before_content(fault) })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_to(method, self.url(path))
    }

    /// The URL is one that [`Gateway::url`] has made.
    fn request_to(&self, method: Method, url: Url) -> RequestBuilder {
        self.client
            .request(method, url)
            .bearer_auth(self.bearer.expose())
            .header(ACCEPT, "application/json")
            .header(headers::REQUEST_ID, &self.request_id)
    }

    /// Paths come from [`paths`] and hold nothing that could change the origin.
    fn url(&self, path: &str) -> Url {
        let mut url = self.server.clone();
        url.set_path(path);
        url
    }
}

/// What the body says as `model`: an id would be the name of no model, and the path says it already.
#[must_use]
pub fn model(llm: &LlmKey) -> Option<&str> {
    match llm {
        LlmKey::Name(name) => Some(name.as_str()),
        LlmKey::Id(_) => None,
    }
}

/// The server's decision in the head of an answer about one LLM.
#[must_use]
pub fn decision(head: &HeaderMap) -> Option<Decision> {
    head.get(headers::DECISION)?.to_str().ok()?.parse().ok()
}

fn reply(response: &Response) -> ProbeReply {
    let all = |name: &str| -> Vec<String> {
        let values = response.headers().get_all(name).into_iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    ProbeReply {
        status: response.status().as_u16(),
        decision: all(headers::DECISION),
        failover: all(headers::FAILOVER),
        content_type: all(CONTENT_TYPE.as_str()),
    }
}

/// What the head of an answer says of the model, fit for a line.
fn told_model(response: &Response) -> Option<String> {
    let model = response.headers().get(headers::MODEL)?.to_str().ok()?;
    Some(model.chars().take(MODEL_MAX).collect())
}

fn nonce() -> Result<Nonce, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(Nonce::from_bytes(bytes))
}
