//! The guards that `scripts/red` takes out: each can be taken out and has its row, and nothing that is shipped lacks one.
//! That tests fail without them is what the script sees to.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The features that a file names, in its order.
fn features(path: &str) -> Vec<String> {
    let text = read(path);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("sabotage_")).map(str::to_owned).collect()
}

#[test]
fn every_guard_that_can_be_taken_out_is_declared_used_and_watched_by_tests() {
    let table = read("tests/red.tsv");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("sabotage_"))
        .map(|line| line.split('\t').collect())
        .collect();
    for (package, folder) in [("mcpctl", "."), ("mcpd", "mcpd")] {
        let declared = features(&format!("{folder}/Cargo.toml"));
        assert_eq!(features(&format!("{folder}/src/sabotage.rs")), declared, "{package}");
        let listed = rows.iter().filter(|row| row[1] == package).map(|row| row[0].to_owned());
        let (listed, declared): (BTreeSet<_>, BTreeSet<_>) =
            (listed.collect(), declared.into_iter().collect());
        assert_eq!(listed, declared, "{package}");
    }
    for row in rows {
        let [rule, _, removes, tests] = row[..] else { panic!("{row:?} has not four columns") };
        assert!(removes.ends_with('.'), "{rule}: {removes}");
        for test in tests.split(' ') {
            assert!(
                ["cli::", "server::", "matrix::"].iter().any(|it| test.starts_with(it)),
                "{rule}: {test}"
            );
        }
    }
}

/// Everything by which something is built for others.
fn recipes() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["scripts", "deploy", ".github/workflows", ".ci", "bench"];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(root.join(folder)).unwrap());
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[test]
fn nothing_that_is_shipped_can_lack_a_guard() {
    for manifest in ["Cargo.toml", "mcpd/Cargo.toml"] {
        assert!(!read(manifest).contains("\ndefault ="), "{manifest} has features that are on by themselves");
    }
    let recipes = recipes();
    assert!(recipes.iter().any(|path| path.ends_with("scripts/package")), "{recipes:?}");
    for path in recipes {
        // What is no text builds nothing.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for line in text.lines().filter(|line| line.contains("--all-features")) {
            let builds_nothing = line.contains("cargo clippy") || line.contains("\"metadata\"");
            assert!(builds_nothing, "{}: {line}", path.display());
        }
        assert!(path.ends_with("scripts/red") || !text.contains("sabotage_"), "{}", path.display());
    }
}
