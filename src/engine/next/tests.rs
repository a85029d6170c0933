//! Two proofs: every situation has the right answer, and three commands with all their supervisors cannot be driven into
//! two engines or into standstill, whoever is killed at whichever step.

use super::*;
use std::collections::{HashMap, HashSet, VecDeque};

const STAGES: [Stage; 6] =
    [Stage::None, Stage::Loading, Stage::Ready, Stage::Stopping, Stage::Ended, Stage::Failed];

fn situations() -> impl Iterator<Item = Sight> {
    let bools = [false, true];
    let healths = [Health::Unasked, Health::Well, Health::Dead];
    STAGES.into_iter().flat_map(move |stage| {
        bools.into_iter().flat_map(move |supervised| {
            bools.into_iter().flat_map(move |awaited| {
                bools.into_iter().flat_map(move |as_declared| {
                    healths.into_iter().flat_map(move |health| {
                        bools.into_iter().map(move |may_restart| Sight {
                            supervised,
                            stage,
                            awaited,
                            as_declared,
                            health,
                            may_restart,
                        })
                    })
                })
            })
        })
    })
}

#[test]
fn only_a_ready_engine_that_answers_and_is_the_declared_one_is_used() {
    let used: Vec<_> = situations().filter(|sight| next(*sight) == Next::Use).collect();
    assert!(!used.is_empty());
    for sight in used {
        assert!(sight.supervised && sight.as_declared, "{sight:?}");
        assert_eq!((sight.stage, sight.health), (Stage::Ready, Health::Well), "{sight:?}");
    }
}

#[test]
fn nothing_is_started_beside_a_supervisor_and_nothing_is_ended_without_one() {
    for sight in situations() {
        match next(sight) {
            Next::Start => assert!(!sight.supervised, "{sight:?}"),
            Next::Restart | Next::Replace | Next::Wait | Next::AskHealth | Next::Use | Next::StandBack => {
                assert!(sight.supervised, "{sight:?}");
            }
            Next::GiveUp => {}
        }
    }
}

#[test]
fn an_engine_is_restarted_once_and_a_start_that_failed_is_not_repeated() {
    for sight in situations() {
        match next(sight) {
            Next::Restart => assert!(sight.may_restart && sight.health == Health::Dead, "{sight:?}"),
            Next::GiveUp => assert!(
                (sight.awaited && (sight.stage == Stage::Failed || !sight.may_restart))
                    || (sight.health == Health::Dead && !sight.may_restart),
                "{sight:?}"
            ),
            Next::Start => assert!(!(sight.awaited && sight.stage == Stage::Failed), "{sight:?}"),
            Next::Wait | Next::StandBack | Next::AskHealth | Next::Use | Next::Replace => {}
        }
    }
}

// --- the exploration ------------------------------------------------------------------------------------------------

type Id = u8;

/// Where a command is. A look is two steps, as in the code: first the lock, then the record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum At {
    Share,
    Look { starting: bool },
    Record { starting: bool, alive: bool },
    TakeStart,
    Started { supervisor: Id },
    Using { engine: Id },
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Command {
    at: At,
    /// It holds the lock `start`.
    starts: bool,
    shares: bool,
    awaited: Option<Id>,
    /// Which engine it has asked, and whether that answered.
    health: Option<(Id, bool)>,
    may_restart: bool,
}

/// Where a supervisor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Doing {
    TakeAlive,
    Sweep,
    WriteLoading,
    StartEngine,
    Loading,
    Ready,
    Kill(Stage),
    WriteEnd(Stage),
    LetGo,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Supervisor {
    id: Id,
    doing: Doing,
    /// It was told to end at once.
    kill: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    commands: Vec<Command>,
    supervisors: Vec<Supervisor>,
    /// Whose engines run.
    engines: Vec<Id>,
    alive: Option<Id>,
    /// The supervisor that holds `use` alone.
    alone: Option<Id>,
    record: Option<(Id, Stage)>,
    crashes: u8,
}

impl World {
    fn first(commands: usize, crashes: u8) -> Self {
        let command = Command {
            at: At::Share,
            starts: false,
            shares: false,
            awaited: None,
            health: None,
            may_restart: true,
        };
        Self {
            commands: vec![command; commands],
            supervisors: Vec::new(),
            engines: Vec::new(),
            alive: None,
            alone: None,
            record: None,
            crashes,
        }
    }

    fn is_over(&self) -> bool {
        self.commands.iter().all(|command| command.at == At::Gone)
    }

    fn shared(&self) -> bool {
        self.commands.iter().any(|command| command.shares)
    }

    /// Names are only good for telling apart: the same world under other names is the same world.
    fn renamed(mut self) -> Self {
        let mut names: Vec<Id> = Vec::new();
        let mut name = |id: &mut Id| {
            let at = names.iter().position(|known| known == id).unwrap_or_else(|| {
                names.push(*id);
                names.len() - 1
            });
            *id = u8::try_from(at).unwrap();
        };
        self.record.iter_mut().for_each(|(id, _)| name(id));
        self.alive.iter_mut().for_each(&mut name);
        self.alone.iter_mut().for_each(&mut name);
        self.engines.iter_mut().for_each(&mut name);
        for supervisor in &mut self.supervisors {
            name(&mut supervisor.id);
        }
        for command in &mut self.commands {
            command.awaited.iter_mut().for_each(&mut name);
            command.health.iter_mut().for_each(|(id, _)| name(id));
            match &mut command.at {
                At::Started { supervisor: id } | At::Using { engine: id } => name(id),
                At::Share | At::Look { .. } | At::Record { .. } | At::TakeStart | At::Gone => {}
            }
        }
        // Nor does it matter which command is called the first.
        self.commands.sort_unstable();
        self
    }

    fn new_id(&self) -> Id {
        let mut taken: Vec<Id> = self.supervisors.iter().map(|s| s.id).chain(self.engines.clone()).collect();
        taken.extend(self.record.map(|(id, _)| id));
        for command in &self.commands {
            taken.extend(command.awaited);
            taken.extend(command.health.map(|(id, _)| id));
            if let At::Started { supervisor: id } | At::Using { engine: id } = command.at {
                taken.push(id);
            }
        }
        (0..=Id::MAX).find(|id| !taken.contains(id)).unwrap()
    }

    /// Everything that can happen next; `true` marks a crash.
    fn steps(&self) -> Vec<(Self, bool)> {
        let mut steps = Vec::new();
        for i in 0..self.commands.len() {
            steps.extend(self.command_steps(i).into_iter().map(|world| (world, false)));
        }
        for i in 0..self.supervisors.len() {
            steps.extend(self.supervisor_steps(i).into_iter().map(|world| (world, false)));
        }
        if self.crashes > 0 {
            for i in 0..self.commands.len() {
                if self.commands[i].at != At::Gone {
                    let mut world = self.clone();
                    world.crashes -= 1;
                    world.leave(i);
                    steps.push((world, true));
                }
            }
            for i in 0..self.supervisors.len() {
                let mut world = self.clone();
                world.crashes -= 1;
                world.remove_supervisor(i);
                steps.push((world, true));
            }
            for i in 0..self.engines.len() {
                let mut world = self.clone();
                world.crashes -= 1;
                world.engines.remove(i);
                steps.push((world, true));
            }
        }
        steps.into_iter().map(|(world, crash)| (world.renamed(), crash)).collect()
    }

    /// The kernel frees what a command held.
    fn leave(&mut self, i: usize) {
        let gone = Command {
            at: At::Gone,
            starts: false,
            shares: false,
            awaited: None,
            health: None,
            may_restart: false,
        };
        self.commands[i] = gone;
    }

    /// The kernel frees what a supervisor held. Its engine stays.
    fn remove_supervisor(&mut self, i: usize) {
        let id = self.supervisors.remove(i).id;
        self.alive = self.alive.filter(|holder| *holder != id);
        self.alone = self.alone.filter(|holder| *holder != id);
    }

    fn command_steps(&self, i: usize) -> Vec<Self> {
        let mut world = self.clone();
        let command = &mut world.commands[i];
        match command.at.clone() {
            At::Gone => return Vec::new(),
            At::Share => {
                if self.alone.is_some() {
                    return Vec::new();
                }
                command.shares = true;
                command.at = At::Look { starting: false };
            }
            At::Look { starting } => command.at = At::Record { starting, alive: self.alive.is_some() },
            At::Record { starting, alive } => return self.decide(i, starting, alive, self.record),
            At::TakeStart => {
                if self.commands.iter().any(|other| other.starts) {
                    return Vec::new();
                }
                command.starts = true;
                command.at = At::Look { starting: true };
            }
            At::Started { supervisor } => {
                // It reads until the supervisor has said something, or is gone.
                let waits = self.supervisors.iter().any(|s| {
                    let silent = [Doing::TakeAlive, Doing::Sweep, Doing::WriteLoading, Doing::StartEngine];
                    s.id == supervisor && silent.contains(&s.doing)
                });
                if waits {
                    return Vec::new();
                }
                command.starts = false;
                command.awaited = self.record.map(|(id, _)| id);
                command.at = At::Look { starting: false };
            }
            At::Using { .. } => world.leave(i),
        }
        vec![world]
    }

    fn decide(&self, i: usize, starting: bool, supervised: bool, record: Option<(Id, Stage)>) -> Vec<Self> {
        let mut world = self.clone();
        let command = &mut world.commands[i];
        let id = record.map(|(id, _)| id);
        let health = match command.health {
            Some((of, answers)) if Some(of) == id => {
                if answers {
                    Health::Well
                } else {
                    Health::Dead
                }
            }
            Some(_) | None => Health::Unasked,
        };
        let sight = Sight {
            supervised,
            stage: record.map_or(Stage::None, |(_, stage)| stage),
            awaited: id.is_some() && id == command.awaited,
            as_declared: true,
            health,
            may_restart: command.may_restart,
        };
        let next = next(sight);
        if starting && next != Next::Start {
            command.starts = false;
            command.at = At::Look { starting: false };
            return vec![world];
        }
        let look = At::Look { starting: false };
        match (next, id) {
            (Next::Start, _) if !starting => command.at = At::TakeStart,
            (Next::Start, _) => {
                if command.awaited.take().is_some() {
                    command.may_restart = false;
                }
                command.health = None;
                let supervisor = self.new_id();
                command.at = At::Started { supervisor };
                world.supervisors.push(Supervisor { id: supervisor, doing: Doing::TakeAlive, kill: false });
            }
            (Next::Wait, id) => {
                command.awaited = id;
                command.at = look;
            }
            (Next::AskHealth, Some(id)) => {
                let answers = self.engines.contains(&id);
                command.health = Some((id, answers));
                command.at = look;
            }
            (Next::Use, Some(engine)) => command.at = At::Using { engine },
            (Next::Restart, Some(id)) => {
                command.may_restart = false;
                command.awaited = None;
                command.shares = false;
                command.at = At::Share;
                if let Some(supervisor) = world.supervisors.iter_mut().find(|s| s.id == id) {
                    supervisor.kill = true;
                }
            }
            (Next::StandBack, _) => {
                command.shares = false;
                command.at = At::Share;
            }
            (Next::GiveUp, _) => world.leave(i),
            (Next::Replace | Next::AskHealth | Next::Use | Next::Restart, _) => unreachable!("{sight:?}"),
        }
        vec![world]
    }

    fn supervisor_steps(&self, i: usize) -> Vec<Self> {
        let Supervisor { id, doing, kill } = self.supervisors[i];
        let has_engine = self.engines.contains(&id);
        let mut steps = Vec::new();
        let mut step = |change: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            steps.push(world);
        };
        match doing {
            Doing::TakeAlive if self.alive.is_none() => step(&|world| {
                world.alive = Some(id);
                world.supervisors[i].doing = Doing::Sweep;
            }),
            // It waits a while, then it says that somebody else was first.
            Doing::TakeAlive => step(&|world| world.remove_supervisor(i)),
            Doing::Sweep => step(&|world| {
                let left = world.record.map(|(id, _)| id);
                world.engines.retain(|engine| Some(*engine) != left);
                world.supervisors[i].doing = Doing::WriteLoading;
            }),
            Doing::WriteLoading => step(&|world| {
                world.record = Some((id, Stage::Loading));
                world.supervisors[i].doing = Doing::StartEngine;
            }),
            Doing::StartEngine => step(&|world| {
                world.engines.push(id);
                world.supervisors[i].doing = Doing::Loading;
            }),
            Doing::Loading => {
                if has_engine {
                    step(&|world| {
                        world.record = Some((id, Stage::Ready));
                        world.supervisors[i].doing = Doing::Ready;
                    });
                } else {
                    step(&|world| world.supervisors[i].doing = Doing::Kill(Stage::Failed));
                }
                if !self.shared() {
                    step(&|world| world.supervisors[i].doing = Doing::Kill(Stage::Ended));
                }
            }
            Doing::Ready => {
                if kill || !has_engine {
                    step(&|world| world.supervisors[i].doing = Doing::Kill(Stage::Failed));
                }
                if !self.shared() {
                    step(&|world| {
                        world.alone = Some(id);
                        world.supervisors[i].doing = Doing::Kill(Stage::Ended);
                    });
                }
            }
            Doing::Kill(end) => step(&|world| {
                world.engines.retain(|engine| *engine != id);
                world.supervisors[i].doing = Doing::WriteEnd(end);
            }),
            Doing::WriteEnd(end) => step(&|world| {
                world.record = Some((id, end));
                world.supervisors[i].doing = Doing::LetGo;
            }),
            Doing::LetGo => step(&|world| world.remove_supervisor(i)),
        }
        steps
    }
}

/// What must hold in every world that can come about.
fn check(world: &World) {
    assert!(world.engines.len() <= 1, "two engines: {world:#?}");
    for supervisor in &world.supervisors {
        let in_charge = !matches!(supervisor.doing, Doing::TakeAlive);
        assert_eq!(in_charge, world.alive == Some(supervisor.id), "in charge without the lock: {world:#?}");
        if matches!(supervisor.doing, Doing::Kill(Stage::Ended)) && world.alone == Some(supervisor.id) {
            let used = world.commands.iter().any(|c| c.at == At::Using { engine: supervisor.id });
            assert!(!used, "stopped for idleness while it is used: {world:#?}");
        }
    }
}

/// Walks every world that can come about; gives how many there are.
fn explore(commands: usize, crashes: u8) -> usize {
    let first = World::first(commands, crashes).renamed();
    let mut numbers = HashMap::from([(first.clone(), 0)]);
    let mut queue = VecDeque::from([first]);
    // Steps backwards, without crashes: from where each world can be reached.
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let mut over = Vec::new();
    let mut used = false;
    while let Some(world) = queue.pop_front() {
        check(&world);
        let number = numbers[&world];
        used |= world.commands.iter().any(|command| matches!(command.at, At::Using { .. }));
        if world.is_over() {
            over.push(number);
        }
        for (then, crash) in world.steps() {
            let new = numbers.len();
            let number_then = *numbers.entry(then.clone()).or_insert(new);
            if number_then == new {
                before.push(Vec::new());
                queue.push_back(then);
            }
            if !crash {
                before[number_then].push(number);
            }
        }
    }
    assert!(used && !over.is_empty());
    // From every world, without another crash, there is a way on which all commands come to their end.
    let mut good: HashSet<usize> = over.iter().copied().collect();
    let mut next = over;
    while let Some(number) = next.pop() {
        next.extend(before[number].iter().filter(|earlier| good.insert(**earlier)));
    }
    let stuck = numbers.iter().find(|(_, number)| !good.contains(number)).map(|(world, _)| world);
    assert_eq!(stuck, None, "nobody can go on from here, of {} worlds", numbers.len());
    numbers.len()
}

#[test]
fn e04_e05_three_commands_never_get_two_engines_and_never_stand_still_whoever_is_killed_when() {
    // Two crashes are 1.3 million worlds and most of a minute.
    let crashes = if std::env::var_os("MCPCTL_TEST_FULL").is_some() { 2 } else { 1 };
    let worlds = explore(3, crashes);
    assert!(worlds > 50_000, "only {worlds} worlds were looked at");
}

#[test]
fn e05_two_commands_outlive_three_crashes() {
    let worlds = explore(2, 3);
    assert!(worlds > 50_000, "only {worlds} worlds were looked at");
}
