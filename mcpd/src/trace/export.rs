//! Sends spans to a collector, many at once. A collector that is away costs spans, and never a request.

use super::span::{Span, batch};
use crate::{
    http_client::{HttpClient, Request, Target},
    log::chain,
    reach::Reach,
};
use axum::body::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Uri};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// How many spans may wait.
const WAITING_MAX: usize = 4096;
/// How many go in one request.
const BATCH_MAX: usize = 512;
/// How long to gather before the next request.
const GATHER: Duration = Duration::from_millis(500);
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the log is told that it does not work.
const COMPLAINTS: Duration = Duration::from_mins(1);

/// Where spans go.
#[derive(Debug, Clone, Args)]
pub(crate) struct TraceSettings {
    /// Where to send a span for each request: the traces URL of an OpenTelemetry collector (OTLP over HTTP), such as
    /// `http://127.0.0.1:4318/v1/traces`
    #[arg(long, env = "MCPD_OTLP_TRACES", value_parser = collector, value_name = "URL")]
    pub(crate) otlp_traces: Option<Uri>,
}

fn collector(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| "this is no URL")?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_login = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if !is_web || uri.host().is_none() || has_login {
        return Err("write a URL such as http://127.0.0.1:4318/v1/traces, without a login".to_owned());
    }
    Ok(uri)
}

/// The way to the collector.
#[derive(Debug, Clone)]
pub(crate) struct Tracer(mpsc::Sender<Span>);

impl Tracer {
    /// Begins to send, if it is said where to.
    pub(crate) fn begin(settings: &TraceSettings) -> anyhow::Result<Option<Self>> {
        let Some(to) = settings.otlp_traces.clone() else { return Ok(None) };
        let client = HttpClient::new(Reach::Anywhere)?;
        let (tracer, spans) = mpsc::channel(WAITING_MAX);
        // Ends with the last sender.
        tokio::spawn(send(client, to, spans));
        Ok(Some(Self(tracer)))
    }

    /// Has a span sent soon. One for which there is no room is lost.
    pub(crate) fn tell(&self, span: Span) {
        let _ = self.0.try_send(span);
    }
}

async fn send(client: HttpClient, to: Uri, mut spans: mpsc::Receiver<Span>) {
    let mut waiting = Vec::new();
    let mut complained: Option<Instant> = None;
    while spans.recv_many(&mut waiting, BATCH_MAX).await > 0 {
        if let Err(error) = deliver(&client, &to, &waiting).await
            && complained.is_none_or(|last| last.elapsed() >= COMPLAINTS)
        {
            complained = Some(Instant::now());
            tracing::warn!(error, lost = waiting.len(), "spans cannot be sent to the collector");
        }
        waiting.clear();
        sleep(GATHER).await;
    }
}

async fn deliver(client: &HttpClient, to: &Uri, spans: &[Span]) -> Result<(), String> {
    let to = Target::of(to).ok_or_else(|| "the collector has no address".to_owned())?;
    let request = Request::new(&Method::POST, &to)
        .with("content-type", &HeaderValue::from_static("application/json"))
        .with("user-agent", &HeaderValue::from_static(concat!("mcpd/", env!("CARGO_PKG_VERSION"))))
        .body(vec![Bytes::from(batch(spans).to_string())]);
    let answer = timeout(PATIENCE, client.exchange(&to, request, PATIENCE)).await;
    match answer.map_err(|_| "no answer in time".to_owned())? {
        Ok((head, _)) if head.status.is_success() => Ok(()),
        Ok((head, _)) => Err(format!("the collector answered {}", head.status.as_u16())),
        Err(error) => Err(chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_url_of_the_web_without_a_login() {
        assert!(collector("http://127.0.0.1:4318/v1/traces").is_ok());
        for odd in ["", "127.0.0.1:4318", "grpc://a:4317", "/v1/traces", "http://user:pw@a/v1/traces"] {
            assert!(collector(odd).is_err(), "{odd}");
        }
    }
}
