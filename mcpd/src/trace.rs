//! Traces: where a request stands in somebody's trace (W3C `traceparent`), and its span, sent to an OpenTelemetry
//! collector if there is one (OTLP over HTTP, as JSON).
//!
//! A span says what the log line of the request says, but not who asked: no prompt, no answer, no user, no token.

mod export;
mod parent;
mod span;

pub(crate) use export::{TraceSettings, Tracer};
pub(crate) use parent::{TRACEPARENT, Trace};
pub(crate) use span::Span;
