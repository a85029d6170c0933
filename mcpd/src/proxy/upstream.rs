//! The way to all upstreams: from node to node until one has begun to answer, within one time.

use super::{
    Endpoint, UpstreamSettings, Vigil,
    attempt::{Answer, Call, Failure, Outcome, ask, bearer},
    key,
    nodes::{Group, Node, NodeView, Nodes, Tour, Turn},
    relay::Relay,
    vigil::{Breach, Right},
};
use crate::{
    http_client::{HttpClient, Request},
    log::chain,
    metrics::Metrics,
    problem::{Problem, UpstreamProblem},
    reach::Reach,
    record::Record,
};
use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{HeaderValue, Method, header};
use mcp_api::{LlmSpec, Secret};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

/// As many nodes may have begun to work on one request. A prompt that ends whoever reads it ends no more of them.
const SENT_MAX: usize = 3;

/// The way to all upstreams.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: HttpClient,
    settings: UpstreamSettings,
    nodes: Nodes,
    metrics: Arc<Metrics>,
}

impl Upstream {
    /// Prepares connections; makes none.
    pub(crate) fn new(settings: &UpstreamSettings, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let reach = Reach::Public(settings.upstream_allow.clone());
        Ok(Self {
            client: HttpClient::new(reach)?,
            settings: settings.clone(),
            nodes: Nodes::default(),
            metrics,
        })
    }

    /// What whoever describes an LLM should know if this server will not connect to it. A name may mean anything, and
    /// is judged when it is used.
    pub(crate) fn out_of_reach(&self, llm: &LlmSpec) -> Option<String> {
        let literal = |url: &String| match Url::parse(url).ok()?.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        let mut addresses = llm.nodes().iter().filter_map(literal);
        let refused = addresses.find(|address| !self.client.reach().allows(*address))?;
        Some(format!(
            "This server does not connect to {refused}: it is no address of the internet, and --upstream-allow \
             (MCPD_UPSTREAM_ALLOW) does not list it."
        ))
    }

    /// Forgets the LLMs of which `keeps` is false, and shows the nodes of the others.
    pub(crate) fn nodes(&self, keeps: impl Fn(&str) -> bool) -> Vec<NodeView> {
        self.nodes.look(keeps)
    }

    /// Asks for what `endpoint` is and gives back the answer as it begins. Dropping it hangs up on the upstream.
    pub(crate) async fn complete(
        &self,
        llm: &LlmSpec,
        endpoint: Endpoint,
        prompt: Vec<Bytes>,
        accept: Option<HeaderValue>,
        mut vigil: Vigil,
        record: &Arc<Record>,
    ) -> Result<Response, Problem> {
        record.runs(llm, endpoint);
        let key = self.key(llm).await?;
        let times = self.settings.times(&llm.timeouts);
        let call = Call {
            endpoint,
            prompt,
            accept,
            key: key.as_ref(),
            request_id: record.request_id(),
            traceparent: record.traceparent(),
            times,
        };
        let right = vigil.right();
        let (answer, turn) = tokio::select! {
            answer = self.answer(llm, &call, &right) => answer?,
            breach = vigil.breach() => return Err(breach.problem()),
        };
        let content_type = answer.content_type.clone();
        let relay = Relay::new(answer, turn, endpoint, vigil, times.idle, Arc::clone(record));
        let mut response = Response::new(Body::new(relay));
        if let Some(content_type) = content_type {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        Ok(response)
    }

    /// Has one node after the other asked, until one has begun to answer or all has been tried.
    ///
    /// Nobody else gets the prompt before it is known that the right to run still stands.
    async fn answer(&self, llm: &LlmSpec, call: &Call<'_>, right: &Right) -> Result<(Answer, Turn), Problem> {
        let deadline = Instant::now() + call.times.first_byte;
        let nodes = self.nodes.of(llm);
        self.look_at_due(&nodes, call);
        let (mut tour, mut sent) = (Tour::of(nodes), 0);
        let mut last = None;
        while let Some(mut turn) = tour.next() {
            if let Some(failure) = last.take() {
                right.confirm().await.map_err(Breach::problem)?;
                self.metrics.upstream_retries.count([llm.name.as_str(), Failure::reason(&failure)]);
            }
            let asked = timeout_at(deadline, self.ask(call, turn.node(), right, &mut sent));
            let Ok(outcome) = asked.await else {
                // Not tried again: it may be at work, and another one would take as long.
                turn.failed();
                self.note(llm, call, &turn, "timeout", "no answer in time");
                return Err(Problem::Upstream(UpstreamProblem::Timeout));
            };
            let failure = match outcome? {
                Outcome::Answer(answer) => {
                    turn.answered();
                    return Ok((answer, turn));
                }
                Outcome::Refused(problem) => {
                    turn.answered();
                    return Err(problem);
                }
                Outcome::Failed(failure) => failure,
                Outcome::Stale(error) => Failure::Broken(error),
            };
            self.note(llm, call, &turn, failure.reason(), &chain(&failure));
            if failure.is_the_nodes() {
                turn.failed();
            } else {
                turn.answered();
            }
            sent += usize::from(failure.was_sent());
            let may_go_on = call.endpoint.is_repeatable() || failure.did_nothing();
            let is_last = !may_go_on || sent >= SENT_MAX || !tour.goes_on();
            match failure {
                // It is the upstream's own word, and a whole stream.
                Failure::Error(answer) if is_last => return Ok((*answer, turn)),
                failure if is_last => return Err(Problem::Upstream(failure.problem())),
                failure => last = Some(failure),
            }
        }
        // Those that are left rest, and enough of them were asked.
        Err(Problem::Upstream(last.map_or(UpstreamProblem::Unavailable, Failure::problem)))
    }

    /// Asks one node, and once more if the connection that was kept to it broke at once: most often the node had closed
    /// it. It may have read the prompt all the same, so that counts. What must not happen twice gets a new connection.
    async fn ask(
        &self,
        call: &Call<'_>,
        node: &Node,
        right: &Right,
        sent: &mut usize,
    ) -> Result<Outcome, Problem> {
        let kept = if call.endpoint.is_repeatable() { node.pool.take() } else { None };
        match ask(&self.client, call, node, kept).await {
            Outcome::Stale(_) if *sent + 1 < SENT_MAX => {
                *sent += 1;
                right.confirm().await.map_err(Breach::problem)?;
                Ok(ask(&self.client, call, node, None).await)
            }
            outcome => Ok(outcome),
        }
    }

    /// Says in the log and in the metrics how a node failed.
    fn note(&self, llm: &LlmSpec, call: &Call<'_>, turn: &Turn, reason: &'static str, error: &str) {
        let (node, request_id) = (turn.node().url(), call.request_id);
        tracing::warn!(llm = %llm.name, request_id, node, reason, error, "no answer from the upstream");
        self.metrics.upstream_failures.count([llm.name.as_str(), node, reason]);
    }

    /// Looks beside the request whether nodes that have rested answer again.
    fn look_at_due(&self, nodes: &Arc<Group>, call: &Call<'_>) {
        for node in nodes.due(Instant::now()) {
            let (client, limit) = (self.client.clone(), call.times.connect);
            let key = call.key.and_then(|key| bearer(key).ok());
            tokio::spawn(async move {
                let answers = answers(&client, &node, key, limit).await;
                node.looked(answers);
            });
        }
    }

    async fn key(&self, llm: &LlmSpec) -> Result<Option<Secret>, Problem> {
        let Some(reference) = &llm.api_key_ref else { return Ok(None) };
        key::read(reference).await.map(Some).map_err(|error| {
            tracing::error!(llm = %llm.name, %error, "no key for the upstream");
            Problem::Upstream(UpstreamProblem::Auth)
        })
    }
}

/// Says whether a node answers at all: any answer but a failure will do, since not every server lists its models.
async fn answers(client: &HttpClient, node: &Node, key: Option<HeaderValue>, limit: Duration) -> bool {
    let Some(to) = node.target().map(|target| target.below("/models")) else { return false };
    let mut request = Request::new(&Method::GET, &to);
    if let Some(key) = key {
        request = request.with("authorization", &key);
    }
    client.exchange(&to, request, limit).await.is_ok_and(|(head, _)| !head.status.is_server_error())
}
