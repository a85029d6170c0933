//! Whether one node of an LLM should be asked. Nothing here does I/O or knows a clock.
//!
//! A node that failed rests for a growing while. Then somebody looks whether it answers at all, without a prompt; if it
//! does, one request may try it, and only its answer brings the node back for all. Advice, not a verdict: where no other
//! node is left, one that rests is asked as well.

use std::time::Duration;
use tokio::time::Instant;

/// How long a node rests after its first failure; twice as long after each further one.
const REST: Duration = Duration::from_millis(500);
/// It never rests longer.
const REST_MAX: Duration = Duration::from_secs(15);

/// What is known of one node.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: State,
    /// In a row.
    failures: u32,
    failed_at: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It answers.
    #[default]
    Up,
    /// It failed, and is left alone until then.
    Resting(Instant),
    /// It rested, and somebody looks whether it answers.
    Looking,
    /// It answers, and may be tried by one request.
    Open,
    /// That request is on its way.
    OnTrial,
}

/// Whether a request may go to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may.
    Ready,
    /// It may, and is the only one until it has ended: say so by [`Health::try_out`].
    Trial,
    /// Only if there is no other node; the sooner this is, the better.
    Out(Option<Instant>),
}

impl Health {
    pub(super) fn standing(&self) -> Standing {
        match self.state {
            State::Up => Standing::Ready,
            State::Open => Standing::Trial,
            State::Resting(until) => Standing::Out(Some(until)),
            State::Looking | State::OnTrial => Standing::Out(None),
        }
    }

    /// Says whether it is asked like every other one.
    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Says whether somebody should look now, which is then under way.
    pub(super) fn begins_look(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.state, State::Resting(until) if until <= now);
        if is_due {
            self.state = State::Looking;
        }
        is_due
    }

    /// What the look has shown.
    pub(super) fn looked(&mut self, answers: bool, now: Instant) {
        match (self.state, answers) {
            (State::Looking, true) => self.state = State::Open,
            (State::Looking, false) => self.rest(now),
            // A request has found it out meanwhile.
            (State::Up | State::Resting(_) | State::Open | State::OnTrial, _) => {}
        }
    }

    /// Sends one request there to try it.
    pub(super) fn try_out(&mut self) {
        self.state = State::OnTrial;
    }

    /// That request ended without showing anything.
    pub(super) fn trial_is_void(&mut self) {
        if self.state == State::OnTrial {
            self.state = State::Open;
        }
    }

    /// A request that `began` then was answered.
    pub(super) fn answered(&mut self, began: Instant) {
        // What was asked before the last failure shows nothing about the time after it.
        if self.failed_at.is_none_or(|failed| failed <= began) {
            self.state = State::Up;
            self.failures = 0;
        }
    }

    /// A request that `began` then failed in a way that is the node's fault.
    pub(super) fn failed(&mut self, began: Instant, now: Instant) {
        // Many requests fail with one breakdown. It is counted once.
        if self.failed_at.is_none_or(|failed| failed <= began) {
            self.rest(now);
        }
    }

    fn rest(&mut self, now: Instant) {
        let rest = REST.saturating_mul(1 << self.failures.min(10)).min(REST_MAX);
        self.failures = self.failures.saturating_add(1);
        self.failed_at = Some(now);
        self.state = State::Resting(now + rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails, and gives how long it rests then.
    fn rests(health: &mut Health, now: Instant) -> Duration {
        health.failed(now, now);
        match health.standing() {
            Standing::Out(Some(until)) => until - now,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_node_that_fails_rests_longer_each_time_and_never_too_long() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(rests(&mut health, now), REST);
        assert_eq!(rests(&mut health, now + REST), 2 * REST);
        for _ in 0..100 {
            rests(&mut health, now + REST);
        }
        assert_eq!(rests(&mut health, now + REST), REST_MAX);
    }

    #[test]
    fn many_requests_that_fail_with_one_breakdown_count_once() {
        let (mut health, began) = (Health::default(), Instant::now());
        let broke = began + REST;
        for _ in 0..50 {
            health.failed(began, broke);
        }
        assert_eq!(health.standing(), Standing::Out(Some(broke + REST)));
        // Nor does an answer from before it bring the node back.
        health.answered(began);
        assert!(!health.is_up());
        health.answered(broke);
        assert!(health.is_up());
    }

    #[test]
    fn a_node_comes_back_by_a_look_and_one_request() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.failed(now, now);
        assert!(!health.begins_look(now));
        let due = now + REST;
        assert!(health.begins_look(due));
        assert!(!health.begins_look(due), "one look at a time");
        assert_eq!(health.standing(), Standing::Out(None));
        health.looked(true, due);
        assert_eq!(health.standing(), Standing::Trial);
        health.try_out();
        assert_eq!(health.standing(), Standing::Out(None), "one request at a time");
        health.trial_is_void();
        assert_eq!(health.standing(), Standing::Trial);
        health.try_out();
        health.answered(due);
        assert_eq!(health.standing(), Standing::Ready);
        assert_eq!(rests(&mut health, due), REST, "and begins anew");
    }

    #[test]
    fn a_node_that_fails_its_look_or_its_trial_rests_longer() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.failed(now, now);
        health.begins_look(now + REST);
        health.looked(false, now + REST);
        assert_eq!(health.standing(), Standing::Out(Some(now + 3 * REST)));
        let later = now + 3 * REST;
        health.begins_look(later);
        health.looked(true, later);
        health.try_out();
        assert_eq!(rests(&mut health, later), 4 * REST);
    }
}
