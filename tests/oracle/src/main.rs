//! Asks two evaluators the same random questions: mcpd's own, and Cedar on a translation of the same bindings.
//!
//!     mcp-oracle [CASES [SEED]]
//!
//! The translation is written from what the documentation says of role bindings and knows nothing of the evaluator.
//! A disagreement ends it with 1 and prints the smallest case that still shows it, with the seed to see it again.

mod cedar;
mod ours;
#[expect(dead_code, reason = "mcpd has callers who need no reason; here everybody does")]
#[path = "../../../mcpd/src/policy.rs"]
mod policy;
mod random;
mod world;

use anyhow::{Context, bail};
use random::Random;
use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};
use world::Case;

const CASES: u32 = 20_000;

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let cases = args.next().map_or(Ok(CASES), |text| text.parse()).context("the number of cases")?;
    let seed = args.next().map_or_else(|| Ok(any_seed()), |text| text.parse()).context("the seed")?;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    for number in 0..cases {
        let case = Case::any(&mut random);
        if let Some(difference) = difference(&case)? {
            let (case, difference) = smallest(case, difference)?;
            bail!("seed {seed}, case {number}: {difference}\n{case}");
        }
        tally.count(&case)?;
    }
    println!(
        "{cases} cases, no disagreement: {} allowed ({} through a group, {} by a name), {} denied; \
         {} grants handed on, {} refused",
        tally.allowed,
        tally.through_group,
        tally.by_name,
        cases - tally.allowed,
        tally.handed_on,
        cases - tally.handed_on
    );
    tally.is_telling(cases)
}

/// Says how the two evaluators differ on a case; none if they do not.
fn difference(case: &Case) -> anyhow::Result<Option<String>> {
    let ours = ours::decide(case);
    let cedars = cedar::decide(case)?;
    Ok(match ours {
        Some(binding) if cedars.is_empty() => Some(format!("mcpd allows by {binding}, Cedar denies")),
        None if !cedars.is_empty() => Some(format!("mcpd denies, Cedar allows by {cedars:?}")),
        Some(binding) if !cedars.contains(&binding) => {
            Some(format!("mcpd allows by {binding}, Cedar only by {cedars:?}"))
        }
        Some(_) | None => handed_on(case)?,
    })
}

/// Nobody grants what they do not hold: if mcpd lets the asker hand the gift on, Cedar gives its receiver nothing
/// that it does not give the asker.
fn handed_on(case: &Case) -> anyhow::Result<Option<String>> {
    if !ours::may_hand_on(case) || cedar::decide(&case.as_receiver())?.is_empty() {
        return Ok(None);
    }
    let lacking = cedar::decide(case)?.is_empty();
    Ok(lacking.then(|| "mcpd lets a gift pass that gives what its giver does not hold".to_owned()))
}

/// Takes away from a case whatever can go without ending the disagreement.
fn smallest(mut case: Case, mut difference: String) -> anyhow::Result<(Case, String)> {
    'again: loop {
        for smaller in case.smaller() {
            if let Some(still) = self::difference(&smaller)? {
                (case, difference) = (smaller, still);
                continue 'again;
            }
        }
        return Ok((case, difference));
    }
}

/// What the cases were, so that twenty thousand times "denied" does not pass for an answer.
#[derive(Default)]
struct Tally {
    allowed: u32,
    through_group: u32,
    by_name: u32,
    handed_on: u32,
}

impl Tally {
    fn count(&mut self, case: &Case) -> anyhow::Result<()> {
        if ours::decide(case).is_some() {
            self.allowed += 1;
            self.through_group += u32::from(cedar::decide(&case.without_groups())?.is_empty());
            self.by_name += u32::from(cedar::decide(&case.without_named_grants())?.is_empty());
        }
        self.handed_on += u32::from(ours::may_hand_on(case));
        Ok(())
    }

    fn is_telling(&self, cases: u32) -> anyhow::Result<()> {
        let least = cases / 50;
        let all = [self.allowed, cases - self.allowed, self.through_group, self.by_name, self.handed_on];
        if all.iter().any(|count| *count < least) {
            bail!("these cases say little: a kind of answer came up less than {least} times");
        }
        Ok(())
    }
}

fn any_seed() -> u64 {
    // The low 64 bits of the nanoseconds are the ones that differ.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs() ^ u64::from(now.subsec_nanos()).rotate_left(32)
}
