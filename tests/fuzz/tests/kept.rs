//! Every input that was kept, through the function that the fuzzer calls.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is how it fails; helpers are tests too"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn replay(kind: &str) -> usize {
    let mut count = 0;
    for target in mcp_fuzz::TARGETS {
        let folder = fuzz().join(kind).join(target.name);
        for name in if folder.exists() { names(&folder) } else { BTreeSet::new() } {
            // Shown by the test if the next line panics.
            println!("fuzz/{kind}/{}/{name}", target.name);
            (target.check)(&fs::read(folder.join(&name)).unwrap());
            count += 1;
        }
    }
    count
}

#[test]
fn s11_c03_what_was_found_interesting_breaks_nothing() {
    println!("{} inputs", replay("corpus"));
}

#[test]
fn what_broke_something_once_no_longer_does() {
    println!("{} inputs", replay("regressions"));
}

#[test]
fn every_target_has_a_program_a_corpus_and_nothing_is_left_over() {
    let targets: BTreeSet<String> = mcp_fuzz::TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let programs = names(&fuzz().join("targets")).into_iter().map(|name| name.replace(".rs", "")).collect();
    assert_eq!(targets, programs, "fuzz/targets");
    assert_eq!(targets, names(&fuzz().join("corpus")), "fuzz/corpus");
    assert!(names(&fuzz().join("regressions")).is_subset(&targets), "fuzz/regressions");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let mut total = 0;
    for target in &targets {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "fuzz/Cargo.toml has no {target}");
        let folder = fuzz().join("corpus").join(target);
        let sizes = names(&folder)
            .iter()
            .map(|name| fs::metadata(folder.join(name)).unwrap().len())
            .collect::<Vec<_>>();
        let size: u64 = sizes.iter().sum();
        assert!((1..=120).contains(&sizes.len()), "{target} has {} inputs", sizes.len());
        assert!(size <= 300 << 10, "the corpus of {target} has {size} bytes");
        total += size;
    }
    assert!(total <= 1_500_000, "all corpora have {total} bytes; cargo fuzz cmin");
}
