//! Which cells there are, and which of them are run: every group against every other where that costs little, the rest
//! by a seed.

use super::{
    axes::{Form, Kind, Local, Phase, Rights},
    cell::Cell,
    primary::{self, Primary},
    probe::{self, Probe},
};
use std::collections::BTreeMap;

/// What a run may take before it is drawn less often, in milliseconds.
const CHEAP: f64 = 400.0;
/// In how many draws a cell has to be found. A group that has none in so many has none.
const DRAWS: usize = 400;

/// Both lists, grouped by where and what.
pub(crate) struct Axes {
    /// What questions meet.
    pub(crate) primaries: Vec<Primary>,
    /// What probes meet.
    pub(crate) probes: Vec<Probe>,
    primary_groups: Vec<Vec<usize>>,
    probe_groups: Vec<Vec<usize>>,
    /// The probe that goes well.
    plain: usize,
}

/// A cell by its places in the lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    primary: usize,
    probe: usize,
    rights: Rights,
    local: Local,
    form: Form,
    secured: bool,
}

/// How much is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// At least so many runs.
    pub(crate) runs: usize,
    /// Every status at least once, at the question and at the probe.
    pub(crate) sweep: bool,
    /// So many runs in which the right goes while the engine starts: eleven seconds each.
    pub(crate) during_start: usize,
}

impl Axes {
    /// Everything.
    pub(crate) fn new() -> Self {
        let (primaries, probes) = (primary::all(), probe::all());
        let primary_groups = grouped(primaries.iter().map(|it| (it.phase, it.kind)));
        let probe_groups = grouped(probes.iter().map(|it| (it.phase, it.kind)));
        let plain = probes.iter().position(|it| it.kind == Kind::Nothing).unwrap_or_default();
        Self { primaries, probes, primary_groups, probe_groups, plain }
    }

    /// The cell.
    pub(crate) fn cell(&self, choice: Choice) -> Cell<'_> {
        let Choice { primary, probe, rights, local, form, secured } = choice;
        Cell { primary: &self.primaries[primary], probe: &self.probes[probe], rights, local, form, secured }
    }

    /// The cell of this name.
    pub(crate) fn find(&self, name: &str) -> Option<Choice> {
        let parts: Vec<&str> = name.split('|').map(str::trim).collect();
        let [primary, probe, rights, local, form, scheme] = parts.try_into().ok()?;
        Some(Choice {
            primary: self.primaries.iter().position(|it| it.name() == primary)?,
            probe: self.probes.iter().position(|it| it.name() == probe)?,
            rights: Rights::ALL.into_iter().find(|it| it.to_string() == rights)?,
            local: Local::ALL.into_iter().find(|it| it.to_string() == local)?,
            form: Form::ALL.into_iter().find(|it| it.to_string() == form)?,
            secured: scheme == "https",
        })
    }

    /// How many cells there are that differ. Cells that can only be told apart by their status are counted by it.
    pub(crate) fn distinct(&self) -> u64 {
        let primaries = alike(&self.primaries, |it| {
            (format!("{:?}", it.effect), it.secured, it.silent, it.only.map(|it| it.to_string()), way(it))
        });
        let probes = alike(&self.probes, |it| {
            (format!("{:?}", it.effect), it.secured, it.kind == Kind::Nothing, it.rides, refuses(it))
        });
        let mut cells = 0;
        for (primary, many) in primaries {
            for (probe, more) in &probes {
                let states =
                    Rights::ALL.into_iter().flat_map(|rights| Local::ALL.map(|local| (rights, local)));
                let possible = states.flat_map(|(rights, local)| {
                    Form::ALL
                        .into_iter()
                        .flat_map(move |form| [false, true].map(|secured| (rights, local, form, secured)))
                });
                let choice = |(rights, local, form, secured)| Choice {
                    primary,
                    probe: *probe,
                    rights,
                    local,
                    form,
                    secured,
                };
                let count = possible.filter(|it| self.cell(choice(*it)).is_possible()).count();
                cells += many * more * u64::try_from(count).unwrap_or(u64::MAX);
            }
        }
        cells
    }

    /// What is run, in an order that mixes everything.
    pub(crate) fn chosen(&self, size: Size, seed: u64) -> Vec<Choice> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut chosen = Vec::new();
        if size.sweep {
            for primary in 0..self.primaries.len() {
                chosen.extend(self.draw(&mut random, |it| it.primary = primary));
            }
            for probe in 0..self.probes.len() {
                chosen.extend(self.draw(&mut random, |it| it.probe = probe));
            }
        }
        for _ in 0..size.during_start {
            chosen.extend(self.draw(&mut random, |it| {
                (it.rights, it.local, it.probe) =
                    (Rights::RevokedDuringStart, Local::ManagedCold, self.plain);
            }));
        }
        // Every group of questions under every right and with everybody who could stand in; every group of probes under
        // every right with everybody who could answer. As many rounds of it as there is room for.
        let mut round = Vec::new();
        while chosen.len() < size.runs {
            if round.is_empty() {
                round = self.pairs();
                random.shuffle(&mut round);
            }
            let Some((of_question, group, rights, local)) = round.pop() else { break };
            if self.costs(of_question, group) > CHEAP && random.f64() > CHEAP / self.costs(of_question, group)
            {
                continue;
            }
            let within = |rng: &mut fastrand::Rng, groups: &[Vec<usize>]| {
                rng.choice(groups[group].iter()).copied().unwrap_or_default()
            };
            let member =
                within(&mut random, if of_question { &self.primary_groups } else { &self.probe_groups });
            chosen.extend(self.draw(&mut random, |it| {
                if of_question {
                    it.primary = member;
                } else {
                    it.probe = member;
                }
                (it.rights, it.local) = (rights, local);
            }));
        }
        random.shuffle(&mut chosen);
        chosen
    }

    fn pairs(&self) -> Vec<(bool, usize, Rights, Local)> {
        let states = || {
            Rights::SOON
                .into_iter()
                .chain([Rights::Allowed; 3])
                .flat_map(|rights| Local::ALL.map(|local| (rights, local)))
        };
        let questions = (0..self.primary_groups.len())
            .flat_map(|group| states().map(move |(rights, local)| (true, group, rights, local)));
        let probes = (0..self.probe_groups.len()).flat_map(|group| {
            states()
                .filter(|(_, local)| local.can_answer())
                .map(move |(rights, local)| (false, group, rights, local))
        });
        questions.chain(probes).collect()
    }

    /// Milliseconds that a run of a group takes, where it is the group that takes them.
    fn costs(&self, of_question: bool, group: usize) -> f64 {
        let is_silent = if of_question {
            self.primary_groups[group].iter().all(|at| self.primaries[*at].silent)
        } else {
            self.probe_groups[group].iter().all(|at| self.probes[*at].silent)
        };
        match (is_silent, of_question) {
            (false, _) => CHEAP,
            (true, true) => 1_500.0,
            (true, false) => 3_000.0,
        }
    }

    /// Draws until a cell is possible. What has a long silence in it is taken less often, unless it is what is wanted.
    fn draw(&self, random: &mut fastrand::Rng, fix: impl Fn(&mut Choice)) -> Option<Choice> {
        for round in 0..DRAWS {
            let primary_group = random.choice(self.primary_groups.iter())?;
            let probe_group = random.choice(self.probe_groups.iter())?;
            let mut choice = Choice {
                primary: *random.choice(primary_group.iter())?,
                // Where a probe goes well, everything depends on the right.
                probe: if random.bool() { self.plain } else { *random.choice(probe_group.iter())? },
                rights: *random.choice(Rights::SOON.iter())?,
                local: *random.choice(Local::ALL.iter())?,
                form: *random.choice(Form::ALL.iter())?,
                secured: random.u8(..) < 64,
            };
            fix(&mut choice);
            let mut cell = self.cell(choice);
            if (cell.primary.secured || cell.probe.secured) && !choice.secured {
                choice.secured = true;
                cell = self.cell(choice);
            }
            let slow = cell.primary.silent || cell.probe.silent;
            let wanted = !slow || round > DRAWS / 2 || random.u8(..) < 40;
            if cell.is_possible() && wanted {
                return Some(choice);
            }
        }
        None
    }
}

impl Default for Axes {
    fn default() -> Self {
        Self::new()
    }
}

fn grouped(of: impl Iterator<Item = (Phase, Kind)>) -> Vec<Vec<usize>> {
    let mut groups = BTreeMap::<_, Vec<usize>>::new();
    for (at, key) in of.enumerate() {
        groups.entry(key).or_default().push(at);
    }
    groups.into_values().collect()
}

/// One of each that are possible in the same cells, and how many there are of it.
fn alike<T, K: Ord>(all: &[T], key: impl Fn(&T) -> K) -> Vec<(usize, u64)> {
    let mut classes = BTreeMap::<K, (usize, u64)>::new();
    for (at, it) in all.iter().enumerate() {
        classes.entry(key(it)).or_insert((at, 0)).1 += 1;
    }
    classes.into_values().collect()
}

fn way(it: &Primary) -> u8 {
    match it.way {
        primary::Way::Behind(_) => 0,
        primary::Way::Before(_) => 1,
        primary::Way::Refused => 2,
        primary::Way::Swallowed => 3,
    }
}

fn refuses(it: &Probe) -> bool {
    matches!(it.way, probe::Way::Refused)
}
