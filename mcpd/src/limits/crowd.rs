//! Who is in at this moment: counts that go up together or not at all, and down when their holder is dropped, however
//! that comes. A count of nothing takes no room.

use std::{
    collections::HashMap,
    hash::Hash,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Debug)]
pub(super) struct Crowd<K>(Mutex<HashMap<Arc<K>, u32>>);

impl<K> Default for Crowd<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Somebody who is in.
#[derive(Debug)]
pub(super) struct Place<K: Eq + Hash> {
    keys: [Arc<K>; 3],
    crowd: Arc<Crowd<K>>,
}

impl<K: Eq + Hash> Crowd<K> {
    /// Counts somebody under three keys, if none of them is at its limit; else says which is. Also what has no limit is
    /// counted: it can get one meanwhile.
    pub(super) fn enter(
        self: &Arc<Self>,
        keys: [Arc<K>; 3],
        limits: [Option<NonZeroU32>; 3],
    ) -> Result<Place<K>, (usize, NonZeroU32)> {
        // Nothing within can panic between two counts.
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, (key, limit)) in keys.iter().zip(limits).enumerate() {
            let count = counts.get(key).copied().unwrap_or_default();
            if let Some(limit) = limit.filter(|limit| count >= limit.get()) {
                return Err((at, limit));
            }
        }
        for key in &keys {
            let count = counts.entry(Arc::clone(key)).or_default();
            *count = count.saturating_add(1);
        }
        drop(counts);
        Ok(Place { keys, crowd: Arc::clone(self) })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            let left = counts.get_mut(key).map(|count| {
                *count = count.saturating_sub(1);
                *count
            });
            if left == Some(0) {
                counts.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> [Arc<String>; 3] {
        ["token on llm", "token", "llm"].map(|key| Arc::new(key.to_owned()))
    }

    fn limits(all: [u32; 3]) -> [Option<NonZeroU32>; 3] {
        all.map(NonZeroU32::new)
    }

    #[test]
    fn whoever_is_refused_is_counted_nowhere() {
        let crowd = Arc::new(Crowd::default());
        let _one = crowd.enter(keys(), limits([0, 0, 1])).unwrap();
        let (at, limit) = crowd.enter(keys(), limits([2, 2, 1])).unwrap_err();
        assert_eq!((at, limit.get()), (2, 1));
        assert_eq!(crowd.0.lock().unwrap()[&"token".to_owned()], 1);
    }

    #[test]
    fn a_limit_counts_those_who_came_before_it() {
        let crowd = Arc::new(Crowd::default());
        let one = crowd.enter(keys(), limits([0, 0, 0])).unwrap();
        let two = crowd.enter(keys(), limits([0, 0, 0])).unwrap();
        assert_eq!(crowd.enter(keys(), limits([0, 2, 0])).unwrap_err().0, 1);
        drop(one);
        let three = crowd.enter(keys(), limits([0, 2, 0])).unwrap();
        drop((two, three));
        assert!(crowd.0.lock().unwrap().is_empty(), "nobody is in, and nothing is kept");
    }
}
