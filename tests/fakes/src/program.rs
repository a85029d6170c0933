//! Where a program of this project is: beside the test, or built now.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The program in the build folder of the running test; if it is not there yet, after `cargo build`.
pub fn find(package: &str, name: &str) -> PathBuf {
    BuildFolder::of_this_test().program(package, name)
}

/// The folder that everything is built into.
pub(crate) fn build_folder() -> PathBuf {
    BuildFolder::of_this_test().target
}

/// `<target>/<profile>`, where cargo puts programs.
struct BuildFolder {
    target: PathBuf,
    profile: String,
}

impl BuildFolder {
    fn of_this_test() -> Self {
        let test = env::current_exe().expect("a process knows its program");
        // Tests stand one folder deeper than programs.
        let deps = test.parent().expect("a program stands in a folder");
        let dir = if deps.ends_with("deps") { deps.parent().expect("deps is inside") } else { deps };
        let name = |path: &Path| path.file_name().expect("a named folder").to_string_lossy().into_owned();
        Self { target: dir.parent().expect("a profile is inside").to_path_buf(), profile: name(dir) }
    }

    fn program(&self, package: &str, name: &str) -> PathBuf {
        let program = self.target.join(&self.profile).join(name);
        if !program.is_file() {
            self.build(package, name);
        }
        assert!(program.is_file(), "no {name} at {}", program.display());
        program
    }

    fn build(&self, package: &str, name: &str) {
        let profile = if self.profile == "debug" { "dev" } else { &self.profile };
        let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "--package", package, "--bin", name, "--profile", profile])
            .arg("--target-dir")
            .arg(&self.target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo can be run");
        assert!(status.success(), "cargo build --package {package}: {status}");
    }
}
