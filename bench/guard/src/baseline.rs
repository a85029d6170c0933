//! What each case took when somebody last looked at it: a file to read, and to change on purpose.

use anyhow::Context;
use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

/// A case at a size.
pub(crate) type Key = (String, usize);

const HEAD: &str =
    "# Instructions that each piece of work takes at each size; `bench/guard/run renew` writes this file.\n";

/// Optimised or not are two different programs.
fn path() -> PathBuf {
    let name = if cfg!(debug_assertions) { "baseline-soon.tsv" } else { "baseline.tsv" };
    [env!("CARGO_MANIFEST_DIR"), name].iter().collect()
}

pub(crate) fn read() -> anyhow::Result<BTreeMap<Key, u64>> {
    let text = fs::read_to_string(path()).with_context(|| path().display().to_string())?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| parsed(line).with_context(|| format!("{line:?} in {}", path().display()))).collect()
}

fn parsed(line: &str) -> anyhow::Result<(Key, u64)> {
    let mut words = line.split('\t');
    let mut word = || words.next().context("a name, a size and a number");
    Ok(((word()?.to_owned(), word()?.parse()?), word()?.parse()?))
}

/// In the order of the cases.
pub(crate) fn write(counts: &[(Key, u64)]) -> anyhow::Result<()> {
    let mut text = String::from(HEAD);
    for ((name, size), count) in counts {
        writeln!(text, "{name}\t{size}\t{count}")?;
    }
    fs::write(path(), text).with_context(|| path().display().to_string())
}
