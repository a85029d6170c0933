//! How often in a minute: one bucket for each key that was seen of late, in bounded room. The buckets are governor's.

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use std::{
    collections::HashMap,
    hash::Hash,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A bucket that was not used for so long is full again, and so as good as none.
const MEMORY: Duration = Duration::from_mins(1);
/// How often at most there is a look for those, while there is no room.
const SWEEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Rates<K> {
    room: usize,
    known: Mutex<Known<K>>,
}

#[derive(Debug)]
struct Known<K> {
    buckets: HashMap<K, Bucket>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Bucket {
    per_minute: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
    used: Instant,
}

impl<K: Eq + Hash + Clone> Rates<K> {
    /// With room for so many keys.
    pub(super) fn new(room: usize) -> Self {
        Self { room, known: Mutex::new(Known { buckets: HashMap::new(), swept: None }) }
    }

    /// Takes one out of the bucket of a key, or says how long to wait. A bucket whose limit is another one now begins
    /// anew. Without room nothing is counted: that is for the caller to be no harm.
    pub(super) fn take(&self, key: &K, per_minute: NonZeroU32) -> Result<(), Duration> {
        let now = Instant::now();
        // Nothing within can panic halfway.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.buckets.get(key).is_none_or(|bucket| bucket.per_minute != per_minute) {
            if !known.has_room(self.room, now) {
                return Ok(());
            }
            let limiter = RateLimiter::direct(Quota::per_minute(per_minute));
            known.buckets.insert(key.clone(), Bucket { per_minute, limiter, used: now });
        }
        let Some(bucket) = known.buckets.get_mut(key) else { return Ok(()) };
        bucket.used = now;
        bucket.limiter.check().map_err(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.known.lock().unwrap().buckets.len()
    }
}

impl<K: Eq + Hash> Known<K> {
    fn has_room(&mut self, room: usize, now: Instant) -> bool {
        if self.buckets.len() >= room && self.swept.is_none_or(|swept| now >= swept + SWEEP) {
            self.swept = Some(now);
            self.buckets.retain(|_, bucket| now < bucket.used + MEMORY);
        }
        self.buckets.len() < room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_minute(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn each_key_has_its_own_minute() {
        let rates = Rates::new(10);
        for _ in 0..3 {
            assert_eq!(rates.take(&"a", per_minute(3)), Ok(()));
        }
        let wait = rates.take(&"a", per_minute(3)).unwrap_err();
        assert!(wait > Duration::from_secs(15) && wait <= Duration::from_secs(20), "{wait:?}");
        assert_eq!(rates.take(&"b", per_minute(3)), Ok(()));
        assert_eq!(rates.take(&"a", per_minute(100)), Ok(()), "another limit begins anew");
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let rates = Rates::new(10);
        for key in 0..1000 {
            assert_eq!(rates.take(&key, per_minute(1)), Ok(()));
        }
        assert_eq!(rates.len(), 10);
        assert!(rates.take(&3, per_minute(1)).is_err(), "whoever is known is not forgotten for a stranger");
    }
}
