//! One span, as OTLP writes it in JSON.

use super::Trace;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A request that is over.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) trace: Trace,
    pub(crate) name: String,
    pub(crate) ended: SystemTime,
    pub(crate) took: Duration,
    pub(crate) texts: Vec<(&'static str, String)>,
    pub(crate) numbers: Vec<(&'static str, u64)>,
    /// Whether the server is to blame: what a client did wrong is no error of a server's span.
    pub(crate) is_failed: bool,
}

impl Span {
    fn written(&self) -> Value {
        let nanos =
            |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
        let began = self.ended.checked_sub(self.took).unwrap_or(self.ended);
        let texts =
            self.texts.iter().map(|(key, text)| json!({ "key": key, "value": { "stringValue": text } }));
        // Whole numbers are texts there, since JSON's would lose digits.
        let number =
            |(key, number): &(&str, u64)| json!({ "key": key, "value": { "intValue": number.to_string() } });
        let attributes: Vec<Value> = texts.chain(self.numbers.iter().map(number)).collect();
        json!({
            "traceId": self.trace.id,
            "spanId": self.trace.span,
            "parentSpanId": self.trace.parent.as_deref().unwrap_or_default(),
            "name": self.name,
            // A server's.
            "kind": 2,
            "startTimeUnixNano": nanos(began),
            "endTimeUnixNano": nanos(self.ended),
            "attributes": attributes,
            "status": if self.is_failed { json!({ "code": 2 }) } else { json!({}) },
        })
    }
}

/// The body of a request to a collector.
pub(super) fn batch(spans: &[Span]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            { "key": "service.name", "value": { "stringValue": "mcpd" } },
            { "key": "service.version", "value": { "stringValue": version } },
        ] },
        "scopeSpans": [{
            "scope": { "name": "mcpd", "version": version },
            "spans": spans.iter().map(Span::written).collect::<Vec<_>>(),
        }],
    }] })
}
