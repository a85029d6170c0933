//! What packages are made of: the files are there, each package has all of them, and the workflows run nothing but
//! scripts that anybody can run. That the packages work is what `scripts/package` checks.

use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, process::Command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn package() -> Value {
    let args = ["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"];
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().find(|package| package["name"] == "mcpctl").unwrap().clone()
}

fn text<'a>(value: &'a Value, why: &str) -> &'a str {
    value.as_str().unwrap_or_else(|| panic!("{why}: {value}"))
}

#[test]
fn both_packages_have_the_same_files_and_each_of_them_exists_or_is_made() {
    let package = package();
    let deb: BTreeSet<&str> = package["metadata"]["deb"]["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text(&it[0], "deb"))
        .collect();
    let rpm = package["metadata"]["generate-rpm"]["assets"].as_array().unwrap();
    let rpm: BTreeSet<&str> = rpm.iter().map(|it| text(&it["source"], "rpm")).collect();
    let differ: Vec<_> = deb.symmetric_difference(&rpm).copied().collect();
    // The .deb has it as the page of rights that Debian wants.
    assert_eq!(differ, ["LICENSE-MIT"]);
    assert_eq!(package["metadata"]["deb"]["license-file"][0], "LICENSE-MIT");
    let script = fs::read_to_string(root().join("scripts/package")).unwrap();
    for source in rpm {
        let is_made = match source.strip_prefix("target/assets/") {
            Some(made) => script
                .contains(&format!("$assets/{}", made.trim_end_matches(".gz")).replace("man/*.1", "man")),
            None if source == "target/release/mcpctl" => true,
            None => {
                let (folder, pattern) = source.rsplit_once('/').unwrap_or((".", source));
                let end = pattern.trim_start_matches('*');
                let mut files = fs::read_dir(root().join(folder)).unwrap();
                files.any(|file| file.unwrap().file_name().to_string_lossy().ends_with(end))
            }
        };
        assert!(is_made, "nothing makes {source}");
    }
}

#[test]
fn the_line_that_describes_the_package_fits_where_packages_show_it() {
    let package = package();
    let line = text(&package["description"], "a description");
    assert!(line.len() < 80 && !line.ends_with('.'), "{line}");
    let more = text(&package["metadata"]["deb"]["extended-description"], "more");
    assert!(more.lines().all(|line| line.len() < 75), "{more}");
}

/// Every step of a workflow of ours runs a script of the repository, or a line that needs nothing but the runner.
#[test]
fn the_workflows_name_scripts_that_exist_and_may_do_no_more_than_they_need() {
    let folder = root().join(".github/workflows");
    let mut scripts = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let workflow: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let name = path.display();
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{name}");
        for (job_name, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["timeout-minutes"].is_u64(), "{name}: {job_name} may run for ever");
            for step in job["steps"].as_array().unwrap() {
                let run = step["run"].as_str().unwrap_or_default();
                // Put into a script by the runner, text from outside would be a part of it.
                assert!(!run.contains("${{"), "{name}: {run}");
                for script in run
                    .split_whitespace()
                    .filter(|word| word.starts_with("scripts/") || word.starts_with(".ci/"))
                {
                    assert!(root().join(script).is_file(), "{name}: there is no {script}");
                    scripts += 1;
                }
                let uses = step["uses"].as_str().unwrap_or("actions/");
                assert!(uses.starts_with("actions/"), "{name}: {uses} is somebody else's program");
            }
        }
    }
    assert_eq!(scripts, 2);
}
