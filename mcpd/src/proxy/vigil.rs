//! Watches over an answer that is under way: it ends when the right to run goes, and when the server stops.

use crate::{
    app::App,
    audit,
    authorised::Authorised,
    caller::Caller,
    limits::Entered,
    login::Login,
    problem::Problem,
    record::Record,
    sabotage,
    store::{Moment, StoreError, StoredLlm},
};
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

/// One caller's right to one LLM.
pub(super) struct Right {
    app: Arc<App>,
    login: Login,
    llm: Arc<StoredLlm>,
    record: Arc<Record>,
}

/// One caller's right to one LLM, looked at again and again.
pub(crate) struct Vigil {
    watching: Pin<Box<dyn Future<Output = Breach> + Send>>,
    right: Arc<Right>,
    /// From when the upstream is asked until the answer is over, it counts against the limits.
    _entered: Option<Entered>,
}

impl Vigil {
    /// Begins to watch. Its time counts from when the right was asked for, which may be a while ago. It is no answer
    /// yet that would count against a limit.
    pub(crate) fn begin(app: Arc<App>, caller: &Caller, llm: &Authorised) -> Self {
        let (login, record) = (caller.login().clone(), Arc::clone(caller.record()));
        let confirmed = caller.asked();
        let ending = app.stop.ending.clone();
        let right = Arc::new(Right { app, login, llm: llm.stored(), record });
        let watched = Arc::clone(&right);
        let watching = Box::pin(async move {
            tokio::select! {
                () = ending.cancelled() => Breach::ShuttingDown,
                breach = watch(&watched, confirmed) => breach,
            }
        });
        Self { watching, right, _entered: None }
    }

    /// Watches over an answer that counts against the limits from now on.
    pub(crate) fn of(self, entered: Entered) -> Self {
        Self { _entered: Some(entered), ..self }
    }

    /// What it watches.
    pub(super) fn right(&self) -> Arc<Right> {
        Arc::clone(&self.right)
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
async fn watch(right: &Right, mut confirmed: Instant) -> Breach {
    let period = right.app.settings.stream_recheck;
    let mut next = confirmed + period / 2;
    loop {
        sleep_until(next).await;
        let asked = Instant::now();
        match timeout_at(confirmed + period, right.app.store.moment()).await {
            Ok(Ok(moment)) if right.stands(&moment) => {
                confirmed = moment.asked;
                next = confirmed + period / 2;
            }
            Ok(Ok(moment)) => return right.gone(&moment),
            Ok(Err(StoreError::Silent | StoreError::Away | StoreError::Unavailable(_)))
                if asked < confirmed + period =>
            {
                next = asked + BREATH.min(period / 10);
            }
            Ok(Err(_)) | Err(_) => return Breach::Unconfirmed,
        }
    }
}

impl Right {
    /// Finds out now whether it still stands.
    pub(super) async fn confirm(&self) -> Result<(), Breach> {
        match self.app.store.moment().await {
            Ok(moment) if self.stands(&moment) => Ok(()),
            Ok(moment) => Err(self.gone(&moment)),
            Err(_) => Err(Breach::Unconfirmed),
        }
    }

    fn stands(&self, moment: &Moment) -> bool {
        if sabotage::FORGET_REVOCATION {
            return true;
        }
        let login = self.login.renewed(moment);
        login.is_some_and(|login| moment.snapshot.may_run(&login.rights(&moment.snapshot), &self.llm.id))
    }

    /// Writes down what is cut because the right is gone.
    fn gone(&self, moment: &Moment) -> Breach {
        self.app.audit.mention(audit::cut(&self.login, &self.record, &self.llm, moment.now));
        let has_ended = self.login.expires_at().is_some_and(|end| end <= moment.now);
        if has_ended { Breach::Ended } else { Breach::Revoked }
    }
}
