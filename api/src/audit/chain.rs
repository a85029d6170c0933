//! Whether entries follow each other as they were written.

use super::{AuditEntry, AuditHead, GENESIS};
use std::fmt;

/// What is wrong with a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Entries are not there.
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// An entry stands where it does not belong.
    OutOfOrder {
        /// Its number.
        seq: u64,
        /// The number of the one before it.
        after: u64,
    },
    /// What an entry says is not what its hash says.
    Changed {
        /// Its number.
        seq: u64,
    },
    /// An entry was written after another one than stands before it.
    Unlinked {
        /// Its number.
        seq: u64,
    },
    /// The trail ends before an entry that was there once.
    CutOff {
        /// Where it ends.
        at: u64,
        /// An entry that was there.
        known: u64,
    },
    /// An entry is another one than was there once: all since then may have been written anew.
    Rewritten {
        /// Its number.
        seq: u64,
    },
    /// There are entries after what the server says is the last one.
    Beyond {
        /// What the server says is the last one.
        head: u64,
        /// The last one that is there.
        last: u64,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { from, to } if from == to => write!(f, "entry {from} is missing"),
            Self::Missing { from, to } => write!(f, "entries {from} to {to} are missing"),
            Self::OutOfOrder { seq, after } => {
                write!(f, "entry {seq} is out of order: it stands after {after}")
            }
            Self::Changed { seq } => {
                write!(f, "entry {seq} was changed: its hash is not that of what it says")
            }
            Self::Unlinked { seq } => {
                write!(f, "entry {seq} does not follow the one before it: one of the two was replaced")
            }
            Self::CutOff { at, known } => {
                write!(f, "the trail ends with entry {at}, but entry {known} was there: its end was cut off")
            }
            Self::Rewritten { seq } => {
                write!(f, "entry {seq} is not the one that was there: the trail was written anew")
            }
            Self::Beyond { head, last } => {
                write!(
                    f,
                    "the trail goes on to entry {last}, but its head is {head}: something was added by hand"
                )
            }
        }
    }
}

/// Entries taken one after the other.
#[derive(Debug)]
pub struct Chain {
    last: Option<AuditHead>,
}

impl Chain {
    /// Expects the whole trail, from its first entry on.
    #[must_use]
    pub fn whole() -> Self {
        Self { last: Some(AuditHead { seq: 0, hash: GENESIS.to_owned() }) }
    }

    /// Expects a part of a trail; nothing is known of what was before it.
    #[must_use]
    pub fn part() -> Self {
        Self { last: None }
    }

    /// Takes the next entry, and says what is wrong with it. Goes on from it whatever that is.
    pub fn take(&mut self, entry: &AuditEntry) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        if entry.hash != entry.computed() {
            flaws.push(Flaw::Changed { seq: entry.seq });
        }
        match &self.last {
            Some(last) if entry.seq <= last.seq => {
                flaws.push(Flaw::OutOfOrder { seq: entry.seq, after: last.seq });
                return flaws;
            }
            Some(last) if entry.seq > last.seq.saturating_add(1) => {
                flaws.push(Flaw::Missing { from: last.seq + 1, to: entry.seq - 1 });
            }
            Some(last) if entry.prev != last.hash => flaws.push(Flaw::Unlinked { seq: entry.seq }),
            Some(_) | None => {}
        }
        self.last = Some(entry.head());
        flaws
    }

    /// Where the entries that were taken end; none before the first one of a part.
    #[must_use]
    pub fn head(&self) -> Option<&AuditHead> {
        self.last.as_ref()
    }
}
