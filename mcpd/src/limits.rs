//! How much may be asked at once and in a minute: of an LLM, with one token, of this server. More is a 429 of origin
//! `quota`. Decides nothing about rights, and is asked only after those.
//!
//! All of it is counted in this process. What was begun before a limit changed counts on.

mod attempts;
mod crowd;
mod rates;
mod reached;

pub(crate) use attempts::{Attempts, Peer};
pub(crate) use reached::{Excess, Reached, Scope};

use crate::{metrics::Metrics, problem::Problem, store::StoredLlm};
use clap::Args;
use crowd::{Crowd, Place};
use mcp_api::LlmId;
use rates::Rates;
use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// How much may be asked of the whole server with one token.
#[derive(Debug, Clone, Args)]
pub(crate) struct LimitSettings {
    /// How many answers one token may wait for at the same time, of all LLMs; by default as many as it likes
    #[arg(long, env = "MCPD_TOKEN_CONCURRENT", value_name = "NUMBER")]
    pub(crate) token_concurrent: Option<NonZeroU32>,

    /// How many answers one token may ask for in a minute, of all LLMs; by default as many as it likes
    #[arg(long, env = "MCPD_TOKEN_REQUESTS_PER_MINUTE", value_name = "NUMBER")]
    pub(crate) token_requests_per_minute: Option<NonZeroU32>,

    /// How many logins may fail in a minute from one address before the next ones are told 429 instead of 401; with one
    /// token a sixth of it. A valid token is let in all the same
    #[arg(long, env = "MCPD_FAILED_LOGINS_PER_MINUTE", default_value = "60", value_name = "NUMBER")]
    pub(crate) failed_logins_per_minute: NonZeroU32,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    Llm(LlmId),
    TokenOnLlm(LlmId, String),
    Token(String),
}

/// The counts of this process.
#[derive(Debug)]
pub(crate) struct Limits {
    crowd: Arc<Crowd<Counted>>,
    rates: Rates<Counted>,
    token_concurrent: Option<NonZeroU32>,
    token_rate: Option<NonZeroU32>,
    metrics: Arc<Metrics>,
}

/// As many holders as are counted at the same time; whoever comes after that is not.
const HOLDERS_MAX: usize = 100_000;

impl Limits {
    /// Nobody has asked for anything yet.
    pub(crate) fn new(settings: &LimitSettings, metrics: &Arc<Metrics>) -> Self {
        Self {
            crowd: Arc::default(),
            rates: Rates::new(HOLDERS_MAX),
            token_concurrent: settings.token_concurrent,
            token_rate: settings.token_requests_per_minute,
            metrics: Arc::clone(metrics),
        }
    }

    /// Lets a request for an answer pass, which counts until what comes back is dropped. `holder` is who asks.
    ///
    /// What is under way is looked at first, and of the rates the token's own before the LLM's, so that a token that is
    /// over its limit uses up nothing of what it shares with others.
    pub(crate) fn enter(&self, llm: &StoredLlm, holder: &str) -> Result<Entered, Problem> {
        let limits = &llm.spec.limits;
        let all = [
            (Scope::Token, Counted::TokenOnLlm(llm.id.clone(), holder.to_owned())),
            (Scope::Server, Counted::Token(holder.to_owned())),
            (Scope::Llm, Counted::Llm(llm.id.clone())),
        ]
        .map(|(scope, key)| (scope, Arc::new(key)));
        let concurrent = [limits.per_token.concurrent, self.token_concurrent, limits.concurrent];
        let rates = [limits.per_token.requests_per_minute, self.token_rate, limits.requests_per_minute];
        let entered = self.entered(&all, concurrent, rates);
        entered.map_err(|reached| {
            self.metrics.limited.count([reached.scope.as_str(), reached.excess.as_str()]);
            Problem::Limited(reached)
        })
    }

    fn entered(
        &self,
        all: &[(Scope, Arc<Counted>); 3],
        concurrent: [Option<NonZeroU32>; 3],
        rates: [Option<NonZeroU32>; 3],
    ) -> Result<Entered, Reached> {
        let keys = all.each_ref().map(|(_, key)| Arc::clone(key));
        let place = self.crowd.enter(keys, concurrent).map_err(|(at, limit)| Reached {
            scope: all[at].0,
            excess: Excess::Concurrent,
            limit,
            wait: Duration::from_secs(1),
        })?;
        for ((scope, key), limit) in all.iter().zip(rates) {
            let Some(limit) = limit else { continue };
            self.rates.take(key, limit).map_err(|wait| Reached {
                scope: *scope,
                excess: Excess::Rate,
                limit,
                wait,
            })?;
        }
        Ok(Entered { _place: place })
    }
}

/// A request that counts as under way.
#[derive(Debug)]
pub(crate) struct Entered {
    _place: Place<Counted>,
}
