//! What is written down about requests: every probe and every prompt, allowed or not, and every answer that is cut.
//!
//! A request waits for its entry only if it has to ([`Policy`]). Never a prompt, an answer, a token or a key: a
//! [`Fact`] has no field for them. Changes of rights are not written here but with the change itself, in its
//! transaction.

mod room;
pub(crate) mod trail;
mod writer;

use crate::{
    app::App,
    authorised::{Asked, Authorised},
    caller::Caller,
    login::Login,
    problem::Problem,
    record::Record,
    store::{Fact, Ledger, StoredLlm},
};
use jiff::Timestamp;
use mcp_api::{AuditEvent, AuditVerdict, Verb};
use room::{Place, Room};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{
        mpsc::{self, error::SendError},
        oneshot,
    },
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use writer::{Entry, Writer};

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

/// Which inferences have an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Inferences {
    /// Each of them
    All,
    /// Those that were not allowed: the log has a line for the others
    Refused,
}

/// The way into the audit trail.
#[derive(Debug)]
pub(crate) struct Audit {
    policy: Policy,
    /// As long as there is [`Room`].
    queue: mpsc::UnboundedSender<Entry>,
    room: Room,
    lost: Arc<AtomicU64>,
    closing: CancellationToken,
    writing: TaskTracker,
}

impl Audit {
    /// Begins to write what is told from now on.
    pub(crate) fn begin(policy: Policy, ledger: &Arc<Ledger>) -> Self {
        let (queue, told) = mpsc::unbounded_channel();
        let (lost, closing) = (Arc::<AtomicU64>::default(), CancellationToken::new());
        let writing = TaskTracker::new();
        writing.spawn(Writer::new(Arc::clone(ledger), told, Arc::clone(&lost), closing.clone()).write());
        writing.close();
        Self { policy, queue, room: Room::new(), lost, closing, writing }
    }

    /// Has a fact written before the request goes on, or soon, as the policy says.
    async fn tell(&self, fact: Fact) -> Result<(), Problem> {
        match self.policy {
            Policy::BestEffort => {
                self.mention(fact);
                Ok(())
            }
            Policy::Required => {
                let place = self.place(&fact).ok_or(Problem::Database)?;
                let (written, is_written) = oneshot::channel();
                self.hand_over(Entry { fact, written: Some(written), place: Some(place) });
                timeout(PATIENCE, is_written).await.ok().and_then(Result::ok).ok_or(Problem::Database)
            }
        }
    }

    /// Has a fact written soon. One for which there is no room is counted, unless entries are required: what nobody can
    /// refuse any more is kept then, however much is waiting.
    pub(crate) fn mention(&self, fact: Fact) {
        let place = self.place(&fact);
        if place.is_some() || self.policy == Policy::Required {
            self.hand_over(Entry { fact, written: None, place });
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many entries wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.room.taken()
    }

    /// How many entries were given up since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn place(&self, fact: &Fact) -> Option<Place> {
        self.room.find(fact.who.as_ref().map(|who| &who.subject))
    }

    fn hand_over(&self, entry: Entry) {
        // Nobody writes any more once the server has stopped; who waits for it hears that at once.
        if let Err(SendError(Entry { written: None, .. })) = self.queue.send(entry) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is still waiting, once; nothing told after this is written.
    pub(crate) async fn close(&self, patience: Duration) {
        self.closing.cancel();
        if timeout(patience, self.writing.wait()).await.is_err() {
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
        self.metrics.decisions.count([event.as_str(), verdict.as_str()]);
        if event == AuditEvent::Inference
            && verdict == AuditVerdict::Allowed
            && self.settings.audit_inference == Inferences::Refused
        {
            return decided;
        }
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

    /// Writes down that somebody was refused without an LLM that they mean: they can run none at all, or what they
    /// name can be none.
    pub(crate) async fn witnessed_unheard<T>(
        &self,
        caller: &Caller,
        decided: Result<T, Problem>,
    ) -> Result<T, Problem> {
        let verdict = match &decided {
            Err(Problem::LlmForbidden(_)) => Some(AuditVerdict::Denied),
            Err(Problem::NotFound(_)) => Some(AuditVerdict::Absent),
            _ => None,
        };
        if let Some(verdict) = verdict {
            let event = AuditEvent::Inference;
            self.metrics.decisions.count([event.as_str(), verdict.as_str()]);
            let fact = Fact { verdict: Some(verdict), ..by(caller, event) };
            self.audit.tell(fact).await?;
        }
        decided
    }
}

/// An answer that ends because the right to it has gone.
pub(crate) fn cut(login: &Login, record: &Record, llm: &StoredLlm, at: Timestamp) -> Fact {
    Fact {
        llm: Some(llm.spec.name.to_string()),
        llm_id: Some(llm.id.to_string()),
        verdict: Some(AuditVerdict::Denied),
        ..of(login, record, AuditEvent::Cut, at)
    }
}

/// Somebody who runs an LLM, or wants to.
fn by(caller: &Caller, event: AuditEvent) -> Fact {
    of(caller.login(), caller.record(), event, caller.now())
}

fn of(login: &Login, record: &Record, event: AuditEvent, at: Timestamp) -> Fact {
    Fact {
        who: Some(login.who()),
        verb: Some(Verb::Run),
        request_id: Some(record.request_id().to_owned()),
        ..Fact::new(event, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::now,
        database::Database,
        store::{Search, Store, Who, open},
    };
    use futures_util::FutureExt;
    use mcp_api::{Subject, SubjectKind};

    const ENDING: Duration = Duration::from_mins(1);

    async fn open_in(folder: &tempfile::TempDir) -> Store {
        open(Database::find(None, Some(&folder.path().join("data")), |_| None).unwrap()).await.unwrap()
    }

    fn of(name: &str) -> Fact {
        let subject = Subject { kind: SubjectKind::User, name: name.parse().unwrap() };
        Fact { who: Some(Who { subject, token_id: "id".into() }), ..Fact::new(AuditEvent::Inference, now()) }
    }

    /// Of whom there are entries, in their order, at most one page.
    async fn written(store: &Store) -> Vec<String> {
        let search = Search { limit: 1000, ..Search::default() };
        let (entries, _) = store.ledger().page(&search).await.unwrap();
        entries.into_iter().filter_map(|entry| Some(entry.subject?.name)).collect()
    }

    #[tokio::test]
    async fn d03_what_was_refused_because_nobody_waited_for_its_entry_is_not_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_in(&folder).await;
        let audit = Audit::begin(Policy::Required, store.ledger());
        let change = store.change().await.unwrap();
        let first = audit.tell(of("first"));
        // A client that hangs up, or eight seconds.
        assert!(audit.tell(of("gone")).now_or_never().is_none());
        drop(change);
        first.await.unwrap();
        audit.tell(of("last")).await.unwrap();
        assert_eq!(written(&store).await, ["first", "last"]);
    }

    #[tokio::test]
    async fn a11_where_entries_are_required_a_cut_is_written_however_much_is_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_in(&folder).await;
        let audit = Audit::begin(Policy::Required, store.ledger());
        let full: Vec<_> = std::iter::from_fn(|| audit.room.find(None)).collect();
        assert!(matches!(audit.tell(of("late")).now_or_never(), Some(Err(Problem::Database))));
        audit.mention(of("cut"));
        audit.close(ENDING).await;
        drop(full);
        assert_eq!((written(&store).await, audit.lost.load(Ordering::Relaxed)), (vec!["cut".to_owned()], 0));
    }

    #[tokio::test]
    async fn k09_whoever_floods_the_trail_pushes_out_only_entries_of_its_own_and_they_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_in(&folder).await;
        let audit = Audit::begin(Policy::BestEffort, store.ledger());
        let change = store.change().await.unwrap();
        for _ in 0..20_000 {
            audit.mention(of("mallory"));
        }
        audit.mention(of("dana"));
        let lost = audit.lost.load(Ordering::Relaxed);
        assert!(lost > 10_000, "one subject took the whole room: {lost}");
        drop(change);
        audit.close(ENDING).await;
        let search = Search { subject: Some("dana".into()), limit: 1000, ..Search::default() };
        assert_eq!(store.ledger().page(&search).await.unwrap().0.len(), 1);
        let head = store.ledger().head().await.unwrap();
        assert_eq!(head.seq + lost, 20_001);
    }
}
