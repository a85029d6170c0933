//! Whoever is killed at whichever system call: the next command works, and nothing is left that it does not find.
//!
//! The processes are the command, the supervisor, and what the supervisor starts until it is the engine.

use crate::{
    kill_stage::{Home, say},
    support::{Client, LIMIT},
};
use fakes::{
    required,
    tracer::{Seen, Tracer, When, Who},
};
use std::{env, time::Duration};

/// What is killed while it does what.
#[derive(Debug, Clone, Copy)]
struct Plan {
    verb: &'static str,
    more: &'static [&'static str],
    who: Who,
}

const SECOND: Duration = Duration::from_secs(1);

fn home() -> Option<Home> {
    Home::new(Client::stranger("http://127.0.0.1:9"))
}

/// Kills before every call that changes something, until there is none left; with `MCPCTL_KILLS=FROM-TO/STEP` before
/// every STEP-th of the calls with these numbers, harmless ones included.
fn sweep(plan: Plan) {
    let whens: Box<dyn Iterator<Item = When>> = match env::var("MCPCTL_KILLS") {
        Err(_) => Box::new((1..).map(When::Change)),
        Ok(range) => {
            let mut words = range.split(['-', '/']).map(|word| word.parse::<usize>().expect("FROM-TO/STEP"));
            let mut next = || words.next().expect("FROM-TO/STEP");
            let (from, to, step) = (next(), next(), next());
            Box::new((from..=to).step_by(step).map(When::Call))
        }
    };
    if !Tracer::is_allowed() {
        return required("permission to trace");
    }
    let (mut kills, mut missed) = (0, 0);
    for when in whens {
        let Some(home) = home() else { return required("llama-server") };
        let Some(call) = kill(&home, plan, when) else {
            // How many calls there are differs a little from run to run.
            missed += 1;
            if missed == 3 {
                break;
            }
            continue;
        };
        kills += 1;
        home.assert_recovers(&format!("{plan:?} killed at {when:?}, system call {call}"));
    }
    assert!(kills > 0, "{plan:?}: nobody was killed");
    say(&format!("{plan:?}: {kills} kills, each followed by status, stop, start, stop"));
}

/// None: it ended before.
fn kill(home: &Home, plan: Plan, when: When) -> Option<u64> {
    match plan.verb {
        "start" => kill_start(home, plan, when),
        _ => kill_stop(home, plan, when),
    }
}

fn kill_start(home: &Home, plan: Plan, when: When) -> Option<u64> {
    let tracer = Tracer::start(home.traced("start", plan.more), plan.who, when, true);
    let mut killed = None;
    for _ in 0..2 {
        match tracer.next(LIMIT).expect("the command ends") {
            Seen::Killed(call) => killed = Some(call),
            Seen::Ended(_) => {
                if killed.is_none() && plan.who != Who::Itself {
                    // It lives on: one look of its life, which is the same for ever after.
                    killed = match tracer.next(SECOND) {
                        Some(Seen::Killed(call)) => Some(call),
                        _ => None,
                    };
                }
                return killed;
            }
        }
    }
    killed
}

fn kill_stop(home: &Home, plan: Plan, when: When) -> Option<u64> {
    let started = match plan.who {
        Who::Itself => {
            home.succeed("start", &[], "before");
            None
        }
        who => {
            let tracer = Tracer::start(home.traced("start", &[]), who, when, false);
            assert_eq!(tracer.next(LIMIT), Some(Seen::Ended(Some(0))), "{}", home.told());
            Some(tracer)
        }
    };
    home.assert_runs("before");
    match started {
        None => {
            let tracer = Tracer::start(home.traced("stop", plan.more), plan.who, when, true);
            match tracer.next(LIMIT).expect("the command ends") {
                Seen::Killed(call) => Some(call),
                Seen::Ended(_) => None,
            }
        }
        Some(tracer) => {
            tracer.count();
            let stopped = home.run("stop", plan.more);
            assert!(stopped.status.success(), "{when:?}: {stopped:?}\n{}", home.told());
            match tracer.next(SECOND) {
                Some(Seen::Killed(call)) => Some(call),
                _ => None,
            }
        }
    }
}

#[test]
fn g03_a_start_is_killed_at_every_step_of_the_command() {
    sweep(Plan { verb: "start", more: &[], who: Who::Itself });
}

#[test]
fn g03_a_start_is_killed_at_every_step_of_the_supervisor() {
    sweep(Plan { verb: "start", more: &[], who: Who::Child });
}

#[test]
fn g03_a_start_is_killed_at_every_step_towards_the_engine() {
    sweep(Plan { verb: "start", more: &[], who: Who::Grandchild });
}

#[test]
fn g03_a_start_for_nobody_is_killed_at_every_step_of_the_command() {
    sweep(Plan { verb: "start", more: &["--wait=false"], who: Who::Itself });
}

#[test]
fn g03_a_stop_is_killed_at_every_step_of_the_command() {
    sweep(Plan { verb: "stop", more: &[], who: Who::Itself });
}

#[test]
fn g03_a_stop_is_killed_at_every_step_of_the_supervisor() {
    sweep(Plan { verb: "stop", more: &[], who: Who::Child });
}
