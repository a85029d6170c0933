//! Judges what several clients saw of several servers while rights came and went. Asks nobody; knows only what was
//! written down, each with the time at which it began and the time at which its answer was there.

use std::time::Instant;

/// What a request needed, and somebody took away and gave back. A token that was revoked never comes back.
pub(crate) type Right = (usize, u64);

/// A request by somebody who has, or had, a right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) right: Right,
    #[expect(dead_code, reason = "read where a failure is shown")]
    pub(crate) replica: usize,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) allowed: bool,
}

/// A time without a right: from the moment at which its revocation was sent to the one at which the grant that ended
/// it was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Without {
    pub(crate) right: Right,
    pub(crate) revocation_sent: Instant,
    pub(crate) revocation_acknowledged: Instant,
    /// None if it was never given back.
    pub(crate) given_back: Option<Span>,
}

/// When a change was sent and when it was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) sent: Instant,
    pub(crate) acknowledged: Instant,
}

/// What the history says.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// Requests that succeeded although the right was gone before they began, and back only after they ended.
    pub(crate) broken: Vec<Asked>,
    /// Requests that failed although the right was there all the time.
    pub(crate) denied_wrongly: Vec<Asked>,
    /// How many requests had to fail, and did.
    pub(crate) denied_rightly: usize,
    /// How many requests had to succeed, and did.
    pub(crate) allowed_rightly: usize,
}

impl Judgement {
    /// Looks at every request. One that overlaps a change may see either side of it and is not judged.
    pub(crate) fn of(asked: &[Asked], without: &[Without]) -> Self {
        let mut judgement = Self::default();
        for request in asked {
            let mut times = without.iter().filter(|time| time.right == request.right);
            if times.clone().any(|time| time.covers(request)) {
                if request.allowed {
                    judgement.broken.push(*request);
                } else {
                    judgement.denied_rightly += 1;
                }
            } else if !times.any(|time| time.touches(request)) {
                if request.allowed {
                    judgement.allowed_rightly += 1;
                } else {
                    judgement.denied_wrongly.push(*request);
                }
            }
        }
        judgement
    }
}

impl Without {
    /// Says whether the right was gone from before the request to after it, whatever a server is slow with.
    fn covers(&self, request: &Asked) -> bool {
        self.revocation_acknowledged <= request.begun
            && self.given_back.is_none_or(|back| request.ended <= back.sent)
    }

    /// Says whether the right may have been gone at some time during the request.
    fn touches(&self, request: &Asked) -> bool {
        self.revocation_sent <= request.ended
            && self.given_back.is_none_or(|back| request.begun <= back.acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RIGHT: Right = (0, 0);

    /// Sent at 10, acknowledged at 20; given back from 30 to 40.
    fn gone(start: Instant) -> Without {
        let at = |ms| start + Duration::from_millis(ms);
        Without {
            right: RIGHT,
            revocation_sent: at(10),
            revocation_acknowledged: at(20),
            given_back: Some(Span { sent: at(30), acknowledged: at(40) }),
        }
    }

    #[test]
    fn d09_a_yes_after_an_acknowledged_revocation_is_found_and_nothing_else() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        // Begun, ended, allowed; broken, denied wrongly.
        for (begun, ended, allowed, broken, denied_wrongly) in [
            (21, 25, true, true, false),
            (20, 30, true, true, false),
            (21, 25, false, false, false),
            // Either may be seen while a change is under way.
            (15, 25, true, false, false),
            (15, 25, false, false, false),
            (25, 31, true, false, false),
            (35, 50, false, false, false),
            // The right is there.
            (1, 9, true, false, false),
            (1, 9, false, false, true),
            (41, 50, false, false, true),
            (41, 50, true, false, false),
        ] {
            let asked = Asked { right: RIGHT, replica: 1, begun: at(begun), ended: at(ended), allowed };
            let judgement = Judgement::of(&[asked], &[gone(start)]);
            let found = (!judgement.broken.is_empty(), !judgement.denied_wrongly.is_empty());
            assert_eq!(found, (broken, denied_wrongly), "{begun} to {ended}, {allowed}");
        }
    }

    #[test]
    fn d09_what_was_never_given_back_stays_gone_and_another_right_is_no_matter() {
        let start = Instant::now();
        let without = Without { given_back: None, ..gone(start) };
        let late = start + Duration::from_secs(9);
        let asked = Asked { right: RIGHT, replica: 0, begun: late, ended: late, allowed: true };
        assert_eq!(Judgement::of(&[asked], &[without]).broken.len(), 1);
        let other = Asked { right: (0, 1), ..asked };
        assert_eq!(Judgement::of(&[other], &[without]).allowed_rightly, 1);
    }
}
