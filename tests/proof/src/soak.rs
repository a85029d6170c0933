//! Mixed load for a long time, with kills; then everything is counted, compared and searched.
//!
//! | module | what it does |
//! |---|---|
//! | `stage` | one database, two servers, an upstream, and people with homes of their own |
//! | `load`, `writes` | those who work; what is written, and has to be true at the end |
//! | `trouble` | kills, outages, rights that come and go |
//! | `judge`, `right` | the rules for one run; when somebody had a right, as far as it is known from outside |
//! | `samples` | memory, files, sockets, processes, and whether they grow |
//! | `journals`, `closing` | what must be so when all is over |
//! | `tally` | what was counted and found |

mod closing;
mod journals;
mod judge;
mod load;
mod right;
mod samples;
mod stage;
mod tally;
mod trouble;
mod writes;

use crate::child::Underway;
use journals::{Failovers, Journals};
use samples::Samples;
use serde_json::{Value, json};
use stage::{Database, Stage};
use std::{
    env, fs,
    io::{Write, stderr},
    path::PathBuf,
    process::{Command, ExitCode},
    sync::atomic::Ordering,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tally::{Breach, Memory, Victim};
use writes::Writer;

/// What is run.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How long the load lasts
    #[arg(long, default_value_t = 30)]
    minutes: u32,

    /// What chance goes by; printed, so that a run can be made again
    #[arg(long)]
    seed: Option<u64>,

    /// Where the servers keep everything
    #[arg(long, default_value = "postgres")]
    database: Database,

    /// How many runs are under way at the same time
    #[arg(long, default_value_t = 4)]
    workers: u64,
}

/// Runs it; exit 1 if anything was found.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(of_the_clock);
    say(&format!("soak: {} minutes on {:?}, --seed {seed}", args.minutes, args.database));
    let stage = Stage::set(args.database)?;
    let (memory, failovers) = play(&stage, args, seed);
    let result = document(&stage, args, seed, &memory, failovers);
    let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = folder.join("proof/soak.json");
    fs::create_dir_all(folder.join("proof"))?;
    fs::write(&path, format!("{result:#}\n"))?;
    let violations = stage.tally.snapshot().violations;
    say(&format!("soak: {} violations; {}", violations.len(), path.display()));
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The load, the trouble, and what comes after.
fn play(stage: &Stage, args: &Args, seed: u64) -> (Vec<Memory>, Failovers) {
    let whole = Duration::from_mins(args.minutes.into());
    let (began, underway) = (Instant::now(), Underway::default());
    let part = |now: Instant| (now - began).as_secs_f64() / whole.as_secs_f64();
    let mut journals = Journals::default();
    let (writers, samples) = thread::scope(|scope| {
        let underway = &underway;
        let govern = scope.spawn(move || trouble::govern(stage, seed));
        let troubles = [
            scope.spawn(move || trouble::kill(stage, underway, seed, began + whole / 8)),
            scope.spawn(move || trouble::fail(stage, seed)),
        ];
        let workers: Vec<_> = (0..args.workers)
            .map(|number| scope.spawn(move || load::work(stage, underway, seed, number)))
            .collect();
        let samples = scope.spawn(move || Samples::take(stage, part));
        for minute in 1..=args.minutes {
            let end = began + Duration::from_mins(1) * minute;
            thread::sleep(end.saturating_duration_since(Instant::now()));
            journals.read(stage);
            let counts = stage.tally.snapshot();
            let kills: u64 = counts.kills.values().sum();
            let (runs, found) = (counts.runs, counts.violations.len());
            say(&format!("minute {minute}: {runs} runs, {kills} kills, {found} violations"));
        }
        stage.is_over.store(true, Ordering::SeqCst);
        for trouble in troubles {
            ended(stage, trouble);
        }
        let writers: Vec<Writer> =
            workers.into_iter().filter_map(|worker| went_well(stage, ended(stage, worker)?)).collect();
        let _nothing = ended(stage, govern).and_then(|result| went_well(stage, result));
        (writers, ended(stage, samples).unwrap_or_default())
    });
    say(&format!("how commands ended: {}", json!(stage.tally.snapshot().ends)));
    let (memory, leaks) = samples.judge();
    for leak in leaks {
        stage.tally.violation(Breach::Leak, &leak);
    }
    let failovers = went_well(stage, closing::close(stage, &writers, journals)).unwrap_or_default();
    (memory, failovers)
}

/// What a thread gave; that it panicked is a violation too.
fn ended<T>(stage: &Stage, thread: ScopedJoinHandle<'_, T>) -> Option<T> {
    let outcome = thread.join();
    if outcome.is_err() {
        stage.tally.violation(Breach::Other, "something on the stage did not do what it was told; see above");
    }
    outcome.ok()
}

fn went_well<T>(stage: &Stage, result: anyhow::Result<T>) -> Option<T> {
    result.inspect_err(|error| stage.tally.violation(Breach::Other, &format!("{error:#}"))).ok()
}

fn document(stage: &Stage, args: &Args, seed: u64, memory: &[Memory], failovers: Failovers) -> Value {
    let counts = stage.tally.snapshot();
    json!({
        "minutes": args.minutes,
        "seed": seed,
        "database": format!("{:?}", args.database).to_lowercase(),
        "commit": commit(),
        "runs": counts.runs,
        "judged": counts.judged,
        "failovers": failovers.reported,
        "refused": failovers.refused,
        "kills": {
            "mcpctl": counts.kills_of(Victim::Mcpctl),
            "supervisor": counts.kills_of(Victim::Supervisor),
            "engine": counts.kills_of(Victim::Engine),
            "mcpd": counts.kills_of(Victim::Mcpd),
            "postgres": counts.kills_of(Victim::Postgres),
        },
        "faults": counts.faults,
        "acknowledgedWrites": counts.acknowledged,
        "lostWrites": counts.of(Breach::LostWrite),
        "unauthorised": counts.of(Breach::Unauthorised),
        "truncated": counts.of(Breach::Truncated),
        "secrets": counts.of(Breach::Secret),
        "orphans": counts.of(Breach::Orphan),
        "leaks": counts.of(Breach::Leak),
        "journalAuditDisagreements": counts.of(Breach::Disagreement),
        "memory": memory,
        "ends": counts.ends,
        "violations": counts.violations,
    })
}

/// The commit of the working folder, if it is one.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain"]).is_some_and(|status| !status.is_empty());
    git(&["rev-parse", "HEAD"]).unwrap_or_default() + if changed { " with changes" } else { "" }
}

fn of_the_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn say(line: &str) {
    let _nobody_reads = writeln!(stderr(), "{line}");
}
