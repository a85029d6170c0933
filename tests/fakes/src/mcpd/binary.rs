//! Where the server's program is: named, beside the test, or built now.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// `$MCPD_BIN`; else the one in the build folder of the running test; else that one after `cargo build`.
pub(super) fn path() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| match env::var_os("MCPD_BIN") {
        Some(named) => named.into(),
        None => BuildFolder::of_this_test().mcpd(),
    })
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

    fn mcpd(&self) -> PathBuf {
        let program = self.target.join(&self.profile).join("mcpd");
        if !program.is_file() {
            self.build();
        }
        assert!(program.is_file(), "no mcpd at {}", program.display());
        program
    }

    fn build(&self) {
        let profile = if self.profile == "debug" { "dev" } else { &self.profile };
        let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "--quiet",
                "--package",
                "mcpd",
                "--bin",
                "mcpd",
                "--profile",
                profile,
                "--target-dir",
            ])
            .arg(&self.target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo can be run");
        assert!(status.success(), "cargo build --package mcpd: {status}");
    }
}
