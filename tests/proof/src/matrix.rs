//! The fault matrix: what the question meets, what the probe meets, what the caller may do, who could stand in. Each run
//! is the real client against the real server, with somebody between them who disturbs, and is judged by what the
//! contract says, which is written down here once more and shares no code with the client.

mod axes;
mod cell;
mod front;
mod judge;
mod lane;
mod plan;
mod primary;
mod probe;
mod report;
mod watch;

use anyhow::{Context as _, Result};
use cell::Who;
use fakes::{Canary, Mcpd};
use lane::Lane;
use plan::{Axes, Choice, Size};
use report::Report;
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

/// What is run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many runs, at least
    #[arg(long, default_value_t = 1_000)]
    runs: usize,
    /// Every status from 100 to 999 at least once, at the question and at the probe
    #[arg(long)]
    sweep: bool,
    /// How many runs in which the right goes while the engine starts: eleven seconds each
    #[arg(long, default_value_t = 6)]
    during_start: usize,
    /// What the cells are drawn by; printed, so that a run can be repeated
    #[arg(long)]
    seed: Option<u64>,
    /// How many runs at once
    #[arg(long, default_value_t = 6)]
    lanes: usize,
    /// These cells only, each by the name that a violation is told with
    #[arg(long = "cell", value_name = "NAME")]
    cells: Vec<String>,
    /// Where the results go
    #[arg(long, default_value = "target/proof/matrix.json")]
    out: PathBuf,
}

/// Runs the matrix.
pub fn run(args: &Args) -> Result<ExitCode> {
    let axes = Axes::new();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let chosen = if args.cells.is_empty() {
        let size = Size { runs: args.runs, sweep: args.sweep, during_start: args.during_start };
        axes.chosen(size, seed)
    } else {
        let find = |name: &String| {
            let found = axes.find(name).filter(|choice| axes.cell(*choice).is_possible());
            found.with_context(|| format!("there is no cell {name:?}"))
        };
        args.cells.iter().map(find).collect::<Result<_>>()?
    };
    let report = Report::new(seed, &axes);
    crate::say(format_args!("{} runs of {} distinct cells, seed {seed}", chosen.len(), report.distinct()));
    let report = Mutex::new(report);
    let began = Instant::now();
    let mcpd = Mcpd::start();
    let next = AtomicUsize::new(0);
    let lanes = args.lanes.clamp(1, chosen.len().max(1));
    let ended: Vec<_> = thread::scope(|scope| {
        let work = |number| {
            let (axes, chosen, next, report, mcpd) = (&axes, &chosen, &next, &report, &mcpd);
            scope.spawn(move || lane(number, mcpd, axes, chosen, next, report))
        };
        let threads: Vec<_> = (0..lanes).map(work).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (number, ended) in ended.into_iter().enumerate() {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report.broken(&format!("lane {number} could not go on: {error:#}")),
            Err(_) => report.broken(&format!("lane {number} ended in a panic, which stands above")),
        }
    }
    report.took = began.elapsed();
    report.write(&args.out)?;
    report.tell();
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs cells as long as there are any, and looks at what is left afterwards.
fn lane(
    number: usize,
    mcpd: &Mcpd,
    axes: &Axes,
    chosen: &[Choice],
    next: &AtomicUsize,
    report: &Mutex<Report>,
) -> Result<()> {
    let mut canary = Canary::new();
    canary.watch("the administrator's token", mcpd.admin_token());
    let mut lane = Lane::new(mcpd, number, &mut canary)?;
    let told = || report.lock().unwrap_or_else(PoisonError::into_inner);
    let mut answered_here = 0;
    while let Some(choice) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
        let cell = axes.cell(*choice);
        let seen = lane.run(&cell).with_context(|| cell.name())?;
        let violations = judge::judge(&cell, &seen, &lane);
        answered_here += usize::from(cell.expected().who == Who::Local && violations.is_empty());
        let done = told().take(&cell, &seen, violations);
        if done % 500 == 0 {
            crate::say(format_args!("{done} of {} runs", chosen.len()));
        }
    }
    lane.stop("--all");
    let left = lane.processes();
    let reported = lane.reported()?;
    let mut report = told();
    report.left_over(&left, &format!("lane {number}"));
    report.reports_agree(answered_here, reported, &format!("lane {number}"));
    drop(report);
    let found = lane.sweep(&canary);
    told().swept(found);
    Ok(())
}

#[cfg(test)]
mod tests;
