//! The settings of a serving process, as they are written on the command line, in `MCPD_*`, or in a file.

use crate::trace::TraceSettings;
use crate::{
    audit::{Inferences, Policy},
    config_file::Structured,
    limits::LimitSettings,
    metrics::MetricsSettings,
    proxy::UpstreamSettings,
    tls::TlsSettings,
};
use clap::Args;
use std::{net::SocketAddr, time::Duration};

/// How to serve.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "MCPD_LISTEN", default_value = "127.0.0.1:3100", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,

    /// The largest body of a request, in bytes
    #[arg(long, env = "MCPD_MAX_BODY", default_value_t = 8 << 20, value_name = "BYTES")]
    pub(crate) max_body: usize,

    /// The bodies of all requests that are under way together, in bytes; those of one token a fourth of it
    #[arg(long, env = "MCPD_MAX_BODIES", default_value_t = 256 << 20, value_name = "BYTES")]
    pub(crate) max_bodies: usize,

    #[command(flatten)]
    pub(crate) tls: TlsSettings,

    /// How long requests are still taken after a signal to stop, while `/readyz` says no: as long as a load balancer
    /// takes to notice
    #[arg(long, env = "MCPD_DRAIN_DELAY", default_value = "0s", value_parser = duration, value_name = "TIME")]
    pub(crate) drain_delay: Duration,

    /// How long open streams may go on after that
    #[arg(long, env = "MCPD_DRAIN", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub(crate) drain: Duration,

    /// How long a running stream may go on without its right to run being confirmed; it is asked for twice as often
    #[arg(long, env = "MCPD_STREAM_RECHECK", default_value = "30s", value_parser = interval, value_name = "TIME")]
    pub(crate) stream_recheck: Duration,

    /// What becomes of probes and inferences that cannot be written to the audit trail
    #[arg(long, env = "MCPD_AUDIT", value_enum, default_value = "best-effort", value_name = "POLICY")]
    pub(crate) audit: Policy,

    /// Which prompts the audit trail has an entry for. Probes, changes and answers that are cut always have one
    #[arg(long, env = "MCPD_AUDIT_INFERENCE", value_enum, default_value = "all", value_name = "WHICH")]
    pub(crate) audit_inference: Inferences,

    #[command(flatten)]
    pub(crate) upstream: UpstreamSettings,

    #[command(flatten)]
    pub(crate) limits: LimitSettings,

    /// How long a client may take nothing of its answer
    #[arg(long, env = "MCPD_CLIENT_STALL_TIMEOUT", default_value = "60s", value_parser = interval, value_name = "TIME")]
    pub(crate) client_stall_timeout: Duration,

    #[command(flatten)]
    pub(crate) metrics: MetricsSettings,

    #[command(flatten)]
    pub(crate) trace: TraceSettings,

    /// What only the configuration file can say.
    #[arg(skip)]
    pub(crate) structured: Structured,
}

/// A time such as `30s`, `500ms` or `2m`, or zero.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().map_err(|_| "write a time such as 30s, 500ms or 2m")?;
    Duration::try_from(parsed).map_err(|_| "a time must not be negative".to_owned())
}

/// A time that is not zero.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() { Err("this time must not be zero".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_their_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for odd in ["", "30", "-1s", "soon"] {
            assert!(duration(odd).is_err(), "{odd:?}");
        }
        assert!(interval("0s").is_err());
    }
}
