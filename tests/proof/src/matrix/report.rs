//! What came of all runs: counted, written as JSON, and told.

use super::{
    axes::{Kind, Phase},
    cell::{Cell, Who},
    judge::{Promise, Violation},
    lane::Seen,
    plan::Axes,
};
use anyhow::Result;
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
    time::Duration,
};

/// No more violations than these are told one by one.
const TOLD: usize = 40;

/// Everything that is counted.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    seed: u64,
    distinct: u64,
    runs: usize,
    cells_run: usize,
    faults_injected: usize,
    /// Probes that arrived, and were answered by whoever.
    decisions_checked: usize,
    answered_by_central: usize,
    answered_by_local: usize,
    unauthorised_substitutions: usize,
    silent_truncations: usize,
    untruths: usize,
    secrets_found: usize,
    other_violations: usize,
    /// Processes that were left.
    pub(crate) orphans: usize,
    failovers_reported: usize,
    seconds: f64,
    slowest_ms: u128,
    grid: Vec<Square>,
    by_case: BTreeMap<&'static str, usize>,
    by_rights: BTreeMap<String, usize>,
    by_local: BTreeMap<String, usize>,
    by_exit: BTreeMap<String, usize>,
    violations: Vec<String>,
    #[serde(skip)]
    names: HashSet<String>,
    /// How long everything took.
    #[serde(skip)]
    pub(crate) took: Duration,
}

/// One phase and one kind of disturbance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Square {
    phase: String,
    kind: String,
    question_variants: usize,
    question_runs: usize,
    probe_variants: usize,
    probe_runs: usize,
}

impl Report {
    /// Nothing yet.
    pub(crate) fn new(seed: u64, axes: &Axes) -> Self {
        let square = |(phase, kind): (Phase, Kind)| Square {
            phase: phase.to_string(),
            kind: kind.to_string(),
            question_variants: axes
                .primaries
                .iter()
                .filter(|it| (it.phase, it.kind) == (phase, kind))
                .count(),
            question_runs: 0,
            probe_variants: axes.probes.iter().filter(|it| (it.phase, it.kind) == (phase, kind)).count(),
            probe_runs: 0,
        };
        let all = Phase::ALL.into_iter().flat_map(|phase| Kind::ALL.map(|kind| (phase, kind)));
        Self { seed, distinct: axes.distinct(), grid: all.map(square).collect(), ..Self::default() }
    }

    /// How many cells there are.
    pub(crate) fn distinct(&self) -> u64 {
        self.distinct
    }

    fn square(&mut self, phase: Phase, kind: Kind) -> Option<&mut Square> {
        let (phase, kind) = (phase.to_string(), kind.to_string());
        self.grid.iter_mut().find(|square| square.phase == phase && square.kind == kind)
    }

    /// Takes one run. Gives how many there were.
    pub(crate) fn take(&mut self, cell: &Cell<'_>, seen: &Seen, violations: Vec<Violation>) -> usize {
        self.runs += 1;
        self.names.insert(cell.name());
        self.cells_run = self.names.len();
        self.slowest_ms = self.slowest_ms.max(seen.took.as_millis());
        let probed = seen.probes > 0 || (cell.expected().probes > 0 && cell.probe.phase != Phase::Nowhere);
        self.faults_injected += usize::from(cell.primary.kind != Kind::Nothing)
            + usize::from(probed && cell.probe.kind != Kind::Nothing);
        self.decisions_checked += seen.probes;
        match cell.expected().who {
            Who::Central => self.answered_by_central += 1,
            Who::Local => self.answered_by_local += 1,
            Who::Nobody => {}
        }
        if let Some(square) = self.square(cell.primary.phase, cell.primary.kind) {
            square.question_runs += 1;
        }
        if cell.expected().probes > 0
            && let Some(square) = self.square(cell.probe.phase, cell.probe.kind)
        {
            square.probe_runs += 1;
        }
        for case in cell.cases() {
            *self.by_case.entry(case).or_default() += 1;
        }
        let mut count = |map: fn(&mut Self) -> &mut BTreeMap<String, usize>, key: String| {
            *map(self).entry(key).or_default() += 1;
        };
        count(|it| &mut it.by_rights, cell.rights.to_string());
        count(|it| &mut it.by_local, cell.local.to_string());
        count(|it| &mut it.by_exit, seen.exit.map_or("signal".to_owned(), |exit| exit.to_string()));
        for violation in violations {
            self.violate(violation.promise, format!("{}: {}", cell.name(), violation.how));
        }
        self.runs
    }

    /// The server has heard of as many failovers as there were.
    pub(crate) fn reports_agree(&mut self, answered_here: usize, reported: usize, of: &str) {
        self.failovers_reported += reported;
        if answered_here != reported {
            let how =
                format!("{of}: {answered_here} answers by local providers, {reported} in the audit trail");
            self.violate(Promise::Truth, how);
        }
    }

    /// What still runs when all has been stopped.
    pub(crate) fn left_over(&mut self, processes: &[u32], of: &str) {
        self.orphans += processes.len();
        for process in processes {
            self.violations.push(format!("{of}: process {process} is left over"));
        }
    }

    /// Something could not be judged; that is no proof.
    pub(crate) fn broken(&mut self, how: &str) {
        self.violate(Promise::Contract, how.to_owned());
    }

    /// What a search for secrets has found, if anything.
    pub(crate) fn swept(&mut self, found: Option<String>) {
        if let Some(found) = found {
            self.violate(Promise::Secret, found);
        }
    }

    fn violate(&mut self, promise: Promise, how: String) {
        let count = match promise {
            Promise::Substitution => &mut self.unauthorised_substitutions,
            Promise::Truncation => &mut self.silent_truncations,
            Promise::Truth => &mut self.untruths,
            Promise::Secret => &mut self.secrets_found,
            Promise::Contract => &mut self.other_violations,
        };
        *count += 1;
        self.violations.push(how);
    }

    /// Nothing was found.
    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Writes everything.
    pub(crate) fn write(&mut self, to: &Path) -> Result<()> {
        self.seconds = self.took.as_secs_f64();
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(to, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }

    /// Says it in a few lines.
    pub(crate) fn tell(&self) {
        for violation in self.violations.iter().take(TOLD) {
            crate::say(format_args!("VIOLATION {violation}"));
        }
        if self.violations.len() > TOLD {
            crate::say(format_args!("and {} more", self.violations.len() - TOLD));
        }
        crate::say(format_args!(
            "{} runs of {} cells in {:.0} s, slowest {} ms: {} faults, {} decisions checked, {} answers by local \
             providers; {} unauthorised substitutions, {} silent truncations, {} untruths, {} secrets, {} other \
             violations, {} orphans",
            self.runs,
            self.cells_run,
            self.seconds,
            self.slowest_ms,
            self.faults_injected,
            self.decisions_checked,
            self.answered_by_local,
            self.unauthorised_substitutions,
            self.silent_truncations,
            self.untruths,
            self.secrets_found,
            self.other_violations,
            self.orphans
        ));
    }
}
