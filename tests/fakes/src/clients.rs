//! Programs of other people that talk to mcpd: what `scripts/install-clients` has brought.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// One of the programs in `.tools/clients/bin`, such as `python`, `llm` or `schemathesis`, with an environment that has
/// nothing but `PATH` and a `HOME`. None if it is not there: see [`crate::required`].
pub fn client(program: &str, home: &Path) -> Option<Command> {
    let path = folder().join("bin").join(program);
    if !path.is_file() {
        return None;
    }
    let mut command = Command::new(path);
    command
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", home)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(home)
        .stdin(Stdio::null());
    Some(command)
}

/// `$MCPCTL_TEST_CLIENTS`, else where `scripts/install-clients` puts them.
fn folder() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/clients");
    env::var_os("MCPCTL_TEST_CLIENTS").map_or_else(own, PathBuf::from)
}
