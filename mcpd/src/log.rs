//! The log: JSON lines on stderr. Every field is escaped, so that no text can make a line of its own.

use tracing_subscriber::EnvFilter;

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
        .with_writer(std::io::stderr)
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
