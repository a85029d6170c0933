//! `RESULTS.md`: each goal with what was measured, and the tables behind it.

use crate::{
    load::Outcome,
    results::{Results, Sample, megabytes},
    scenarios::Scenario,
    systems::Kind,
    targets::GOALS,
};
use std::{collections::BTreeMap, fmt::Write as _, fs, process::Command};

/// One sample for whoever watches.
pub(crate) fn line(sample: &Sample) -> String {
    let Sample { round, scenario, system, outcome } = sample;
    format!(
        "round {round} {scenario:12} {system:14} {:8.0}/s p50 {:8.0} us p99 {:8.0} us cpu {:8.1} us, a token {:7.2} us, {:6.1} MB",
        outcome.per_second,
        outcome.p50_us,
        outcome.p99_us,
        outcome.cpu_us,
        if outcome.tokens == 0 { 0.0 } else { outcome.cpu_us_token },
        megabytes(outcome.rss_kib)
    )
}

/// The whole page. `why` has the explanation of a goal that is missed.
pub(crate) fn page(results: &Results, why: &dyn Fn(&str) -> Option<String>) -> String {
    let mut page = String::from(
        "# What mcpd and mcpctl cost, beside programs that people trust\n\n\
         Written by `bench/run`; [README.md](README.md) says how it measures. Everything was measured in one run on one\n\
         machine, in turn; each figure is the median over the rounds. Read the ratios: the times are this machine's.\n\n",
    );
    machine(&mut page, results);
    goals(&mut page, results, why);
    for (title, scenario, columns) in TABLES {
        table(&mut page, results, title, *scenario, columns);
    }
    starts(&mut page, results);
    commands(&mut page, results);
    failures(&mut page, results);
    page
}

type Column = (&'static str, fn(&Outcome) -> f64);

const PER_SECOND: Column = ("requests/s", |o| o.per_second);
const P50: Column = ("p50 µs", |o| o.p50_us);
const P99: Column = ("p99 µs", |o| o.p99_us);
const CPU: Column = ("CPU µs/request", |o| o.cpu_us);
const FIRST: Column = ("first token p50 µs", |o| o.first_p50_us);
const TOKEN: Column = ("CPU µs/token", |o| o.cpu_us_token);
const MEMORY: Column = ("MB", |o| megabytes(o.rss_kib));

const TABLES: &[(&str, Scenario, &[Column])] = &[
    ("64 connections, as fast as they can", Scenario::Busy, &[PER_SECOND, CPU, P50, P99, MEMORY]),
    ("One connection", Scenario::Single, &[PER_SECOND, P50, P99, CPU]),
    ("1,000 requests a second", Scenario::Paced, &[P50, P99, CPU]),
    ("Time to the first token", Scenario::First, &[FIRST, CPU]),
    ("A token every 5 ms", Scenario::Lone, &[TOKEN]),
    ("2,000 tokens at once, 8 connections", Scenario::Burst, &[PER_SECOND, TOKEN]),
    ("1,000 streams, a token every 250 ms", Scenario::Slow, &[TOKEN, MEMORY]),
    ("Prompts of 256 KB", Scenario::Prompt, &[PER_SECOND, CPU, MEMORY]),
    ("Prompts of 1 MB", Scenario::LargePrompt, &[PER_SECOND, CPU, MEMORY]),
    ("Answers of 10,000 tokens", Scenario::ShortAnswer, &[PER_SECOND, TOKEN, MEMORY]),
    ("Answers of 100,000 tokens", Scenario::LongAnswer, &[PER_SECOND, TOKEN, MEMORY]),
    ("10,000 streams, a token every 1.5 s", Scenario::Many, &[TOKEN, MEMORY]),
];

fn machine(page: &mut String, results: &Results) {
    page.push_str("## Machine and versions\n\n");
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from).max(2);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let _ = writeln!(
        page,
        "- {} ({cores} cores or more), Linux {}",
        model.trim_start_matches([':', ' ', '\t']),
        kernel.trim()
    );
    let curl = Command::new("curl").arg("--version").output().map(|out| out.stdout).unwrap_or_default();
    let curl = String::from_utf8_lossy(&curl);
    let _ = writeln!(page, "- curl: {}", curl.lines().next().unwrap_or("absent"));
    let versions: BTreeMap<_, _> =
        results.starts.iter().map(|start| (start.system, &start.version)).collect();
    for (system, version) in versions.iter().filter(|(_, version)| !version.is_empty()) {
        let _ = writeln!(page, "- {system}: {version}");
    }
    for system in &results.absent {
        let _ = writeln!(page, "- **{system} was not on this machine**: see `scripts/install-peers`");
    }
    page.push('\n');
}

fn goals(page: &mut String, results: &Results, why: &dyn Fn(&str) -> Option<String>) {
    page.push_str("## Goals\n\n| goal | bound | measured | |\n|---|---|---:|---|\n");
    let mut explained = String::new();
    for goal in GOALS {
        let Some(value) = (goal.measured)(results) else {
            let _ = writeln!(page, "| {} | {} | not measured | |", goal.text, goal.bound);
            continue;
        };
        let verdict = if goal.bound.holds(value) {
            "met".to_owned()
        } else {
            let text = why(goal.id).unwrap_or_else(|| "Not explained yet.\n".to_owned());
            let _ = write!(explained, "### {}\n\n{}\n", goal.text, text.trim_end().to_owned() + "\n");
            format!("**missed**: [why](#{})", anchor(goal.text))
        };
        let _ = writeln!(
            page,
            "| {} | {} | {value:.2} {} | {verdict} |",
            goal.text,
            goal.bound,
            goal.bound.unit()
        );
    }
    page.push('\n');
    if !explained.is_empty() {
        let _ = write!(page, "## Why goals are missed\n\n{explained}");
    }
}

/// The anchor that renderers of Markdown give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn table(page: &mut String, results: &Results, title: &str, scenario: Scenario, columns: &[Column]) {
    let rows: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| results.of(scenario, *kind, |o| o.per_second).is_some())
        .collect();
    if rows.is_empty() {
        return;
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let _ =
        writeln!(page, "## {title}\n\n| | {} |\n|---|{}", names.join(" | "), "---:|".repeat(columns.len()));
    for kind in rows {
        let cells = columns.iter().map(|(_, metric)| {
            let value = results.of(scenario, kind, *metric).unwrap_or(f64::NAN);
            let beside = results.of(scenario, Kind::NginxAuth, *metric).filter(|other| *other > 0.0);
            match beside {
                _ if value == 0.0 => String::new(),
                Some(other) if kind != Kind::NginxAuth => {
                    format!("{} ({:.2} ×)", shown(value), value / other)
                }
                _ => shown(value),
            }
        });
        let _ = writeln!(page, "| {} | {} |", kind.name(), cells.collect::<Vec<_>>().join(" | "));
    }
    page.push('\n');
}

/// Three digits or so.
fn shown(value: f64) -> String {
    match value {
        large if large >= 100.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}

fn starts(page: &mut String, results: &Results) {
    page.push_str("## Start and idle memory\n\n| | ms to the first answer | MB |\n|---|---:|---:|\n");
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Direct) {
        if let (Some(start), Some(idle)) = (results.start(kind), results.idle(kind)) {
            let _ = writeln!(page, "| {} | {} | {} |", kind.name(), shown(start), shown(idle));
        }
    }
    page.push('\n');
}

fn commands(page: &mut String, results: &Results) {
    page.push_str(
        "## Commands\n\nOne answer of mcpd by each command; `refused` and `503` are failovers: mcpctl by itself, and the same three\n\
         requests by three calls of curl.\n\n| | wall ms | CPU ms | first byte ms | MB | runs |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for (name, figures) in &results.commands {
        let _ = writeln!(
            page,
            "| {name} | {} | {} | {} | {} | {} |",
            shown(figures.wall_ms),
            shown(figures.cpu_ms),
            shown(figures.first_ms),
            shown(figures.rss_mb),
            figures.runs
        );
    }
}

fn failures(page: &mut String, results: &Results) {
    let failures = results.failures();
    if failures.is_empty() {
        return;
    }
    page.push_str("\n## Answers that were not whole\n\n| | system | failed | whole | the first of them |\n|---|---|---:|---:|---|\n");
    for sample in failures {
        let Outcome { failed, requests, error, .. } = &sample.outcome;
        let error = error.as_deref().unwrap_or_default().replace('|', " ");
        let _ =
            writeln!(page, "| {} | {} | {failed} | {requests} | {error} |", sample.scenario, sample.system);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_has_its_line_and_a_missed_one_its_explanation() {
        let mut results = Results::default();
        for (system, per_second) in [("mcpd", 50.0), ("nginx-auth", 100.0)] {
            let outcome = Outcome { per_second, cpu_us: 1.0, ..Outcome::default() };
            results.samples.push(Sample { round: 0, scenario: "busy", system, outcome });
        }
        let page = page(&results, &|id| (id == "requests").then(|| "Because.".to_owned()));
        for goal in GOALS {
            assert!(page.contains(&format!("| {} |", goal.text)), "{}", goal.id);
        }
        assert!(page.contains("0.50 × nginx-auth | **missed**") && page.contains("Because."), "{page}");
        assert!(page.contains(
            "CPU a request, audit trail of everything | ≤ 1.4 × nginx-auth | 1.00 × nginx-auth | met"
        ));
    }
}
