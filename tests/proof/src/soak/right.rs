//! When somebody had a right, as far as it is known from outside: between what was asked and what was acknowledged
//! nobody knows.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// One right of one person.
#[derive(Debug)]
pub(super) enum Right {
    /// From before the first run until after the last one.
    Always,
    /// At no time.
    Never,
    /// It comes and goes.
    Changing(Changes),
}

/// What was done about it, in this order.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<Vec<Change>>);

#[derive(Debug, Clone, Copy)]
struct Change {
    held: bool,
    asked: Instant,
    acknowledged: Option<Instant>,
}

impl Changes {
    /// It is about to be given (or taken).
    pub(super) fn ask(&self, held: bool) {
        self.list().push(Change { held, asked: Instant::now(), acknowledged: None });
    }

    /// What was asked last has happened.
    pub(super) fn acknowledge(&self) {
        if let Some(last) = self.list().last_mut() {
            last.acknowledged = Some(Instant::now());
        }
    }

    fn surely(&self, held: bool, from: Instant, to: Instant) -> bool {
        let list = self.list();
        let ends = list.iter().skip(1).map(|next| Some(next.asked)).chain([None]);
        // One change after the other that says the same leaves no gap.
        let mut since = None;
        for (change, end) in list.iter().zip(ends) {
            since = match (change.held == held, since, change.acknowledged) {
                (true, Some(since), _) => Some(since),
                (true, None, acknowledged) => acknowledged,
                (false, ..) => None,
            };
            if since.is_some_and(|since| since <= from) && end.is_none_or(|end| to <= end) {
                return true;
            }
        }
        false
    }

    fn list(&self) -> MutexGuard<'_, Vec<Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Right {
    /// There was no moment in this window at which it could have been in force.
    pub(super) fn was_surely_absent(&self, from: Instant, to: Instant) -> bool {
        match self {
            Self::Always => false,
            Self::Never => true,
            Self::Changing(changes) => changes.surely(false, from, to),
        }
    }

    /// It was in force in all of this window.
    pub(super) fn was_surely_held(&self, from: Instant, to: Instant) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Changing(changes) => changes.surely(true, from, to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_what_lies_between_an_acknowledgement_and_the_next_question_is_sure() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let change = |held, asked, acknowledged: Option<u64>| Change {
            held,
            asked: at(asked),
            acknowledged: acknowledged.map(at),
        };
        let right = Right::Changing(Changes(Mutex::new(vec![
            change(true, 0, Some(10)),
            change(false, 100, Some(110)),
            change(true, 200, None),
            change(true, 250, Some(260)),
            change(false, 300, None),
            change(false, 350, Some(360)),
            change(false, 400, None),
        ])));
        let absent = |from, to| right.was_surely_absent(at(from), at(to));
        let held = |from, to| right.was_surely_held(at(from), at(to));
        assert!(held(10, 100) && !held(9, 20) && !held(50, 101));
        assert!(absent(110, 200) && absent(150, 160) && !absent(105, 150) && !absent(150, 201));
        assert!(!held(210, 240) && !absent(210, 240), "nobody knows");
        assert!(held(260, 300) && !absent(310, 340));
        assert!(absent(360, 10_000), "asked once more for the same");
    }
}
