//! When the load is over: what is left is delivered, stopped, compared, counted and searched.

use super::{
    journals::{Failovers, Journals, Trail, waiting},
    load::{expect_code, run},
    right::Right,
    samples::{bytes_in, files_in},
    stage::{CHAT, Local, PROMPT, Somebody, Stage},
    tally::Breach,
    writes::{Has, Writer},
};
use crate::processes::{command_line, kill_if_of, processes_left};
use fakes::Canary;
use std::{
    path::{Path, PathBuf},
    sync::PoisonError,
    time::Duration,
};

/// How long what was told to end may take.
const SOON: Duration = Duration::from_secs(10);
/// What is kept of one person, in bytes: the history of failovers and the log of an engine are bounded.
const KEPT: u64 = 16 << 20;
/// How many runs may be needed until nothing waits any more.
const DELIVERIES: usize = 5;

/// All of it.
pub(super) fn close(stage: &Stage, writers: &[Writer], mut journals: Journals) -> anyhow::Result<Failovers> {
    for somebody in &stage.people {
        deliver(stage, somebody)?;
        stop(stage, somebody)?;
    }
    journals.read(stage);
    let failovers = journals.compare(&stage.tally, &Trail::ask(stage)?);
    let verified = run(stage, None, &stage.admin, 0, &["audit", "verify"])?;
    if !verified.is(0) {
        stage.tally.violation(Breach::Disagreement, &format!("the trail is not sound: {}", verified.told()));
    }
    let has = Has::ask(stage)?;
    for writer in writers {
        writer.compare(stage, &has);
    }
    end_servers(stage);
    sweep(stage);
    Ok(failovers)
}

/// Has everything delivered that waits on somebody's machine.
fn deliver(stage: &Stage, somebody: &Somebody) -> anyhow::Result<()> {
    if let Right::Never = somebody.right {
        if let Local::Running(engine) = &somebody.local
            && engine.connections() > 0
        {
            let text = format!("the provider of {}, who has no right, was contacted", somebody.name);
            stage.tally.violation(Breach::Unauthorised, &text);
        }
    } else {
        for server in 0..stage.servers.len() {
            for round in 0..DELIVERIES {
                let run = run(stage, None, &somebody.person, server, &["infer", CHAT, PROMPT])?;
                expect_code(stage, somebody.name, &run, &[0]);
                if round > 0 && waiting(somebody).is_empty() {
                    break;
                }
            }
        }
    }
    for path in waiting(somebody) {
        let text = format!("{} waits with {}: {}", somebody.name, path.display(), text_of(&path));
        stage.tally.violation(Breach::Disagreement, &text);
    }
    Ok(())
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Stops somebody's engines; nothing of them is left then.
fn stop(stage: &Stage, somebody: &Somebody) -> anyhow::Result<()> {
    let run = run(stage, None, &somebody.person, 0, &["providers", "stop", "--all"])?;
    expect_code(stage, somebody.name, &run, &[0]);
    let home = somebody.person.home();
    for pid in processes_left(home, SOON) {
        let text = format!("process {pid} of {}: {}", somebody.name, command_line(pid));
        stage.tally.violation(Breach::Orphan, &text);
        kill_if_of(pid, home);
    }
    // Locks of the runtime folder are empty files that stay; sockets and folders of a start do not.
    let left = sockets_in(&somebody.person.runtime());
    if !left.is_empty() || files_in(&somebody.person.scratch()) > 0 {
        let text = format!("{} has sockets {left:?} and temporary files left", somebody.name);
        stage.tally.violation(Breach::Leak, &text);
    }
    let kept = bytes_in(home);
    if kept > KEPT {
        stage.tally.violation(Breach::Leak, &format!("the home of {} holds {kept} bytes", somebody.name));
    }
    Ok(())
}

fn sockets_in(folder: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => sockets_in(&entry.path()),
        Ok(kind) if kind.is_socket() => vec![entry.path()],
        _ => Vec::new(),
    });
    found.collect()
}

/// The servers end by themselves when they are told to, and the database after them.
fn end_servers(stage: &Stage) {
    for server in &stage.servers {
        let status = server.mcpd().stop();
        if !status.success() {
            stage.tally.violation(Breach::Other, &format!("{} ended with {status}", server.name));
        }
    }
    if let Some(postgres) = &stage.postgres {
        postgres.lock().unwrap_or_else(PoisonError::into_inner).stop();
    }
}

/// Searches everything that was written for tokens and prompts.
fn sweep(stage: &Stage) {
    let mut tokens = Canary::new();
    for (label, token) in stage.tokens.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        tokens.watch(label, token);
    }
    let mut all = tokens.clone();
    all.watch("the prompt", PROMPT);
    let logs: Vec<String> = stage.servers.iter().map(|server| server.mcpd().logs()).collect();
    let mut written: Vec<PathBuf> = stage.people.iter().map(|it| it.person.home().to_owned()).collect();
    written.push(stage.admin.home().to_owned());
    written.extend(stage.servers.iter().map(|server| server.mcpd().data_dir()));
    if let Some(postgres) = &stage.postgres {
        let postgres = postgres.lock().unwrap_or_else(PoisonError::into_inner);
        written.push(postgres.dir().to_owned());
    }
    let logs: Vec<(&str, &[u8])> = logs.iter().map(|log| ("a server's log", log.as_bytes())).collect();
    let written: Vec<&Path> = written.iter().map(PathBuf::as_path).collect();
    let mut findings = all.findings(&written, &logs);
    // Who answers gets the prompt, and no token.
    for somebody in &stage.people {
        findings.extend(match &somebody.local {
            Local::Running(engine) => tokens.findings(&[], &[("what a provider got", &engine.received())]),
            Local::Managed(engine) => tokens.findings(&[engine.notes()], &[]),
        });
    }
    findings.extend(tokens.findings(&[], &[("what the upstream got", &stage.upstream.received())]));
    for finding in findings {
        stage.tally.violation(Breach::Secret, &finding);
    }
}
