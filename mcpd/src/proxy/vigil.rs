//! Watches, while an upstream works, whether it still may: the right to run is there and the server goes on.

use crate::{
    app::{App, now},
    caller::Caller,
    problem::Problem,
};
use mcp_api::LlmId;
use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// Why an answer is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    /// The token, the right to run or the LLM is gone, or the LLM is off.
    Revoked,
    /// The server stops and the drain is over.
    ShuttingDown,
}

impl Breach {
    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::Revoked => Problem::Revoked,
            Self::ShuttingDown => Problem::ShuttingDown,
        }
    }
}

/// One caller's right to one LLM, looked at again and again.
pub(crate) struct Vigil {
    app: Arc<App>,
    token: String,
    llm: LlmId,
    rounds: Interval,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Vigil {
    /// Begins now: the caller has just been authorised.
    pub(crate) fn new(app: Arc<App>, caller: &Caller, llm: LlmId) -> Self {
        let period = app.settings.stream_recheck;
        let mut rounds = interval_at(Instant::now() + period, period);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ending = Box::pin(app.stop.ending.clone().cancelled_owned());
        Self { token: caller.token().id.clone(), llm, rounds, ending, app }
    }

    /// Ready once something is wrong.
    pub(crate) fn poll_breach(&mut self, cx: &mut Context<'_>) -> Poll<Breach> {
        if self.ending.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Breach::ShuttingDown);
        }
        while self.rounds.poll_tick(cx).is_ready() {
            if !self.still_stands() {
                return Poll::Ready(Breach::Revoked);
            }
        }
        Poll::Pending
    }

    /// Waits until something is wrong.
    pub(crate) async fn breach(&mut self) -> Breach {
        poll_fn(|cx| self.poll_breach(cx)).await
    }

    fn still_stands(&self) -> bool {
        let snapshot = self.app.store.snapshot();
        let token = snapshot.token(&self.token).filter(|token| token.is_valid(now()));
        token.is_some_and(|token| snapshot.may_run(&token.subject, &self.llm))
    }
}
