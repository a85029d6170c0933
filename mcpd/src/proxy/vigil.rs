//! Watches over an answer that is under way: it ends when the right to run goes, and when the server stops.

use crate::{
    app::App,
    audit,
    caller::Caller,
    limits::Entered,
    login::Login,
    problem::Problem,
    store::{Fact, Moment, StoreError, StoredLlm},
};
use mcp_api::LlmId;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long to wait before a database that cannot be asked is asked again.
const BREATH: Duration = Duration::from_secs(1);

/// Why an answer is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    /// The token, the right to run or the LLM is gone, or the LLM is off.
    Revoked,
    /// The token has ended by itself.
    Ended,
    /// Whether the right still stands could not be found out for too long.
    Unconfirmed,
    /// The server stops and the drain is over.
    ShuttingDown,
}

impl Breach {
    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::Revoked => Problem::Revoked,
            Self::Ended => Problem::Ended,
            Self::Unconfirmed => Problem::Database,
            Self::ShuttingDown => Problem::ShuttingDown,
        }
    }
}

/// One caller's right to one LLM, looked at again and again.
pub(crate) struct Vigil {
    watching: Pin<Box<dyn Future<Output = Breach> + Send>>,
    /// From when the upstream is asked until the answer is over, it counts against the limits.
    _entered: Option<Entered>,
}

impl Vigil {
    /// Begins to watch. Its time counts from when the right was asked for, which may be a while ago. It is no answer
    /// yet that would count against a limit.
    pub(crate) fn begin(app: Arc<App>, caller: &Caller, llm: &StoredLlm) -> Self {
        let (login, id) = (caller.login().clone(), llm.id.clone());
        let cut = audit::cut(caller, &llm.spec.name, &id);
        let confirmed = caller.asked();
        let ending = app.stop.ending.clone();
        let watching = Box::pin(async move {
            tokio::select! {
                () = ending.cancelled() => Breach::ShuttingDown,
                breach = watch(&app, &login, &id, confirmed, cut) => breach,
            }
        });
        Self { watching, _entered: None }
    }

    /// Watches over an answer that counts against the limits from now on.
    pub(crate) fn of(self, entered: Entered) -> Self {
        Self { _entered: Some(entered), ..self }
    }

    /// Ready once something is wrong; not to be asked again after that.
    pub(crate) fn poll_breach(&mut self, cx: &mut Context<'_>) -> Poll<Breach> {
        self.watching.as_mut().poll(cx)
    }

    /// Waits until something is wrong.
    pub(crate) async fn breach(&mut self) -> Breach {
        self.watching.as_mut().await
    }
}

/// Looks twice in each period, so that the right was always confirmed within the last one: also where the database
/// cannot be asked for a while, and somebody else may have taken the right away on another server.
///
/// Writes down what it cuts because the right is gone: `cut`.
async fn watch(app: &App, login: &Login, llm: &LlmId, mut confirmed: Instant, cut: Fact) -> Breach {
    let period = app.settings.stream_recheck;
    let mut next = confirmed + period / 2;
    loop {
        sleep_until(next).await;
        let asked = Instant::now();
        match timeout_at(confirmed + period, app.store.moment()).await {
            Ok(Ok(moment)) if stands(&moment, login, llm) => {
                confirmed = moment.asked;
                next = confirmed + period / 2;
            }
            Ok(Ok(moment)) => {
                app.audit.mention(Fact { at: moment.now, ..cut });
                let has_ended = login.expires_at().is_some_and(|end| end <= moment.now);
                return if has_ended { Breach::Ended } else { Breach::Revoked };
            }
            Ok(Err(StoreError::Silent | StoreError::Away | StoreError::Unavailable(_)))
                if asked < confirmed + period =>
            {
                next = asked + BREATH.min(period / 10);
            }
            Ok(Err(_)) | Err(_) => return Breach::Unconfirmed,
        }
    }
}

fn stands(moment: &Moment, login: &Login, llm: &LlmId) -> bool {
    let login = login.renewed(moment);
    login.is_some_and(|login| moment.snapshot.may_run(&login.rights(&moment.snapshot), llm))
}
