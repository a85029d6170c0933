//! What lives on when a command has ended: a supervisor and an engine that hold nothing of whoever started them.

use crate::{
    engine_stage::{EngineStage, ended, texts},
    kill_stage::Home,
    support::{Client, TEN_WORDS},
};
use fakes::{FakeEngine, required, wait_until};
use mcpctl::{
    engine::{Record, launch},
    environment::Environment,
    providers_file::ProvidersFile,
};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(10);

fn home() -> Option<Home> {
    Home::new(Client::stranger("http://127.0.0.1:9"))
}

/// Has a shell run `mcpctl providers start NAME`, which is `"$0" "$@"` to it.
fn start_by_shell(home: &Home, script: &str) -> Record {
    let start = home.providers("start", &[]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).arg(start.get_program()).args(start.get_args());
    shell.env_clear().envs(start.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}\n{}", home.told());
    home.record().unwrap()
}

/// Where the descriptors of a process lead; none if that is not for us to see.
fn descriptors(pid: i32) -> Option<Vec<(u32, PathBuf)>> {
    let number = |name: std::ffi::OsString| name.to_str().unwrap().parse().unwrap();
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let links =
        entries.filter_map(|entry| Some((number(entry.file_name()), fs::read_link(entry.path()).ok()?)));
    Some(links.collect())
}

/// Fields of `/proc/PID/stat`, numbered as in `proc(5)`.
fn stat(pid: i32, field: usize) -> i64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = text.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[field - 3].parse().unwrap()
}

#[test]
fn e06_who_lives_on_holds_no_lock_no_pipe_and_no_terminal_of_who_started_it() {
    let Some(home) = home() else { return required("llama-server") };
    let theirs = home.path().join("theirs");
    // Above the numbers that a program gets for its own files, and among them.
    let script = format!("exec 3<>{0} 9<>{0}; flock -n 9 || exit 9; exec \"$0\" \"$@\"", theirs.display());
    let record = start_by_shell(&home, &script);
    let (supervisor, engine) = (record.supervisor.pid, record.engine.unwrap().pid);
    let file = File::open(&theirs).unwrap();
    assert!(file.try_lock().is_ok(), "somebody goes on holding a lock of the shell\n{}", home.told());

    let pipe = PathBuf::from(format!("pipe:[{}]", record.pipe));
    let state = home.path().join(".local/state");
    if let Some(all) = descriptors(supervisor) {
        for (number, target) in &all {
            let target = target.as_path();
            let fits = match number {
                0..=2 => target == Path::new("/dev/null"),
                _ => {
                    target == pipe
                        || target.starts_with(&state)
                        || target == Path::new("anon_inode:[signalfd]")
                }
            };
            assert!(fits, "the supervisor holds {all:?}");
        }
    }
    let all = descriptors(engine).unwrap();
    let foreign = |(_, target): &&(u32, PathBuf)| *target == theirs || target.starts_with(&state);
    assert_eq!(all.iter().find(foreign), None, "the engine holds {all:?}");
    let of = |number| all.iter().find(|(other, _)| *other == number).map(|(_, target)| target.clone());
    assert_eq!((of(0), of(1), of(2)), (Some("/dev/null".into()), Some(pipe.clone()), Some(pipe)));

    // Session and terminal, and who is whose parent.
    for pid in [supervisor, engine] {
        assert_eq!((stat(pid, 6), stat(pid, 7)), (i64::from(pid), 0), "session and terminal of {pid}");
    }
    assert_eq!(stat(engine, 4), i64::from(supervisor));
    // Neither keeps a file system from being unmounted, nor a token from being forgotten.
    if let Ok(folder) = fs::read_link(format!("/proc/{supervisor}/cwd")) {
        assert_eq!(folder, PathBuf::from("/"));
        assert_eq!(fs::read(format!("/proc/{supervisor}/environ")).unwrap(), b"");
    }
    assert_eq!(fs::read_link(format!("/proc/{engine}/cwd")).unwrap(), PathBuf::from("/"));
    home.stop("at the end");
}

#[test]
fn e07_an_end_is_seen_also_where_the_shell_ignores_the_ends_of_children() {
    let Some(home) = home() else { return required("llama-server") };
    let record = start_by_shell(&home, "exec env --ignore-signal=CHLD \"$0\" \"$@\"");
    assert!(record.engine.unwrap().signal(rustix::process::Signal::KILL));
    wait_until(LIMIT, "the end of the supervisor", || !record.supervisor.is_alive());
    assert_eq!(home.status().condition.as_str(), "failed", "{}", home.told());
    home.assert_recovers("after an end that nobody saw");
}

#[test]
fn e05_nothing_is_started_for_a_command_that_was_killed_meanwhile() {
    let Some(home) = home() else { return required("llama-server") };
    let environment = Environment::from([
        ("HOME", home.path().to_str().unwrap()),
        ("XDG_RUNTIME_DIR", home.path().join("run").to_str().unwrap()),
    ]);
    let file = ProvidersFile::load(&home.client.providers_path(), None).unwrap();
    let provider = file.registry.provider(&home.name).unwrap();
    let (place, sockets) = launch::folders(provider, &environment).unwrap();
    let mut launch =
        launch::launch(provider, &environment, place.folder().path().to_owned(), sockets).unwrap();
    launch.unattended = true;
    // As the command does it, and gone before its supervisor can take the lock.
    let mut supervisor = home.raw(["__supervise", &home.name]);
    let mut child = supervisor.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(&launch).unwrap()).unwrap();
    wait_until(LIMIT, "the end of the supervisor", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(home.starts(), [""; 0]);
    home.assert_recovers("after a start for nobody");
}

#[test]
fn e07_an_engine_whose_socket_is_removed_while_it_loads_is_replaced() {
    let engine = FakeEngine::llama().gated();
    let stage = EngineStage::of(&engine, "");
    let child = stage.begin(&[]);
    engine.wait_for_start();
    let socket = PathBuf::from(stage.record()["endpoint"]["unix"].as_str().unwrap());
    wait_until(LIMIT, "the socket", || socket.exists());
    fs::remove_file(&socket).unwrap();
    engine.open_gate();
    let output = ended(child);
    let (stdout, stderr) = texts(&output);
    assert_eq!((output.status.code(), stdout), (Some(0), format!("{TEN_WORDS}\n")), "{stderr}");
    assert!(stage.log().contains("its socket was removed"), "{}", stage.log());
}
