//! Who says what is true now.
//!
//! A file has one writer, this process, and memory is exact. On a server others write as well: there, a request is
//! decided on what the server said to a question that was put after the request had arrived. One question serves all
//! requests that wait for it; an answer is never kept.

use super::{
    Moment, Snapshot, StoreError,
    door::{Door, within},
    memory::Memory,
};
use sqlx::{AnyConnection, FromRow};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

/// How long the question may take, with a new connection if one is needed; and how long a request waits for an answer.
/// Reading everything anew may take longer: then the next ones find it done.
const QUESTION: Duration = Duration::from_secs(2);

/// The epoch, its stamp, the time, and whether the server only follows another one: behind a balancer it can be another
/// server each time. The only reading that is put to the server for every request.
const NOW: &str = "SELECT epoch, stamp, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now, \
                   pg_is_in_recovery() AS follows FROM authz WHERE one = 1";

type Answer = oneshot::Sender<Option<Moment>>;

/// Knows, or asks.
#[derive(Debug)]
pub(super) enum Authority {
    Memory,
    Server(mpsc::UnboundedSender<Answer>),
}

impl Authority {
    pub(super) fn new(door: &Arc<Door>, memory: &Arc<Memory>) -> Self {
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
    pub(super) async fn moment(&self, memory: &Memory) -> Result<Moment, StoreError> {
        match self {
            Self::Memory => {
                let snapshot = memory.exact().ok_or(StoreError::Away)?;
                Ok(Moment { snapshot, now: crate::app::now(), asked: Instant::now() })
            }
            Self::Server(ask) => {
                let (answer, answered) = oneshot::channel();
                ask.send(answer).map_err(|_| StoreError::Away)?;
                let answer = timeout(QUESTION, answered).await.map_err(|_| StoreError::Silent)?;
                answer.ok().flatten().ok_or(StoreError::Away)
            }
        }
    }
}

/// Puts the question, on a connection that nobody else uses.
struct Reader {
    door: Arc<Door>,
    memory: Arc<Memory>,
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
        let asked = Instant::now();
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
        let (mut connection, Said { epoch, stamp, now, follows }) =
            timeout(QUESTION, asking).await.map_err(|_| StoreError::Silent)??;
        if follows {
            return Err(StoreError::Standby);
        }
        let mut snapshot = self.memory.latest();
        if !snapshot.is_of(epoch, &stamp) {
            snapshot = Arc::new(everything(&mut connection).await?);
            if snapshot.is_before(epoch) {
                // Said by one server and read from another one that knows less.
                return Err(StoreError::Standby);
            }
            self.memory.keep(Arc::clone(&snapshot));
        }
        self.connection = Some(connection);
        Ok(Moment { snapshot, now: super::time(now)?, asked })
    }
}

/// The answer to [`NOW`].
#[derive(FromRow)]
struct Said {
    epoch: i64,
    stamp: String,
    now: i64,
    follows: bool,
}

async fn question(connection: &mut AnyConnection) -> Result<Said, StoreError> {
    within(sqlx::query_as(NOW).fetch_one(connection)).await
}

/// Reads all of it as it was at one moment.
pub(super) async fn everything(connection: &mut AnyConnection) -> Result<Snapshot, StoreError> {
    within(sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *connection)).await?;
    let snapshot = Snapshot::load(connection).await?;
    within(sqlx::query("COMMIT").execute(connection)).await?;
    Ok(snapshot)
}
