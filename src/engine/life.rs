//! What a supervisor does next: a pure machine. It sends no signal and reads no clock; whoever runs it does.
//!
//! Three rules of the real engines are in its arrows. A loading engine is killed: vLLM swallows SIGTERM then. An
//! engine with a request in flight is never asked to end: vLLM would hang for as long as the client stays. And what
//! is killed is the whole family: vLLM's engine and workers live on without their leader, and keep the GPU.

/// Where an engine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It was started and does not answer yet.
    Loading,
    /// It answers.
    Ready,
    /// It is to end; requests in flight may finish, new ones may not begin.
    Draining,
    /// It was asked to end.
    Terminating,
    /// Everything that came of it is being killed.
    Killing,
    /// Nothing of it is left.
    Over,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// It answers, by the name of this start.
    Answers,
    /// Its first process has ended.
    Exited,
    /// Nothing in its log for too long while it loads.
    Stalled,
    /// Nobody waits for it any more while it loads.
    Unwanted,
    /// Nobody has used it for long enough, and nobody can begin to now.
    Idle,
    /// Somebody asks for its end; what is in flight may finish.
    StopAsked,
    /// Somebody asks for its end at once: it hangs.
    KillAsked,
    /// It can be reached from other machines.
    Exposed,
    /// Our records of it are gone or not ours any more, so that nobody could find it.
    Forgotten,
    /// Nothing is in flight.
    Unused,
    /// It has had all the time that it gets in this phase.
    TimeOver,
    /// No process of it is left.
    Empty,
    /// Some process of it is left.
    Remains,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Say that it is ready.
    Announce,
    /// Let nobody begin, and wait for those who have begun.
    Drain,
    /// SIGTERM to its first process.
    Terminate,
    /// SIGKILL to everything that came of it.
    Kill,
    /// Write down how it ended, and end.
    Finish,
}

impl Phase {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 6] =
        [Self::Loading, Self::Ready, Self::Draining, Self::Terminating, Self::Killing, Self::Over];

    /// What follows from an event.
    #[must_use]
    pub fn on(self, event: Event) -> (Self, Act) {
        use Act::{Announce, Drain, Finish, Kill, Nothing, Terminate};
        use Event as E;
        use Phase::{Draining, Killing, Loading, Over, Ready, Terminating};
        match (self, event) {
            (Loading, E::Answers) => (Ready, Announce),
            (
                Loading,
                E::Exited
                | E::Stalled
                | E::Unwanted
                | E::StopAsked
                | E::KillAsked
                | E::Exposed
                | E::Forgotten
                | E::TimeOver,
            ) => (Killing, Kill),

            (Ready, E::Idle) => (Terminating, Terminate),
            (Ready, E::StopAsked) => (Draining, Drain),
            (Ready, E::Exited | E::KillAsked | E::Exposed | E::Forgotten) => (Killing, Kill),

            (Draining, E::Unused) => (Terminating, Terminate),
            (Draining, E::TimeOver | E::Exited | E::KillAsked | E::Exposed | E::Forgotten) => (Killing, Kill),

            // The first process ends before those that clean up after it: of vLLM the one that removes shared memory.
            (Terminating, E::Empty | E::TimeOver | E::KillAsked | E::Exposed | E::Forgotten) => {
                (Killing, Kill)
            }

            (Killing, E::Empty) => (Over, Finish),
            (Killing, E::Remains) => (Killing, Kill),

            (Loading, E::Idle | E::Unused)
            | (Ready, E::Answers | E::Stalled | E::Unwanted | E::Unused | E::TimeOver)
            | (Draining, E::Answers | E::Stalled | E::Unwanted | E::Idle | E::StopAsked)
            | (
                Terminating,
                E::Exited
                | E::Remains
                | E::Answers
                | E::Stalled
                | E::Unwanted
                | E::Idle
                | E::StopAsked
                | E::Unused,
            )
            | (Loading | Ready | Draining, E::Empty | E::Remains)
            | (
                Killing,
                E::Answers
                | E::Exited
                | E::Stalled
                | E::Unwanted
                | E::Idle
                | E::StopAsked
                | E::KillAsked
                | E::Exposed
                | E::Forgotten
                | E::Unused
                | E::TimeOver,
            )
            | (Over, _) => (self, Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 13] = [
        Event::Answers,
        Event::Exited,
        Event::Stalled,
        Event::Unwanted,
        Event::Idle,
        Event::StopAsked,
        Event::KillAsked,
        Event::Exposed,
        Event::Forgotten,
        Event::Unused,
        Event::TimeOver,
        Event::Empty,
        Event::Remains,
    ];

    /// Every step there is.
    fn steps() -> impl Iterator<Item = (Phase, Event, Phase, Act)> {
        Phase::ALL.into_iter().flat_map(|phase| {
            EVENTS.into_iter().map(move |event| {
                let (then, act) = phase.on(event);
                (phase, event, then, act)
            })
        })
    }

    #[test]
    fn an_engine_is_asked_to_end_only_when_nothing_is_in_flight() {
        for (phase, event, _, act) in steps().filter(|(.., act)| *act == Act::Terminate) {
            let quiet =
                matches!((phase, event), (Phase::Ready, Event::Idle) | (Phase::Draining, Event::Unused));
            assert!(quiet, "{phase:?} {event:?} {act:?}");
        }
    }

    #[test]
    fn a_loading_engine_that_is_not_wanted_is_killed_never_asked() {
        for (phase, event, then, act) in steps().filter(|(phase, ..)| *phase == Phase::Loading) {
            assert!(matches!(act, Act::Nothing | Act::Announce | Act::Kill), "{phase:?} {event:?} {act:?}");
            assert!(matches!(then, Phase::Loading | Phase::Ready | Phase::Killing));
        }
    }

    #[test]
    fn a_life_ends_only_when_nothing_is_left() {
        for (phase, event, then, act) in steps() {
            assert_eq!(act == Act::Finish, phase == Phase::Killing && event == Event::Empty);
            assert_eq!(then == Phase::Over, phase == Phase::Over || act == Act::Finish);
        }
    }

    #[test]
    fn a_request_to_kill_is_heard_in_every_phase_that_has_something_to_kill() {
        for phase in [Phase::Loading, Phase::Ready, Phase::Draining, Phase::Terminating] {
            for event in [Event::KillAsked, Event::Exposed, Event::Forgotten] {
                assert_eq!(phase.on(event), (Phase::Killing, Act::Kill), "{phase:?} {event:?}");
            }
        }
        for phase in [Phase::Loading, Phase::Ready, Phase::Draining] {
            assert_eq!(phase.on(Event::Exited), (Phase::Killing, Act::Kill), "{phase:?}");
        }
        // Who was asked to end may clean up, for a time.
        assert_eq!(Phase::Terminating.on(Event::Exited), (Phase::Terminating, Act::Nothing));
        for event in [Event::Empty, Event::TimeOver] {
            assert_eq!(Phase::Terminating.on(event), (Phase::Killing, Act::Kill), "{event:?}");
        }
        assert_eq!(Phase::Killing.on(Event::Remains), (Phase::Killing, Act::Kill));
    }

    #[test]
    fn no_step_goes_back() {
        let age = |phase| Phase::ALL.iter().position(|other| *other == phase);
        for (phase, event, then, _) in steps() {
            assert!(age(then) >= age(phase), "{phase:?} {event:?} {then:?}");
        }
    }

    #[test]
    fn only_idleness_a_request_or_trouble_ends_an_engine_that_answers() {
        let ends: Vec<_> =
            EVENTS.into_iter().filter(|event| Phase::Ready.on(*event).0 != Phase::Ready).collect();
        let expected = [
            Event::Exited,
            Event::Idle,
            Event::StopAsked,
            Event::KillAsked,
            Event::Exposed,
            Event::Forgotten,
        ];
        assert_eq!(ends, expected);
    }
}
