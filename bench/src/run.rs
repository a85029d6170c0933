//! The whole comparison: everything is started, measured in turn, and written down.

use crate::{
    commands,
    process::LOAD_CORE,
    report,
    results::{Results, Sample, Start},
    scenarios::{Extent, MODELS, Scenario},
    systems::{Kind, Places, System, stub},
};
use anyhow::{Context, ensure};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{runtime::Runtime, time::sleep};

/// As many files may be open at once: ten thousand streams are two for each.
const FILES: u64 = 45_000;

/// What is run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) extent: Extent,
    pub(crate) rounds: usize,
    /// How often each command is run.
    pub(crate) runs: usize,
    pub(crate) tools: PathBuf,
    pub(crate) out: Option<PathBuf>,
    pub(crate) raw: PathBuf,
    pub(crate) why: PathBuf,
}

/// Measures, and writes what came of it.
pub(crate) fn run(plan: &Plan, runtime: &Runtime) -> anyhow::Result<()> {
    let files = getrlimit(Resource::Nofile);
    let most = files.maximum.unwrap_or(FILES).min(FILES);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: files.maximum })?;
    let mut core = CpuSet::new();
    core.set(LOAD_CORE);
    let is_pinned = sched_setaffinity(None, &core).is_ok();
    ensure!(
        is_pinned || plan.extent == Extent::Smoke,
        "two cores are needed: one for the server, one for the load"
    );

    let places = Places::new(plan.tools.clone())?;
    let (_stub, address) = stub(&places)?;
    let mut results = Results::default();
    let mut systems = Vec::new();
    for kind in Kind::ALL {
        if plan.extent == Extent::Smoke && !matches!(kind, Kind::Direct | Kind::NginxAuth | Kind::MCPD) {
            continue;
        }
        eprintln!("starting {}", kind.name());
        if let Some(system) = System::start(kind, &places, address, &MODELS)? {
            // The first requests of some make everything that the later ones use.
            runtime.block_on(measure(plan, 0, Scenario::First, &system))?;
            systems.push(system);
        } else {
            eprintln!("!!! {} is not here, so it is not measured", kind.name());
            results.absent.push(kind.name());
        }
    }
    results.starts.extend(systems.iter().map(start_of));
    for round in 0..plan.rounds {
        for scenario in Scenario::ROUNDS {
            for system in systems.iter().filter(|system| scenario.concerns(system.kind)) {
                results.samples.push(noted(runtime.block_on(measure(plan, round, scenario, system))?));
            }
        }
    }
    // Once, and last: what it takes is not given back at once, and would be found in the memory of the next ones.
    for system in systems.iter().filter(|system| Scenario::Many.concerns(system.kind)) {
        results.samples.push(noted(runtime.block_on(measure(plan, 0, Scenario::Many, system))?));
    }
    let kinds: Vec<Kind> = systems.iter().map(|system| system.kind).collect();
    drop(systems);
    // A start is a scenario of its own: nothing else runs beside it.
    for _ in 1..plan.rounds {
        for kind in kinds.iter().filter(|kind| **kind != Kind::Direct && !kind.is_slow()) {
            let places = Places::new(plan.tools.clone())?;
            let started = System::start(*kind, &places, address, &[])?.context("it was here before")?;
            results.starts.push(start_of(&started));
        }
    }
    eprintln!("commands");
    commands::measure(&places, address, plan.runs, &mut results)?;
    for (name, figures) in &results.commands {
        eprintln!("  {name}: {figures:?}");
    }
    write(plan, &results)
}

/// Says to whoever watches what was measured.
fn noted(sample: Sample) -> Sample {
    eprintln!("{}", report::line(&sample));
    sample
}

fn start_of(system: &System) -> Start {
    Start {
        system: system.kind.name(),
        milliseconds: system.started_in.as_secs_f64() * 1e3,
        idle_kib: system.idle_rss,
        version: system.version.clone(),
    }
}

async fn measure(plan: &Plan, round: usize, scenario: Scenario, system: &System) -> anyhow::Result<Sample> {
    let load = scenario.load(plan.extent);
    let model = scenario.model().to_string();
    let request = system.target.request(&model, scenario.prompt(), scenario.is_stream());
    // What the one before has left to do is not to be counted here.
    sleep(Duration::from_millis(150)).await;
    let outcome = load
        .run(&system.target, request, system.pid())
        .await
        .with_context(|| format!("{} with {}", scenario.name(), system.kind.name()))?;
    ensure!(
        outcome.requests > 0,
        "{} with {}: nothing was answered: {}",
        scenario.name(),
        system.kind.name(),
        outcome.error.as_deref().unwrap_or_default()
    );
    Ok(Sample { round, scenario: scenario.name(), system: system.kind.name(), outcome })
}

fn write(plan: &Plan, results: &Results) -> anyhow::Result<()> {
    let failures = results.failures();
    for sample in &failures {
        eprintln!("!!! {} requests failed: {}", sample.outcome.failed, report::line(sample));
    }
    if let Some(folder) = plan.raw.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&plan.raw, serde_json::to_vec_pretty(results)?)?;
    eprintln!("raw figures: {}", plan.raw.display());
    let text = report::page(results, &|id| why(&plan.why, id));
    match &plan.out {
        Some(out) => fs::write(out, text).with_context(|| format!("writing {}", out.display()))?,
        None => print_page(&text),
    }
    ensure!(
        !failures.iter().any(|sample| sample.system.starts_with(Kind::MCPD.name())),
        "answers of mcpd were not whole"
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what was asked for")]
fn print_page(text: &str) {
    print!("{text}");
}

/// The explanation of a goal that is missed.
fn why(folder: &Path, id: &str) -> Option<String> {
    fs::read_to_string(folder.join(format!("{id}.md"))).ok()
}
