//! That a limit is reached: whose, of what, and when to come back. A leaf, in words for the caller and for what is measured.

use std::{fmt, num::NonZeroU32, time::Duration};

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The LLM's, for all callers together.
    Llm,
    /// The LLM's, for one token.
    Token,
    /// The server's, for one token.
    Server,
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Answers that are under way.
    Concurrent,
    /// Requests in a minute.
    Rate,
}

/// That a limit is reached, and when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) scope: Scope,
    pub(crate) excess: Excess,
    pub(crate) limit: NonZeroU32,
    pub(crate) wait: Duration,
}

impl Scope {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Token => "token",
            Self::Server => "server",
        }
    }
}

impl Excess {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Concurrent => "concurrent",
            Self::Rate => "rate",
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, excess, limit, .. } = self;
        let who = match scope {
            Scope::Llm => "This LLM takes",
            Scope::Token => "This LLM takes, of one token,",
            Scope::Server => "This server takes, of one token,",
        };
        let what = match excess {
            Excess::Concurrent => "at the same time",
            Excess::Rate => "in a minute",
        };
        let requests = if limit.get() == 1 { "request" } else { "requests" };
        write!(f, "{who} {limit} {requests} {what}; try again a little later.")
    }
}
