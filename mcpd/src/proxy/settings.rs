//! What the settings say about upstreams.

use crate::{config::interval, reach::network};
use clap::Args;
use ipnet::IpNet;
use std::time::Duration;

/// How upstreams are reached, and how long is waited for them.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpstreamSettings {
    /// A network that upstreams may be in, beside the internet; can be given several times, or with commas between
    #[arg(
        long,
        env = "MCPD_UPSTREAM_ALLOW",
        value_delimiter = ',',
        value_parser = network,
        value_name = "CIDR"
    )]
    pub(crate) upstream_allow: Vec<IpNet>,

    /// How long a connection to an upstream may take, with TLS
    #[arg(long, env = "MCPD_UPSTREAM_CONNECT_TIMEOUT", default_value = "5s", value_parser = interval, value_name = "TIME")]
    pub(crate) upstream_connect_timeout: Duration,

    /// How long an upstream may take to begin its answer
    #[arg(long, env = "MCPD_UPSTREAM_FIRST_BYTE_TIMEOUT", default_value = "300s", value_parser = interval, value_name = "TIME")]
    pub(crate) upstream_first_byte_timeout: Duration,

    /// How long an upstream may be silent within its answer
    #[arg(long, env = "MCPD_UPSTREAM_IDLE_TIMEOUT", default_value = "120s", value_parser = interval, value_name = "TIME")]
    pub(crate) upstream_idle_timeout: Duration,
}
