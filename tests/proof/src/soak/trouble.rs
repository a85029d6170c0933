//! Those who make trouble: one kills, stops and starts; one has the upstream and the local servers fail; one gives
//! rights and takes them away.

use super::{
    load::{LIMIT, expect_code},
    right::{Changes, Right},
    stage::{CHAT, DEAD, Local, Somebody, Stage},
    tally::{Breach, Victim},
};
use crate::{
    chance::Chance,
    child::{Finished, Underway, finish},
    processes::kill_if_of,
};
use fakes::{Engine, Fault};
use rustix::process::Signal;
use serde_json::json;
use std::{
    fs,
    sync::PoisonError,
    thread,
    time::{Duration, Instant},
};

#[derive(Debug, Clone, Copy)]
enum Blow {
    Mcpctl,
    Supervisor,
    Engine,
    Mcpd,
    Postgres,
    Freeze,
}

const BLOWS: &[(u64, Blow)] = &[
    (40, Blow::Mcpctl),
    (14, Blow::Supervisor),
    (14, Blow::Engine),
    (3, Blow::Mcpd),
    (3, Blow::Postgres),
    (8, Blow::Freeze),
];

/// Pauses while the soak goes on; the pause is what makes the load mixed, nothing waits for it.
fn pause(stage: &Stage, time: Duration) {
    let until = Instant::now() + time;
    while !stage.is_over() && Instant::now() < until {
        thread::sleep(Duration::from_millis(20).min(time));
    }
}

/// Kills, stops and starts until it is over. `all_may_die` ends: from then on the first server lives, so that there is
/// one whose memory is seen over a long time.
pub(super) fn kill(stage: &Stage, underway: &Underway, seed: u64, all_may_die: Instant) {
    let mut chance = Chance::new(seed, 1);
    while !stage.is_over() {
        pause(stage, chance.millis(50, 900));
        let _mine = stage.calm();
        match chance.weighted(BLOWS).unwrap_or(Blow::Mcpctl) {
            Blow::Mcpctl => {
                if underway.kill_one(chance.below(64)) {
                    stage.tally.killed(Victim::Mcpctl);
                }
            }
            Blow::Supervisor => kill_recorded(stage, &mut chance, "supervisor", Victim::Supervisor),
            Blow::Engine => kill_recorded(stage, &mut chance, "engine", Victim::Engine),
            Blow::Mcpd => {
                let spared = usize::from(stage.servers.len() > 1 && Instant::now() > all_may_die);
                let which = spared + chance.below(stage.servers.len() - spared);
                stage.servers[which].crash(chance.millis(50, 1500));
                stage.tally.killed(Victim::Mcpd);
            }
            Blow::Postgres => {
                if let Some(postgres) = &stage.postgres {
                    let mut postgres = postgres.lock().unwrap_or_else(PoisonError::into_inner);
                    postgres.kill();
                    stage.tally.killed(Victim::Postgres);
                    thread::sleep(chance.millis(50, 1500));
                    postgres.start_again();
                }
            }
            Blow::Freeze => {
                let mcpd = stage.servers[chance.below(stage.servers.len())].mcpd();
                mcpd.signal(Signal::STOP);
                thread::sleep(chance.millis(50, 1500));
                mcpd.signal(Signal::CONT);
                stage.tally.fault();
            }
        }
    }
}

fn kill_recorded(stage: &Stage, chance: &mut Chance, who: &str, victim: Victim) {
    let first = chance.below(stage.people.len());
    for somebody in stage.people.iter().cycle().skip(first).take(stage.people.len()) {
        let home = somebody.person.home();
        if somebody.person.recorded(who).into_iter().any(|pid| kill_if_of(pid, home)) {
            return stage.tally.killed(victim);
        }
    }
}

/// Has the upstream, and the provider of the one whose provider fails too, be well and ill by turns.
pub(super) fn fail(stage: &Stage, seed: u64) {
    let mut chance = Chance::new(seed, 2);
    let shaky = stage.people.iter().find_map(|somebody| match &somebody.local {
        Local::Running(engine) if somebody.name == "flo" => Some(engine),
        _ => None,
    });
    while !stage.is_over() {
        make_ill(&stage.upstream, &mut chance);
        if let Some(engine) = shaky {
            make_ill(engine, &mut chance);
        }
        stage.tally.fault();
        pause(stage, chance.millis(200, 2500));
    }
    for engine in [Some(&stage.upstream), shaky].into_iter().flatten() {
        engine.set_fault(Fault::None);
        engine.resume();
    }
}

fn make_ill(engine: &Engine, chance: &mut Chance) {
    let error = || json!({"error": {"message": "no more", "type": "server_error", "code": 500}});
    engine.resume();
    let events = chance.below(9);
    engine.set_fault(match chance.below(14) {
        0 => Fault::CutAfter(events),
        1 => Fault::ResetAfter(events),
        2 => Fault::HangAfter(events),
        3 => Fault::ErrorAfter { events, error: error(), done: chance.below(2) == 0 },
        4 => Fault::NoDone,
        5 => Fault::Status(500, error()),
        6 => Fault::Status(503, error()),
        7 => Fault::Html,
        8 => Fault::Drip(Duration::from_millis(30)),
        9 | 10 => {
            engine.stop();
            Fault::None
        }
        _ => Fault::None,
    });
}

/// Gives rights and takes them away, until it is over; then everybody has what they had at first.
pub(super) fn govern(stage: &Stage, seed: u64) -> anyhow::Result<()> {
    let mut chance = Chance::new(seed, 3);
    let changing: Vec<(&Somebody, &Changes)> = stage
        .people
        .iter()
        .filter_map(|it| if let Right::Changing(changes) = &it.right { Some((it, changes)) } else { None })
        .collect();
    for somebody in &changing {
        settle(stage, somebody.0, somebody.1, true, &mut chance)?;
    }
    let mut held = vec![true; changing.len()];
    while !stage.is_over() {
        let which = chance.below(changing.len());
        held[which] = !held[which];
        settle(stage, changing[which].0, changing[which].1, held[which], &mut chance)?;
        pause(stage, chance.millis(300, 3000));
    }
    for somebody in &changing {
        settle(stage, somebody.0, somebody.1, true, &mut chance)?;
    }
    Ok(())
}

/// Changes a right, and comes back when it is known how it is.
fn settle(
    stage: &Stage,
    somebody: &Somebody,
    changes: &Changes,
    held: bool,
    chance: &mut Chance,
) -> anyhow::Result<()> {
    changes.ask(held);
    if change(stage, somebody, held, chance.below(2))?.is(0) {
        changes.acknowledge();
        stage.tally.acknowledged();
        return Ok(());
    }
    // What was asked may still be on its way, in a server that does not run at this moment. Nobody makes trouble now:
    // all of them run, and what came before the first success has happened before the second one.
    let _calm = stage.calm();
    let mut successes = 0;
    let deadline = Instant::now() + LIMIT;
    while successes < 2 {
        let run = change(stage, somebody, held, successes)?;
        successes = if run.is(0) { successes + 1 } else { 0 };
        if Instant::now() > deadline {
            stage.tally.violation(Breach::Other, &format!("no change is possible any more: {}", run.told()));
            return Ok(());
        }
    }
    changes.acknowledge();
    stage.tally.acknowledged();
    Ok(())
}

fn change(stage: &Stage, somebody: &Somebody, held: bool, server: usize) -> anyhow::Result<Finished> {
    let name = somebody.name;
    let roles = ["view", "run"].into_iter().flat_map(|role| [(role, CHAT), (role, DEAD)]);
    let roles: Vec<_> =
        roles.map(|(role, llm)| json!({"role": role, "resource": "llms", "name": llm})).collect();
    let document = json!({
        "kind": "Rbac", "name": name, "subjects": [{"kind": "User", "name": name}], "roleBindings": roles,
    });
    let file = stage.admin.home().join(format!("right-of-{name}.json"));
    fs::write(&file, document.to_string())?;
    let file = file.to_string_lossy();
    let args: &[&str] =
        if held { &["apply", "-f", &file] } else { &["delete", "rbac", name, "--ignore-not-found"] };
    let url = &stage.servers[server % stage.servers.len()].url;
    let run = finish(stage.admin.command(args.iter().chain(&["--server", url])), LIMIT, None)?;
    stage.tally.ended(&format!("{} (right)", args[0]), &format!("{:?}", run.end));
    expect_code(stage, "admin", &run, &[0, 7]);
    Ok(run)
}
