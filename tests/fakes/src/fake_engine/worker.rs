//! Child processes of an engine that do nothing but live, and outlive their parent.

use super::{Worker, notes::Notes};
use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Child, Command, Stdio, exit},
    thread,
    time::Duration,
};

/// The first argument of one.
const WORKER: &str = "worker";
/// The name of one that has taken another.
const OTHER_NAME: &str = "VLLM::EngineCore";
/// Nobody stops those of a test that failed.
const SAFETY_NET: Duration = Duration::from_mins(2);

/// Starts one and waits until it is what it is to be; then it is in the notes.
pub(super) fn start(worker: Worker, notes: &Notes) -> Child {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut command = Command::new(env::current_exe().expect("a process knows its program"));
    command.arg(WORKER).args(worker.setsid.then_some("setsid")).args(worker.rename.then_some("rename"));
    command.stdin(OwnedFd::from(theirs));
    if worker.close_output {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    let child = command.spawn().expect("a worker can be started");
    drop(command);
    ours.read_exact(&mut [0]).expect("a worker says when it lives");
    notes.line("workers", &child.id().to_string());
    child
}

/// Goes on as a worker, and does not return, if the arguments (with the name of the program) are those of one.
pub(super) fn become_one(args: &[String]) {
    if args.first().is_some_and(|name| name == OTHER_NAME) {
        live();
    }
    if args.get(1).is_some_and(|first| first == WORKER) {
        let told = |what: &str| args[2..].iter().any(|arg| arg == what);
        if told("setsid") {
            rustix::process::setsid().expect("a child leads no group");
        }
        if told("rename") {
            let program = env::current_exe().expect("a process knows its program");
            panic!("exec: {}", Command::new(program).arg0(OTHER_NAME).env_clear().exec());
        }
        live();
    }
}

fn live() -> ! {
    let parent = io::stdin().as_fd().try_clone_to_owned().expect("it has a parent");
    File::from(parent).write_all(b".").expect("the parent waits");
    thread::sleep(SAFETY_NET);
    exit(0)
}
