//! Who says what is true now.
//!
//! A file has one writer, this process, and memory is exact. On a server others write as well: there, a request is
//! decided on what the server said to a question that was put after the request had arrived. One question serves all
//! requests that wait for it; an answer is never kept.

use super::{Moment, Snapshot, StoreError, door::Door, door::within};
use arc_swap::ArcSwap;
use sqlx::AnyConnection;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How long the question may take, with a new connection if one is needed. Whoever waits longer is better told so.
const QUESTION: Duration = Duration::from_secs(2);

/// The epoch, its stamp and the time. The only reading that is put to the server for every request.
const NOW: &str = "SELECT epoch, stamp, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) \
                   FROM authz WHERE one = 1";

type Answer = oneshot::Sender<Option<Moment>>;

/// Knows, or asks.
#[derive(Debug)]
pub(super) enum Authority {
    Memory,
    Server(mpsc::UnboundedSender<Answer>),
}

impl Authority {
    pub(super) fn new(door: &Arc<Door>, memory: &Arc<ArcSwap<Snapshot>>) -> Self {
        match **door {
            Door::File(_) => Self::Memory,
            Door::Server(_) => {
                let (ask, asked) = mpsc::unbounded_channel();
                let reader = Reader { door: Arc::clone(door), memory: Arc::clone(memory), connection: None };
                // Ends with the last sender, which is ours.
                tokio::spawn(reader.answer(asked));
                Self::Server(ask)
            }
        }
    }

    /// What is true at some moment after this call.
    pub(super) async fn moment(&self, memory: &ArcSwap<Snapshot>) -> Result<Moment, StoreError> {
        match self {
            Self::Memory => Ok(Moment { snapshot: memory.load_full(), now: crate::app::now() }),
            Self::Server(ask) => {
                let (answer, answered) = oneshot::channel();
                ask.send(answer).map_err(|_| StoreError::Silent)?;
                answered.await.ok().flatten().ok_or(StoreError::Silent)
            }
        }
    }
}

/// Puts the question, on a connection that nobody else uses.
struct Reader {
    door: Arc<Door>,
    memory: Arc<ArcSwap<Snapshot>>,
    connection: Option<AnyConnection>,
}

impl Reader {
    async fn answer(mut self, mut asked: mpsc::UnboundedReceiver<Answer>) {
        while let Some(first) = asked.recv().await {
            // All of these arrived before the question is put.
            let mut waiting = vec![first];
            while let Ok(next) = asked.try_recv() {
                waiting.push(next);
            }
            let moment = match self.read().await {
                Ok(moment) => Some(moment),
                Err(error) => {
                    tracing::error!(error = crate::log::chain(&error), "the database cannot be asked");
                    // Nobody is to wait twice: who came meanwhile gets the same answer, which is none.
                    while let Ok(next) = asked.try_recv() {
                        waiting.push(next);
                    }
                    None
                }
            };
            for answer in waiting {
                // Who has hung up needs no answer.
                let _ = answer.send(moment.clone());
            }
        }
    }

    async fn read(&mut self) -> Result<Moment, StoreError> {
        // Taken out, so that a connection in the middle of something is never used again.
        let old = self.connection.take();
        let asking = async {
            if let Some(mut connection) = old
                && let Ok(now) = question(&mut connection).await
            {
                return Ok((connection, now));
            }
            // The server may have been started anew. The question changes nothing, so it can be put again.
            let mut connection = self.door.open().await?;
            let now = question(&mut connection).await?;
            Ok::<_, StoreError>((connection, now))
        };
        let (mut connection, (epoch, stamp, now)) =
            timeout(QUESTION, asking).await.map_err(|_| StoreError::Silent)??;
        let mut snapshot = self.memory.load_full();
        if !snapshot.is_of(epoch, &stamp) {
            snapshot = Arc::new(everything(&mut connection).await?);
            self.memory.store(Arc::clone(&snapshot));
        }
        self.connection = Some(connection);
        Ok(Moment { snapshot, now: super::time(now)? })
    }
}

async fn question(connection: &mut AnyConnection) -> Result<(i64, String, i64), StoreError> {
    within(sqlx::query_as(NOW).fetch_one(connection)).await
}

/// Reads all of it as it was at one moment.
async fn everything(connection: &mut AnyConnection) -> Result<Snapshot, StoreError> {
    within(sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *connection)).await?;
    let snapshot = Snapshot::load(connection).await?;
    within(sqlx::query("COMMIT").execute(connection)).await?;
    Ok(snapshot)
}
