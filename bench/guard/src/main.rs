//! Counts the instructions of what is done for every request, and compares them with what they were.
//!
//! Each case is done once by this same program under callgrind, which counts exactly, whatever else the machine is
//! doing; a second run gives the same number. See `bench/guard/README.md`.

mod baseline;
mod callgrind;
mod cases;
mod client;
mod report;

use anyhow::{Context, bail};
use std::{hint::black_box, process::ExitCode};

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["check"] => report::check(),
        ["renew"] => report::renew(),
        ["measure", name, size] => {
            measure(name, size.parse().context("a size is a number")?).map(|()| ExitCode::SUCCESS)
        }
        _ => bail!("mcp-guard [check | renew]"),
    }
}

/// Does the work of one case, for callgrind.
fn measure(name: &str, size: usize) -> anyhow::Result<()> {
    let case = cases::ALL.iter().find(|case| case.name == name).context("no such case")?;
    let mut work = (case.prepare)(size)?;
    // What is done once in the life of a process is none of the costs of a request.
    let first = work();
    let second = counted(&mut work);
    anyhow::ensure!(first == second && first > 0, "{name} {size}: {first}, then {second}");
    Ok(())
}

/// What callgrind counts: from here to its end, and nothing else.
#[inline(never)]
fn counted(work: &mut mcpd::costs::Work) -> usize {
    black_box(work())
}
