//! What the settings say about upstreams.

use crate::{config::interval, reach::network};
use clap::Args;
use ipnet::IpNet;
use mcp_api::Timeouts;
use std::{num::NonZeroU32, time::Duration};

/// How upstreams are reached, and how long is waited for them.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_field_names, reason = "each is a flag of this name")]
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

/// How long is waited for one LLM.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// For a connection to one node.
    pub(super) connect: Duration,
    /// For the first byte of an answer, from whichever node.
    pub(super) first_byte: Duration,
    /// For each further one.
    pub(super) idle: Duration,
}

impl UpstreamSettings {
    /// What holds for an LLM that says this.
    pub(super) fn times(&self, own: &Timeouts) -> Times {
        let over = |own: Option<NonZeroU32>, servers| {
            own.map_or(servers, |seconds| Duration::from_secs(seconds.get().into()))
        };
        Times {
            connect: over(own.connect_seconds, self.upstream_connect_timeout),
            first_byte: over(own.first_byte_seconds, self.upstream_first_byte_timeout),
            idle: over(own.idle_seconds, self.upstream_idle_timeout),
        }
    }
}
