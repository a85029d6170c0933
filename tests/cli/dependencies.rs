//! The page of dependencies against the manifests.

use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// The crates that one part of the page has lines for.
fn on_the_page(title: &str) -> BTreeSet<String> {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dependencies.md")).unwrap();
    let part = page.split("\n## ").find(|part| part.starts_with(title)).expect(title);
    let first_cells =
        part.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    first_cells
        .flat_map(|cell| cell.split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect()
}

fn manifests() -> Vec<Value> {
    let args = ["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"];
    let output =
        Command::new(env!("CARGO")).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn every_direct_dependency_has_a_line_of_why_and_no_line_is_left_over() {
    let mut tests = BTreeSet::new();
    for package in manifests() {
        let name = package["name"].as_str().unwrap();
        let mut own = BTreeSet::new();
        for dependency in package["dependencies"].as_array().unwrap() {
            let is_ours = !dependency["path"].is_null();
            let crate_name = dependency["name"].as_str().unwrap().to_owned();
            let of_tests = name == "mcp-fakes" || dependency["kind"] == "dev";
            match (is_ours, of_tests) {
                (true, _) => {}
                (false, true) => drop(tests.insert(crate_name)),
                (false, false) => drop(own.insert(crate_name)),
            }
        }
        if name != "mcp-fakes" {
            assert_eq!(own, on_the_page(&format!("{name}\n")), "dependencies of {name}");
        }
    }
    assert_eq!(tests, on_the_page("Tests only\n"));
}
