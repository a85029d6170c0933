//! What is looked at every few seconds, and whether it has grown.

use super::{stage::Stage, tally::Memory};
use crate::processes::{Holdings, processes_of};
use std::{
    collections::BTreeMap,
    fs::{self, DirEntry},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long after its start a server has not got warm yet.
const WARM: Duration = Duration::from_secs(20);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(3);
/// Below so many samples of a quarter nothing is judged by them.
const ENOUGH: usize = 10;
/// By how much memory may grow: this part of it, and not more than so many KiB.
const MEMORY: (u64, u64) = (5, 8 << 10);
/// By how many files, sockets, threads or processes a median may differ.
const FEW: u64 = 8;

/// A series by what was measured of whom: when, as a part of the whole run, and how much.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<(String, &'static str), Vec<(f64, u64)>>);

impl Samples {
    /// Looks until it is over. `part` says how far the run is, from 0 to 1.
    pub(super) fn take(stage: &Stage, part: impl Fn(Instant) -> f64) -> Self {
        let mut samples = Self::default();
        while !stage.is_over() {
            samples.look(stage, part(Instant::now()));
            let until = Instant::now() + PAUSE;
            while !stage.is_over() && Instant::now() < until {
                thread::sleep(Duration::from_millis(50));
            }
        }
        samples
    }

    fn look(&mut self, stage: &Stage, part: f64) {
        for server in &stage.servers {
            // Of one that has just started anew, nothing that is compared.
            let Some((pid, _, age)) = server.living() else { continue };
            let Some(held) = Holdings::of(pid).filter(|_| age > WARM) else { continue };
            self.note(server.name, "rss_kib", part, held.rss_kib);
            self.note(server.name, "files", part, held.files);
            self.note(server.name, "sockets", part, held.sockets);
            self.note(server.name, "threads", part, held.threads);
        }
        for somebody in &stage.people {
            let home = somebody.person.home();
            self.note(somebody.name, "processes", part, processes_of(home).len() as u64);
            self.note(somebody.name, "files in the home", part, files_in(home));
        }
    }

    fn note(&mut self, of: &str, what: &'static str, part: f64, value: u64) {
        self.0.entry((of.to_owned(), what)).or_default().push((part, value));
    }

    /// Compares the second quarter with the last one: what memory was, and what has grown.
    pub(super) fn judge(&self) -> (Vec<Memory>, Vec<String>) {
        let (mut memory, mut leaks) = (Vec::new(), Vec::new());
        for ((of, what), series) in &self.0 {
            let quarter = |from: f64, to: f64| {
                let values = series.iter().filter(|(part, _)| (from..to).contains(part));
                median(values.map(|(_, value)| *value).collect())
            };
            let (Some(early), Some(late)) = (quarter(0.25, 0.5), quarter(0.75, 1.1)) else { continue };
            if *what == "rss_kib" {
                memory.push(Memory { process: of.clone(), early_kib: early, late_kib: late });
            }
            let allowed = if *what == "rss_kib" { (early / MEMORY.0).min(MEMORY.1) } else { FEW };
            if late.saturating_sub(early) > allowed {
                leaks.push(format!("{what} of {of}: {early} in the second quarter, {late} in the last one"));
            }
        }
        (memory, leaks)
    }
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    (values.len() >= ENOUGH).then(|| values[values.len() / 2])
}

/// How many files are under a path.
pub(super) fn files_in(path: &Path) -> u64 {
    of_all_files(path, &|_| 1)
}

/// How many bytes are in them.
pub(super) fn bytes_in(path: &Path) -> u64 {
    of_all_files(path, &|file| file.metadata().map_or(0, |meta| meta.len()))
}

fn of_all_files(path: &Path, count: &dyn Fn(&DirEntry) -> u64) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let is_folder = |it: &DirEntry| it.file_type().is_ok_and(|kind| kind.is_dir());
    entries.map(|it| if is_folder(&it) { of_all_files(&it.path(), count) } else { count(&it) }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(what: &'static str, value: impl Fn(u64) -> u64) -> (Vec<Memory>, Vec<String>) {
        let mut samples = Samples::default();
        for number in 0..100 {
            samples.note("mcpd-a", what, f64::from(u8::try_from(number).unwrap()) / 100.0, value(number));
        }
        samples.judge()
    }

    #[test]
    fn what_grows_is_found_and_what_only_starts_or_jumps_is_not() {
        let (memory, leaks) = judged("rss_kib", |number| 20_000 + number * 100);
        assert_eq!((memory[0].early_kib, memory[0].late_kib), (23_700, 28_700));
        assert_eq!(leaks.len(), 1, "a fifth more");
        let (_, leaks) = judged("rss_kib", |number| 100_000 + number * 200);
        assert_eq!(leaks.len(), 1, "more than 8 MiB");
        let (_, leaks) = judged("rss_kib", |number| 20_000 + (number % 7) * 1000 + number.min(20) * 100);
        assert_eq!(leaks, Vec::<String>::new());
        assert_eq!(judged("files", |number| 30 + number / 4).1.len(), 1);
        assert_eq!(judged("files", |number| if number % 10 == 9 { 90 } else { 30 }).1.len(), 0);
    }
}
