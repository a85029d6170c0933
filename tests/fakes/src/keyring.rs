//! The real GNOME Keyring on a bus of its own, unlocked and empty.

use crate::wait_until;
use std::{
    env,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(30);

/// A keyring that ends with its value. Nothing of it is in the home of whoever runs the tests.
pub struct Keyring {
    dir: TempDir,
    bus: Child,
    daemon: Child,
}

impl Keyring {
    /// Starts one. None if this machine has none: see [`crate::required`] and `scripts/install-keyring`.
    pub fn start() -> Option<Self> {
        let (bus, daemon) = (program("dbus-daemon")?, program("gnome-keyring-daemon")?);
        let dir = TempDir::new().expect("a temporary folder");
        let config = dir.path().join("bus.conf");
        let socket = dir.path().join("bus");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><policy context=\"default\">\
             <allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            socket.display()
        );
        std::fs::write(&config, text).expect("the folder is writable");
        let command = |program: &Path, name: &str| {
            let log = File::create(dir.path().join(name)).expect("the folder is writable");
            let mut command = Command::new(program);
            command.env_clear().env("HOME", dir.path()).env("XDG_RUNTIME_DIR", dir.path());
            command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
            command.stdout(log.try_clone().expect("a file has clones")).stderr(log);
            command
        };
        let config = format!("--config-file={}", config.display());
        let bus =
            command(&bus, "bus.log").args([&config, "--nofork"]).spawn().expect("dbus-daemon can be run");
        wait_until(START_LIMIT, "the bus", || socket.exists());
        let mut daemon = command(&daemon, "keyring.log");
        daemon.args(["--foreground", "--components=secrets", "--unlock"]).stdin(Stdio::piped());
        daemon.env("DBUS_SESSION_BUS_ADDRESS", address(&socket));
        let mut daemon = daemon.spawn().expect("gnome-keyring-daemon can be run");
        // The end of its input is the end of the password.
        let mut input = daemon.stdin.take().expect("it was piped");
        input.write_all(b"password of the keyring").expect("it reads its password");
        drop(input);
        let keyring = Self { dir, bus, daemon };
        wait_until(START_LIMIT, "the keyring", || keyring.file().exists());
        Some(keyring)
    }

    /// What a program needs in its environment to find it.
    pub fn env(&self) -> (&'static str, String) {
        ("DBUS_SESSION_BUS_ADDRESS", address(&self.dir.path().join("bus")))
    }

    /// Where it keeps what it keeps.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join(".local/share/keyrings/login.keyring")
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        for child in [&mut self.daemon, &mut self.bus] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn address(socket: &Path) -> String {
    format!("unix:path={}", socket.display())
}

/// Beside the sources, as `scripts/install-keyring` puts it there; else on PATH.
fn program(name: &str) -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/keyring").join(name);
    let on_path = || {
        env::split_paths(&env::var_os("PATH").unwrap_or_default())
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    };
    Some(installed).filter(|path| path.is_file()).or_else(on_path)
}
