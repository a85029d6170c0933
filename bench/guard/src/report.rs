//! Counts all cases and judges them: against the baseline, and by how they grow.

use crate::{baseline, baseline::Key, callgrind, cases};
use std::{collections::BTreeMap, process::ExitCode, thread};

/// How far a count may be from the baseline, as a share of it. What the compiler puts in one piece differs from build to
/// build by a tenth; a different C library moves a count by one or two hundredths.
const TOLERANCE: f64 = 0.15;

/// Fails if something costs more than it did, or grows faster than it may.
pub(crate) fn check() -> anyhow::Result<ExitCode> {
    let known = baseline::read()?;
    let counts = all()?;
    let mut is_good = true;
    say(&format!("{:<15} {:>9} {:>15} {:>9}  ", "case", "size", "instructions", "change"));
    for (key, count) in &counts {
        let (change, verdict) = match known.get(key) {
            None => (String::new(), "NOT IN THE BASELINE"),
            Some(was) => {
                let change = share(*count, *was) - 1.0;
                let verdict = match change {
                    more if more > TOLERANCE => "COSTS MORE",
                    less if less < -TOLERANCE => "COSTS LESS: bench/guard/run renew",
                    _ => "",
                };
                (format!("{:+.1} %", 100.0 * change), verdict)
            }
        };
        is_good &= verdict.is_empty();
        say(&format!("{:<15} {:>9} {count:>15} {change:>9}  {verdict}", key.0, key.1));
    }
    for complaint in growing(&counts) {
        is_good = false;
        say(&complaint);
    }
    for (name, size) in known.keys().filter(|key| !counts.iter().any(|(counted, _)| counted == *key)) {
        is_good = false;
        say(&format!("{name} {size} is in the baseline only: bench/guard/run renew"));
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the baseline anew. Growth is judged all the same.
pub(crate) fn renew() -> anyhow::Result<ExitCode> {
    let counts = all()?;
    baseline::write(&counts)?;
    let complaints = growing(&counts);
    for complaint in &complaints {
        say(complaint);
    }
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What grows faster than it may, from one size to the next.
fn growing(counts: &[(Key, u64)]) -> Vec<String> {
    let counts: BTreeMap<(&str, usize), u64> =
        counts.iter().map(|((name, size), count)| ((name.as_str(), *size), *count)).collect();
    let mut complaints = Vec::new();
    for case in cases::ALL {
        for pair in case.sizes().windows(2) {
            let [small, large] = [pair[0], pair[1]];
            let (Some(less), Some(more)) = (counts.get(&(case.name, small)), counts.get(&(case.name, large)))
            else {
                continue;
            };
            let (times, most) = (share(*more, *less), case.growth.most(small, large));
            if times > most {
                let name = case.name;
                complaints.push(format!(
                    "{name} GROWS TOO FAST: from {small} to {large} it takes {times:.1} times as much, at most {most:.1}"
                ));
            }
        }
    }
    complaints
}

/// Two at once: more than two cores are rare where this runs, and the order stays that of the cases.
fn all() -> anyhow::Result<Vec<(Key, u64)>> {
    let folder = tempfile::tempdir()?;
    let every: Vec<_> =
        cases::ALL.iter().flat_map(|case| case.sizes().into_iter().map(move |size| (case, size))).collect();
    let folder = folder.path();
    let mut counts = Vec::new();
    for pair in every.chunks(2) {
        let counted: Vec<anyhow::Result<u64>> = thread::scope(|scope| {
            let started: Vec<_> = pair
                .iter()
                .map(|(case, size)| scope.spawn(move || callgrind::count(case, *size, folder)))
                .collect();
            let panicked = |_| Err(anyhow::anyhow!("a thread has panicked"));
            started.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
        });
        for ((case, size), count) in pair.iter().zip(counted) {
            counts.push(((case.name.to_owned(), *size), count?));
        }
    }
    Ok(counts)
}

#[expect(clippy::cast_precision_loss, reason = "nothing takes 2^52 instructions")]
fn share(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn say(line: &str) {
    println!("{}", line.trim_end());
}
