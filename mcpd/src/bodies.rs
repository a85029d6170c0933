//! How much memory bodies take: those of one caller together, and all of them. Counted as they arrive.

use crate::problem::Problem;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One caller may take a fourth of what all may.
const FOR_ONE: usize = 4;

/// Who has sent a body, as limits count them.
#[derive(Debug, Clone)]
pub(crate) struct Holder(pub(crate) String);

/// The bodies that are under way.
#[derive(Debug)]
pub(crate) struct Bodies {
    for_all: usize,
    for_one: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    each: HashMap<String, usize>,
}

/// What one body takes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    bodies: Arc<Bodies>,
    holder: String,
    taken: usize,
}

impl Bodies {
    /// Takes so many bytes together. A body of `max_body` has room, if it is the only one.
    pub(crate) fn new(for_all: usize, max_body: usize) -> Self {
        let for_all = for_all.max(max_body);
        Self { for_all, for_one: (for_all / FOR_ONE).max(max_body), counts: Mutex::default() }
    }

    /// The body of somebody, of which nothing has arrived.
    pub(crate) fn share(self: &Arc<Self>, holder: String) -> Share {
        Share { bodies: Arc::clone(self), holder, taken: 0 }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing within can panic between two counts.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Counts what has arrived, if there is room for it.
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), Problem> {
        let mut counts = self.bodies.counts();
        let own = counts.each.get(&self.holder).copied().unwrap_or_default().saturating_add(more);
        if own > self.bodies.for_one {
            return Err(Problem::TooMuchAtOnce);
        }
        let all = counts.all.saturating_add(more);
        if all > self.bodies.for_all {
            return Err(Problem::Full);
        }
        counts.all = all;
        counts.each.insert(self.holder.clone(), own);
        drop(counts);
        self.taken += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.bodies.counts();
        counts.all = counts.all.saturating_sub(self.taken);
        let left = counts.each.get_mut(&self.holder).map(|own| {
            *own = own.saturating_sub(self.taken);
            *own
        });
        if left == Some(0) {
            counts.each.remove(&self.holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x05_what_arrives_counts_until_it_is_dropped_and_nothing_is_kept() {
        let bodies = Arc::new(Bodies::new(40, 10));
        let mut one = bodies.share("ana".into());
        one.grow(10).unwrap();
        let mut other = bodies.share("ana".into());
        assert!(matches!(other.grow(1), Err(Problem::TooMuchAtOnce)));
        let mut others: Vec<_> = ["b", "c", "d"].map(|name| bodies.share(name.into())).into();
        for share in &mut others {
            share.grow(10).unwrap();
        }
        assert!(matches!(bodies.share("e".into()).grow(1), Err(Problem::Full)));
        drop(one);
        other.grow(10).unwrap();
        drop((other, others));
        let counts = bodies.counts();
        assert!(counts.all == 0 && counts.each.is_empty(), "{counts:?}");
    }
}
