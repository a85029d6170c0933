//! What is written down about requests: every probe and every prompt, allowed or not, and every answer that is cut.
//!
//! A request waits for its entry only if it has to ([`Policy`]). Never a prompt, an answer, a token or a key: a
//! [`Fact`] has no field for them. Changes of rights are not written here but with the change itself, in its
//! transaction.

pub(crate) mod trail;
mod writer;

use crate::{
    app::App,
    authorised::{Asked, Authorised},
    caller::Caller,
    problem::Problem,
    store::{Fact, Ledger},
};
use mcp_api::{AuditEvent, AuditVerdict, LlmId, LlmName, Verb};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use writer::{Entry, Writer};

/// How many facts may wait to be written.
const WAITING_MAX: usize = 4096;
/// How long a request waits for its entry, if it has to.
const PATIENCE: Duration = Duration::from_secs(8);

/// What becomes of a request whose entry cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Policy {
    /// It goes on, and the log counts what is lost
    BestEffort,
    /// It is refused with 503, before anything is sent to the upstream
    Required,
}

/// The way into the audit trail.
#[derive(Debug)]
pub(crate) struct Audit {
    policy: Policy,
    queue: mpsc::Sender<Entry>,
    lost: Arc<AtomicU64>,
    closing: CancellationToken,
    writing: JoinHandle<()>,
}

impl Audit {
    /// Begins to write what is told from now on.
    pub(crate) fn begin(policy: Policy, ledger: &Arc<Ledger>) -> Self {
        let (queue, told) = mpsc::channel(WAITING_MAX);
        let (lost, closing) = (Arc::<AtomicU64>::default(), CancellationToken::new());
        let writer = Writer::new(Arc::clone(ledger), told, Arc::clone(&lost), closing.clone());
        Self { policy, queue, lost, closing, writing: tokio::spawn(writer.write()) }
    }

    /// Has a fact written before the request goes on, or soon, as the policy says.
    async fn tell(&self, fact: Fact) -> Result<(), Problem> {
        match self.policy {
            Policy::BestEffort => {
                self.mention(fact);
                Ok(())
            }
            Policy::Required => {
                let (written, is_written) = oneshot::channel();
                let entry = Entry { fact, written: Some(written) };
                let waiting = async {
                    self.queue.send(entry).await.ok()?;
                    is_written.await.ok()
                };
                timeout(PATIENCE, waiting).await.ok().flatten().ok_or(Problem::Database)
            }
        }
    }

    /// Has a fact written soon. One for which there is no room is counted.
    pub(crate) fn mention(&self, fact: Fact) {
        if self.queue.try_send(Entry { fact, written: None }).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is still waiting, once; nothing told after this is written.
    pub(crate) async fn close(&self, patience: Duration) {
        self.closing.cancel();
        let ended = async {
            while !self.writing.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(patience, ended).await.is_err() {
            tracing::error!("audit rows may be lost: the database does not answer, and the server stops");
        }
    }
}

impl App {
    /// Writes down what was decided about an LLM, and hands it on if that could be done or need not be.
    pub(crate) async fn witnessed(
        &self,
        event: AuditEvent,
        caller: &Caller,
        asked: &Asked,
        decided: Result<Authorised, Problem>,
    ) -> Result<Authorised, Problem> {
        let verdict = match &decided {
            Ok(_) => AuditVerdict::Allowed,
            Err(Problem::LlmForbidden(_)) => AuditVerdict::Denied,
            Err(Problem::LlmDisabled(_)) => AuditVerdict::Disabled,
            Err(Problem::NotFound(_)) => AuditVerdict::Absent,
            // Nothing was decided.
            Err(_) => return decided,
        };
        let known = caller.snapshot().llm(asked.key());
        let fact = Fact {
            llm: Some(known.map_or_else(|| asked.key().to_string(), |llm| llm.spec.name.to_string())),
            llm_id: known.map(|llm| llm.id.to_string()),
            verdict: Some(verdict),
            binding: caller.record().binding().map(String::from),
            ..by(caller, event)
        };
        self.audit.tell(fact).await?;
        decided
    }
}

/// An answer that ends because the right to it has gone.
pub(crate) fn cut(caller: &Caller, llm: &LlmName, id: &LlmId) -> Fact {
    Fact {
        llm: Some(llm.to_string()),
        llm_id: Some(id.to_string()),
        verdict: Some(AuditVerdict::Denied),
        ..by(caller, AuditEvent::Cut)
    }
}

/// Somebody who runs an LLM, or wants to.
fn by(caller: &Caller, event: AuditEvent) -> Fact {
    Fact {
        who: Some(caller.who()),
        verb: Some(Verb::Run),
        request_id: Some(caller.record().request_id().to_owned()),
        ..Fact::new(event, caller.now())
    }
}
