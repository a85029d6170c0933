//! What was measured, and the middle of it.

use crate::{load::Outcome, scenarios::Scenario, systems::Kind};
use serde::Serialize;
use std::collections::BTreeMap;

/// What came of one scenario with one system in one round.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) scenario: &'static str,
    pub(crate) system: &'static str,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// One start of one system.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Start {
    pub(crate) system: &'static str,
    pub(crate) milliseconds: f64,
    pub(crate) idle_kib: u64,
    pub(crate) version: String,
}

/// What a run found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) samples: Vec<Sample>,
    pub(crate) starts: Vec<Start>,
    pub(crate) commands: BTreeMap<String, crate::commands::Figures>,
    /// What is not on this machine.
    pub(crate) absent: Vec<&'static str>,
}

impl Results {
    /// The median over the rounds, if there was one that could be measured.
    pub(crate) fn of(&self, scenario: Scenario, kind: Kind, metric: fn(&Outcome) -> f64) -> Option<f64> {
        let of = |sample: &&Sample| sample.scenario == scenario.name() && sample.system == kind.name();
        median(self.samples.iter().filter(of).map(|sample| metric(&sample.outcome)))
    }

    /// One figure divided by another one.
    pub(crate) fn ratio(
        &self,
        scenario: Scenario,
        [one, other]: [Kind; 2],
        metric: fn(&Outcome) -> f64,
    ) -> Option<f64> {
        Some(self.of(scenario, one, metric)? / self.of(scenario, other, metric)?)
    }

    /// What two systems add to a time of the stub alone, one divided by the other. Nothing where the noise is larger than
    /// what they add.
    pub(crate) fn added(
        &self,
        scenario: Scenario,
        [one, other]: [Kind; 2],
        metric: fn(&Outcome) -> f64,
    ) -> Option<f64> {
        let direct = self.of(scenario, Kind::Direct, metric)?;
        let added =
            |kind| self.of(scenario, kind, metric).map(|whole| whole - direct).filter(|added| *added > 0.0);
        Some(added(one)? / added(other)?)
    }

    /// The median of what a system took to start, in milliseconds.
    pub(crate) fn start(&self, kind: Kind) -> Option<f64> {
        median(self.starts.iter().filter(|start| start.system == kind.name()).map(|start| start.milliseconds))
    }

    /// The median of what a system takes when nobody asks, in MB.
    pub(crate) fn idle(&self, kind: Kind) -> Option<f64> {
        let of = self.starts.iter().filter(|start| start.system == kind.name());
        median(of.map(|start| megabytes(start.idle_kib)))
    }

    /// Requests that failed, over all rounds.
    pub(crate) fn failures(&self) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.outcome.failed > 0).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "no memory has 2^52 kilobytes")]
pub(crate) fn megabytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, f64::NAN, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median([].into_iter()), None);
    }
}
