//! How much may wait to be written, and how much of that for one subject: nobody who makes many entries pushes out
//! those of others.

use mcp_api::Subject;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many entries may wait.
const WAITING_MAX: usize = 16_384;
/// How many of them for one subject, whichever of its tokens it shows.
const SHARE_MAX: usize = WAITING_MAX / 4;

/// Room for entries that wait.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    shares: Arc<Shares>,
}

type Shares = Mutex<BTreeMap<Subject, usize>>;

/// The place of one entry, until it is written or given up.
#[derive(Debug)]
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _share: Option<Share>,
}

/// What one subject has taken.
#[derive(Debug)]
struct Share {
    subject: Subject,
    shares: Arc<Shares>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(WAITING_MAX)), shares: Arc::default() }
    }

    /// A place for an entry about somebody, or about nobody; none if all are taken, or their share is.
    pub(super) fn find(&self, subject: Option<&Subject>) -> Option<Place> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let share = match subject {
            Some(subject) => Some(self.share(subject)?),
            None => None,
        };
        Some(Place { _place: place, _share: share })
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        WAITING_MAX - self.places.available_permits()
    }

    fn share(&self, subject: &Subject) -> Option<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = shares.entry(subject.clone()).or_default();
        if *taken >= SHARE_MAX {
            return None;
        }
        *taken += 1;
        Some(Share { subject: subject.clone(), shares: Arc::clone(&self.shares) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = shares.get_mut(&self.subject) {
            *taken -= 1;
            if *taken == 0 {
                shares.remove(&self.subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcp_api::SubjectKind;

    #[test]
    fn whoever_floods_takes_no_place_of_others_and_gets_a_new_one_for_each_that_is_written() {
        let room = Room::new();
        let user = |name: &str| Subject { kind: SubjectKind::User, name: name.parse().unwrap() };
        let (mallory, dana) = (user("mallory"), user("dana"));
        let mut flood: Vec<_> = std::iter::from_fn(|| room.find(Some(&mallory))).collect();
        assert_eq!(flood.len(), SHARE_MAX);
        let others = room.find(Some(&dana));
        assert!(others.is_some() && room.find(None).is_some());
        flood.pop();
        flood.push(room.find(Some(&mallory)).unwrap());
        assert!(room.find(Some(&mallory)).is_none());
        drop((flood, others));
        assert!(room.shares.lock().unwrap().is_empty(), "who has nothing waiting is still counted");
    }
}
