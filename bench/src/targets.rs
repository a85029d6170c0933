//! What mcpd and mcpctl have to reach, and whether they do.

use crate::{
    results::{Results, megabytes},
    scenarios::Scenario,
    systems::{Audit, Database, Kind},
};

/// A figure that is to be reached.
#[derive(Debug)]
pub(crate) struct Goal {
    /// The name of its explanation, `bench/why/ID.md`, for when it is missed.
    pub(crate) id: &'static str,
    pub(crate) text: &'static str,
    pub(crate) bound: Bound,
    pub(crate) measured: fn(&Results) -> Option<f64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64, &'static str),
    AtMost(f64, &'static str),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound, _) => value >= bound,
            Self::AtMost(bound, _) => value <= bound,
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::AtLeast(_, unit) | Self::AtMost(_, unit) => unit,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound, unit) => write!(f, "≥ {bound} {unit}"),
            Self::AtMost(bound, unit) => write!(f, "≤ {bound} {unit}"),
        }
    }
}

const NGINX: &str = "× nginx-auth";
const CURL: &str = "× curl";
const REFUSED: Kind = Kind::Mcpd(Database::Sqlite, Audit::Refused);
const POSTGRES: Kind = Kind::Mcpd(Database::Postgres, Audit::All);
const BESIDE: [Kind; 2] = [Kind::MCPD, Kind::NginxAuth];

/// All goals, in the order in which they are shown.
pub(crate) const GOALS: &[Goal] = &[
    Goal {
        id: "requests",
        text: "requests a second, 64 connections, audit trail of everything",
        bound: Bound::AtLeast(0.8, NGINX),
        measured: |r| r.ratio(Scenario::Busy, BESIDE, |o| o.per_second),
    },
    Goal {
        id: "requests-refused",
        text: "requests a second with `--audit-inference refused`",
        bound: Bound::AtLeast(0.8, NGINX),
        measured: |r| r.ratio(Scenario::Busy, [REFUSED, Kind::NginxAuth], |o| o.per_second),
    },
    Goal {
        id: "cpu",
        text: "CPU a request, audit trail of everything",
        bound: Bound::AtMost(1.4, NGINX),
        measured: |r| r.ratio(Scenario::Busy, BESIDE, |o| o.cpu_us),
    },
    Goal {
        id: "cpu-refused",
        text: "CPU a request with `--audit-inference refused`",
        bound: Bound::AtMost(1.4, NGINX),
        measured: |r| r.ratio(Scenario::Busy, [REFUSED, Kind::NginxAuth], |o| o.cpu_us),
    },
    Goal {
        id: "litellm",
        text: "requests a second beside LiteLLM",
        bound: Bound::AtLeast(500.0, "× LiteLLM"),
        measured: |r| r.ratio(Scenario::Busy, [Kind::MCPD, Kind::LiteLlm], |o| o.per_second),
    },
    Goal {
        id: "added-p50",
        text: "added time of a request, one connection, median",
        bound: Bound::AtMost(1.2, NGINX),
        measured: |r| r.added(Scenario::Single, BESIDE, |o| o.p50_us),
    },
    Goal {
        id: "added-p99",
        text: "added time of a request, one connection, 99th percentile",
        bound: Bound::AtMost(1.2, NGINX),
        measured: |r| r.added(Scenario::Single, BESIDE, |o| o.p99_us),
    },
    Goal {
        id: "paced-p50",
        text: "added time at 1,000 requests a second, median",
        bound: Bound::AtMost(1.2, NGINX),
        measured: |r| r.added(Scenario::Paced, BESIDE, |o| o.p50_us),
    },
    Goal {
        id: "first-token",
        text: "added time to the first token, median",
        bound: Bound::AtMost(1.2, NGINX),
        measured: |r| r.added(Scenario::First, BESIDE, |o| o.first_p50_us),
    },
    Goal {
        id: "lone-token",
        text: "CPU of a token that comes alone",
        bound: Bound::AtMost(1.1, NGINX),
        measured: |r| r.ratio(Scenario::Lone, BESIDE, |o| o.cpu_us_token),
    },
    Goal {
        id: "burst",
        text: "CPU of a token in a burst",
        bound: Bound::AtMost(1.5, NGINX),
        measured: |r| r.ratio(Scenario::Burst, BESIDE, |o| o.cpu_us_token),
    },
    Goal {
        id: "slow-streams",
        text: "CPU of a token, 1,000 slow streams",
        bound: Bound::AtMost(1.3, NGINX),
        measured: |r| r.ratio(Scenario::Slow, BESIDE, |o| o.cpu_us_token),
    },
    Goal {
        id: "slow-memory",
        text: "memory with 1,000 slow streams",
        bound: Bound::AtMost(40.0, "MB"),
        measured: |r| r.of(Scenario::Slow, Kind::MCPD, |o| megabytes(o.rss_kib)),
    },
    Goal {
        id: "large-prompts",
        text: "prompts of 256 KB a second",
        bound: Bound::AtLeast(1.0, NGINX),
        measured: |r| r.ratio(Scenario::Prompt, BESIDE, |o| o.per_second),
    },
    Goal {
        id: "idle",
        text: "memory when nobody asks",
        bound: Bound::AtMost(12.0, "MB"),
        measured: |r| r.idle(Kind::MCPD),
    },
    Goal {
        id: "start",
        text: "from the start to the first answer",
        bound: Bound::AtMost(50.0, "ms"),
        measured: |r| r.start(Kind::MCPD),
    },
    Goal {
        id: "postgres",
        text: "requests a second on PostgreSQL, one question for all that wait",
        bound: Bound::AtLeast(0.8, "× SQLite"),
        measured: |r| r.ratio(Scenario::Busy, [POSTGRES, Kind::MCPD], |o| o.per_second),
    },
    Goal {
        id: "long-prompts",
        text: "CPU of a prompt of 1 MB, by one of 256 KB",
        bound: Bound::AtMost(4.4, "times"),
        measured: |r| {
            let of = |scenario| r.of(scenario, Kind::MCPD, |o| o.cpu_us);
            Some(of(Scenario::LargePrompt)? / of(Scenario::Prompt)?)
        },
    },
    Goal {
        id: "long-answers",
        text: "CPU of an answer of 100,000 tokens, by one of 10,000",
        bound: Bound::AtMost(11.0, "times"),
        measured: |r| {
            let of = |scenario| r.of(scenario, Kind::MCPD, |o| o.cpu_us);
            Some(of(Scenario::LongAnswer)? / of(Scenario::ShortAnswer)?)
        },
    },
    Goal {
        id: "many-streams",
        text: "memory with 10,000 slow streams, by that with 1,000",
        bound: Bound::AtMost(11.0, "times"),
        measured: |r| {
            let of = |scenario| r.of(scenario, Kind::MCPD, |o| megabytes(o.rss_kib));
            let idle = r.idle(Kind::MCPD)?;
            Some((of(Scenario::Many)? - idle) / (of(Scenario::Slow)? - idle))
        },
    },
    Goal {
        id: "answer-wall",
        text: "mcpctl: time of one answer over http",
        bound: Bound::AtMost(0.5, CURL),
        measured: |r| r.command("http mcpctl", |f| f.wall_ms)?.by(r.command("http curl", |f| f.wall_ms)),
    },
    Goal {
        id: "answer-cpu",
        text: "mcpctl: CPU of one answer over http",
        bound: Bound::AtMost(0.5, CURL),
        measured: |r| r.command("http mcpctl", |f| f.cpu_ms)?.by(r.command("http curl", |f| f.cpu_ms)),
    },
    Goal {
        id: "answer-first",
        text: "mcpctl: time to the first printed token",
        bound: Bound::AtMost(0.7, CURL),
        measured: |r| {
            r.command("stream mcpctl", |f| f.first_ms)?.by(r.command("stream curl", |f| f.first_ms))
        },
    },
    Goal {
        id: "answer-memory",
        text: "mcpctl: memory",
        bound: Bound::AtMost(10.0, "MB"),
        measured: |r| r.command("http mcpctl", |f| f.rss_mb).map(|ratio| ratio.0),
    },
    Goal {
        id: "https-wall",
        text: "mcpctl: time of one answer over https",
        bound: Bound::AtMost(1.0, CURL),
        measured: |r| r.command("https mcpctl", |f| f.wall_ms)?.by(r.command("https curl", |f| f.wall_ms)),
    },
    Goal {
        id: "https-cpu",
        text: "mcpctl: CPU of one answer over https",
        bound: Bound::AtMost(1.0, CURL),
        measured: |r| r.command("https mcpctl", |f| f.cpu_ms)?.by(r.command("https curl", |f| f.cpu_ms)),
    },
    Goal {
        id: "failover-refused",
        text: "mcpctl: a failover after a refused connection, three curl calls beside it",
        bound: Bound::AtMost(0.4, CURL),
        measured: |r| {
            r.command("refused mcpctl", |f| f.wall_ms)?.by(r.command("refused curl", |f| f.wall_ms))
        },
    },
    Goal {
        id: "failover-503",
        text: "mcpctl: a failover after a 503",
        bound: Bound::AtMost(0.4, CURL),
        measured: |r| r.command("503 mcpctl", |f| f.wall_ms)?.by(r.command("503 curl", |f| f.wall_ms)),
    },
];

/// One figure of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure(f64);

impl Figure {
    fn by(self, other: Option<Self>) -> Option<f64> {
        Some(self.0 / other?.0)
    }
}

impl Results {
    fn command(&self, name: &str, metric: fn(&crate::commands::Figures) -> f64) -> Option<Figure> {
        self.commands.get(name).map(|figures| Figure(metric(figures))).filter(|figure| figure.0.is_finite())
    }
}
