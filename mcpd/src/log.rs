//! The log: JSON lines on stderr. Every field is escaped, so that no text can make a line of its own.

use jiff::Timestamp;
use serde::Serialize;
use std::io::{self, Write};
use tracing::Level;
use tracing_subscriber::EnvFilter;

/// The target of the lines about requests, in the words of `MCPD_LOG`.
macro_rules! requests {
    () => {
        "mcpd::request"
    };
}

/// Writes an error with what caused it.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Begins logging. `MCPD_LOG` says how much, in the words of `tracing`.
pub(crate) fn begin() {
    let filter = EnvFilter::builder().with_env_var("MCPD_LOG").from_env_lossy();
    let filter = if std::env::var_os("MCPD_LOG").is_some() { filter } else { EnvFilter::new("info") };
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(io::stderr)
        // A log that cannot be written costs its lines, not the service: telling so on stderr would be a panic.
        .log_internal_errors(false)
        .with_env_filter(filter)
        .init();
    // The text of a panic can hold what the code was working on; its place is enough to find the bug.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic");
    }));
}

/// Writes the line of a request, if the log is to have them.
///
/// There is one for each request, so it does not take the way of the others, on which each field is looked at by itself
/// several times; it has the same form.
pub(crate) fn request(fields: &impl Serialize) {
    if !tracing::enabled!(target: requests!(), Level::INFO) {
        return;
    }
    let line = Line {
        timestamp: format!("{:.6}", Timestamp::now()),
        level: Level::INFO.as_str(),
        message: "request",
        fields,
        target: requests!(),
    };
    let mut text = Vec::with_capacity(512);
    if serde_json::to_writer(&mut text, &line).is_ok() {
        text.push(b'\n');
        // A log that cannot be written costs its lines, not the service. The whole line at once: others write too.
        let _ = io::stderr().write_all(&text);
    }
}

/// What every line has, around what only one about a request has.
#[derive(Serialize)]
struct Line<'a, F> {
    timestamp: String,
    level: &'a str,
    message: &'a str,
    #[serde(flatten)]
    fields: &'a F,
    target: &'a str,
}
