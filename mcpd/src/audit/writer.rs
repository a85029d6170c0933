//! Writes facts in the order in which they were told, many at once, and tries again while the database is away.

use super::room::Place;
use crate::{
    log::chain,
    store::{Fact, Ledger, NotWritten},
};
use mcp_api::AuditHead;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// How many entries are written in one transaction.
const BATCH_MAX: usize = 256;
/// How long to gather before the next ones are written, if nobody waits for it and there is no more yet: the lock that
/// is held meanwhile is the one that every change on every server has to have.
const GATHER: Duration = Duration::from_millis(25);
/// How long to wait before the next try.
const BREATH: Duration = Duration::from_millis(500);
/// How often the log is told that it does not work.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// A fact, and who waits for it to be written. Dropping the sender says that it will not be.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) fact: Fact,
    pub(super) written: Option<oneshot::Sender<()>>,
    /// Given back once nothing is to be done with it any more.
    pub(super) place: Option<Place>,
}

impl Entry {
    /// Says that who waited for it has gone, and was refused or has refused: it is not to be written later.
    fn is_given_up(&self) -> bool {
        self.written.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// The one who writes.
pub(super) struct Writer {
    ledger: Arc<Ledger>,
    told: mpsc::UnboundedReceiver<Entry>,
    /// Since the start.
    lost: Arc<AtomicU64>,
    /// How many of them the log was told of.
    told_lost: u64,
    closing: CancellationToken,
    complained: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        ledger: Arc<Ledger>,
        told: mpsc::UnboundedReceiver<Entry>,
        lost: Arc<AtomicU64>,
        closing: CancellationToken,
    ) -> Self {
        Self { ledger, told, lost, told_lost: 0, closing, complained: None }
    }

    /// Writes until the server stops, and then what is left.
    pub(super) async fn write(mut self) {
        let mut batch = Vec::new();
        let closing = self.closing.clone();
        loop {
            tokio::select! {
                biased;
                told = self.told.recv_many(&mut batch, BATCH_MAX) => if told == 0 { break },
                () = closing.cancelled() => break,
            }
            let may_gather = batch.len() < BATCH_MAX && batch.iter().all(|entry| entry.written.is_none());
            self.record(std::mem::take(&mut batch)).await;
            self.tell_losses();
            if may_gather {
                tokio::select! {
                    () = sleep(GATHER) => {}
                    () = closing.cancelled() => {}
                }
            }
        }
        self.told.close();
        while self.told.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.record(std::mem::take(&mut batch)).await;
        }
        self.complained = None;
        self.tell_losses();
    }

    /// Writes a batch. Nobody is kept waiting for a second try: who had to have it written is told that it is not.
    async fn record(&mut self, mut batch: Vec<Entry>) {
        batch.retain(|entry| !entry.is_given_up());
        let (mut facts, mut rest): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|entry| (entry.fact, (entry.written, entry.place))).unzip();
        let mut tried: Option<AuditHead> = None;
        while !facts.is_empty() {
            let error = match self.ledger.append(&facts, tried.as_ref()).await {
                Ok(()) => {
                    for (written, _) in rest {
                        // Who has hung up meanwhile needs no answer.
                        let _ = written.map(|written| written.send(()));
                    }
                    return;
                }
                Err(error) => error,
            };
            if let NotWritten::Uncertain(end) = &error {
                tried = Some(end.clone());
            }
            // Who waited is told, and refused; what was refused is not to be written later.
            let kept = facts.into_iter().zip(rest).filter(|(_, (written, _))| written.is_none());
            (facts, rest) = kept.unzip();
            self.complain(&error, facts.len());
            if self.closing.is_cancelled() {
                self.lost.fetch_add(facts.len() as u64, Ordering::Relaxed);
                return;
            }
            if !facts.is_empty() {
                self.breathe().await;
            }
        }
    }

    async fn breathe(&self) {
        tokio::select! {
            () = sleep(BREATH) => {}
            () = self.closing.cancelled() => {}
        }
    }

    fn complain(&mut self, error: &NotWritten, in_hand: usize) {
        if self.may_complain() {
            let waiting = in_hand + self.told.len();
            let lost = self.lost.load(Ordering::Relaxed) - self.told_lost;
            tracing::error!(
                error = chain(error),
                waiting,
                lost,
                "audit rows cannot be written; audit rows lost: {lost}"
            );
        }
    }

    fn tell_losses(&mut self) {
        let lost = self.lost.load(Ordering::Relaxed) - self.told_lost;
        if lost > 0 && self.may_complain() {
            self.told_lost += lost;
            tracing::error!(lost, "audit rows lost: {lost}");
        }
    }

    fn may_complain(&mut self) -> bool {
        let is_due = self.complained.is_none_or(|last| last.elapsed() >= COMPLAINTS);
        if is_due {
            self.complained = Some(Instant::now());
        }
        is_due
    }
}
