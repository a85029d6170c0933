//! What is asked of each system, and how often.

use crate::{load::Load, stub::Model, systems::Kind};
use rustix::process::{Resource, getrlimit};
use std::time::Duration;

const ZERO: Duration = Duration::ZERO;
const LONE: Model = Model { tokens: 100, latency: ZERO, delay: Duration::from_millis(5), size: 0, status: 0 };
const BURST: Model = Model { tokens: 2_000, latency: ZERO, delay: ZERO, size: 0, status: 0 };
const SLOW: Model =
    Model { tokens: 20, latency: ZERO, delay: Duration::from_millis(250), size: 0, status: 0 };
const MANY: Model =
    Model { tokens: 10, latency: ZERO, delay: Duration::from_millis(1500), size: 0, status: 0 };
const SHORT: Model = Model { tokens: 10_000, latency: ZERO, delay: ZERO, size: 0, status: 0 };
const LONG: Model = Model { tokens: 100_000, latency: ZERO, delay: ZERO, size: 0, status: 0 };

/// All models that the scenarios name.
pub(crate) const MODELS: [Model; 7] = [Model::PLAIN, LONE, BURST, SLOW, MANY, SHORT, LONG];

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    /// 64 connections that ask as fast as they can.
    Busy,
    /// One connection that asks as fast as it can.
    Single,
    /// 1,000 requests a second, whatever becomes of them.
    Paced,
    /// One connection, streams whose tokens come at once: how long until the first one.
    First,
    /// One stream with a token every 5 ms.
    Lone,
    /// Streams of 2,000 tokens that come at once.
    Burst,
    /// 1,000 streams at the same time, each with a token every 250 ms.
    Slow,
    /// Prompts of 256 KB.
    Prompt,
    /// Prompts of 1 MB.
    LargePrompt,
    /// Answers of 10,000 tokens that come at once.
    ShortAnswer,
    /// Answers of 100,000 tokens that come at once.
    LongAnswer,
    /// 10,000 streams at the same time, each with a token every 1.5 s.
    Many,
}

/// How long scenarios last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// For figures.
    Whole,
    /// For a look.
    Quick,
    /// Only to see that it works.
    Smoke,
}

/// Ten thousand, or as many as there may be open files for: the server has two for each, and some of its own.
fn streams_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(200) / 2).unwrap_or(usize::MAX).min(10_000)
}

impl Scenario {
    /// All that is measured in rounds.
    pub(crate) const ROUNDS: [Self; 11] = [
        Self::Busy,
        Self::Single,
        Self::Paced,
        Self::First,
        Self::Lone,
        Self::Burst,
        Self::Slow,
        Self::Prompt,
        Self::LargePrompt,
        Self::ShortAnswer,
        Self::LongAnswer,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Single => "single",
            Self::Paced => "paced",
            Self::First => "first",
            Self::Lone => "lone",
            Self::Burst => "burst",
            Self::Slow => "slow",
            Self::Prompt => "prompt",
            Self::LargePrompt => "large-prompt",
            Self::ShortAnswer => "short-answer",
            Self::LongAnswer => "long-answer",
            Self::Many => "many",
        }
    }

    /// Says whether a system is measured with it: what shows how cost grows concerns mcpd alone, and what takes a
    /// hundred times as long is not asked a thousand times.
    pub(crate) fn concerns(self, kind: Kind) -> bool {
        match self {
            Self::Busy | Self::Single | Self::First => true,
            Self::Lone | Self::Burst => kind != Kind::Direct,
            Self::Paced | Self::Prompt => !kind.is_slow(),
            Self::Slow => !kind.is_slow() && kind != Kind::Direct,
            Self::LargePrompt | Self::ShortAnswer | Self::LongAnswer => {
                matches!(kind, Kind::NginxAuth) || kind == Kind::MCPD
            }
            Self::Many => kind == Kind::MCPD,
        }
    }

    pub(crate) fn model(self) -> Model {
        match self {
            Self::Busy | Self::Single | Self::Paced | Self::First | Self::Prompt | Self::LargePrompt => {
                Model::PLAIN
            }
            Self::Lone => LONE,
            Self::Burst => BURST,
            Self::Slow => SLOW,
            Self::ShortAnswer => SHORT,
            Self::LongAnswer => LONG,
            Self::Many => MANY,
        }
    }

    pub(crate) fn is_stream(self) -> bool {
        !matches!(self, Self::Busy | Self::Single | Self::Paced | Self::Prompt | Self::LargePrompt)
    }

    /// The length of the text of each prompt, in bytes.
    pub(crate) fn prompt(self) -> usize {
        match self {
            Self::Prompt => 256 << 10,
            Self::LargePrompt => 1 << 20,
            _ => 100,
        }
    }

    pub(crate) fn load(self, extent: Extent) -> Load {
        let time = match extent {
            Extent::Whole => Duration::from_secs(2),
            Extent::Quick => Duration::from_millis(700),
            Extent::Smoke => Duration::from_millis(200),
        };
        let load = |connections| Load { connections, time, rate: None, requests: None };
        // All of them begin within a second, so that it is streams that are measured and not how they begin.
        let once = |connections| Load {
            requests: Some(1),
            rate: u32::try_from(connections).ok(),
            time: time.max(Duration::from_secs(2)),
            ..load(connections)
        };
        let is_smoke = extent == Extent::Smoke;
        match self {
            Self::Busy => load(64),
            Self::Single | Self::First | Self::Lone => load(1),
            Self::Paced => Load { rate: Some(1_000), ..load(16) },
            Self::Burst => load(8),
            Self::Slow => once(if is_smoke { 50 } else { 1_000 }),
            Self::Prompt | Self::LargePrompt => load(4),
            Self::ShortAnswer | Self::LongAnswer => load(1),
            Self::Many => once(if is_smoke { 100 } else { streams_max() }),
        }
    }
}
