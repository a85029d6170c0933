//! Everything that is counted, at which sizes, and how it may grow.

use crate::client;
use mcpd::costs::{self, Work};

/// A piece of work.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// From small to large.
    pub(crate) sizes: &'static [usize],
    pub(crate) growth: Growth,
    pub(crate) prepare: fn(usize) -> anyhow::Result<Work>,
}

/// The largest size that is counted without optimisation, where each takes ten times as long.
const SOON_MAX: usize = 1_000;

impl Case {
    /// The sizes at which it is counted in this build.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        match self.sizes {
            all if !cfg!(debug_assertions) => all.to_vec(),
            [smallest, _, ..] => vec![*smallest.min(&(SOON_MAX / 10)), SOON_MAX],
            one => one.to_vec(),
        }
    }
}

/// How the cost may grow with the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// As the number of its digits does: it is a look-up.
    LookUp,
    /// As the size does, or that and the number of its digits.
    Linear,
}

impl Growth {
    /// How much more the larger size may cost than the smaller one.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    pub(crate) fn most(self, smaller: usize, larger: usize) -> f64 {
        match self {
            Self::LookUp => 1.5 * (1.0 + (larger as f64).log2()) / (1.0 + (smaller as f64).log2()),
            Self::Linear => 1.5 * larger as f64 / smaller as f64,
        }
    }
}

use Growth::{Linear, LookUp};

/// All of them. The largest sizes are those that are promised.
pub(crate) const ALL: &[Case] = &[
    // The server, for each request.
    case("decide", &[1, 100, 100_000], LookUp, costs::decide_among),
    case("log-in", &[10, 100_000], LookUp, costs::log_in_among),
    case("find-llm", &[10, 10_000], LookUp, costs::find_llm),
    case("prompt", &[1_000, 100_000, 1_000_000], Linear, costs::prompt),
    case("stream-burst", &[100, 10_000, 100_000], Linear, costs::stream),
    case("stream-tokens", &[100, 10_000], Linear, costs::stream_token_by_token),
    case("list-llms", &[1_000, 10_000], Linear, costs::list_llms),
    // The server, for each change.
    case("compile-rights", &[1_000, 10_000], Linear, costs::compile_all),
    case("compare-states", &[1_000, 10_000], Linear, costs::compare),
    // The client.
    case("names", &[1], LookUp, client::names),
    case("sse", &[100, 10_000, 100_000], Linear, client::sse),
    case("provider-file", &[1, 100, 10_000], Linear, client::provider_file),
    case("stand-in", &[1, 10_000], LookUp, client::stand_in),
    case("failover", &[1], LookUp, client::failover),
    case("table", &[100, 10_000], Linear, client::table),
    case("documents", &[100, 10_000], Linear, client::documents),
];

const fn case(
    name: &'static str,
    sizes: &'static [usize],
    growth: Growth,
    prepare: fn(usize) -> anyhow::Result<Work>,
) -> Case {
    Case { name, sizes, growth, prepare }
}
