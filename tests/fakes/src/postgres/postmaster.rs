//! The first process of a cluster, from its start to the end of the last one that it has started.

use crate::{alive, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::Path,
    process::{Command, ExitStatus},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long a start may take, recovery after a crash included; and an end.
const LIMIT: Duration = Duration::from_secs(30);

/// It lives.
#[derive(Debug)]
pub(super) struct Postmaster {
    pid: u32,
    /// Started it and waits for it: a process that is to end with its parent ends with the *thread* that started it.
    keeper: JoinHandle<ExitStatus>,
}

impl Postmaster {
    /// Starts it and waits until it takes connections. Panics with `log` if it does not.
    pub(super) fn start(mut command: Command, data: &Path, log: impl Fn() -> String) -> Self {
        let (tell, told) = mpsc::channel();
        let keeper = thread::spawn(move || {
            let mut child = command.spawn().expect("setpriv of util-linux can be run");
            tell.send(child.id()).expect("the starter waits");
            child.wait().expect("the child is ours")
        });
        let pid = told.recv().expect("it was started");
        let this = Self { pid, keeper };
        let deadline = Instant::now() + LIMIT;
        while !this.is_ready(data) {
            assert!(!this.keeper.is_finished(), "PostgreSQL did not start:\n{}", log());
            if Instant::now() > deadline {
                this.end();
                panic!("PostgreSQL is not ready within {LIMIT:?}:\n{}", log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        this
    }

    /// Looks into the file where it says so. One that was killed has left its own behind.
    fn is_ready(&self, data: &Path) -> bool {
        let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        let is_its_own = lines.next().is_some_and(|pid| pid.trim() == self.pid.to_string());
        is_its_own && lines.nth(6).is_some_and(|state| matches!(state.trim(), "ready" | "standby"))
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it in an orderly way: transactions that are open are undone, clients are sent away.
    pub(super) fn stop(self) {
        self.signal(Signal::INT);
        self.wait();
    }

    /// Ends it the way a crash does, with all that it has started.
    pub(super) fn kill(self) {
        let children = children_of(self.pid);
        self.signal(Signal::KILL);
        self.wait();
        for child in &children {
            // By themselves they would end too, as soon as they see that it is gone.
            let _already_ended = kill_process(pid(*child), Signal::KILL);
        }
        wait_until(LIMIT, "the processes of PostgreSQL are gone", || !children.iter().any(|id| alive(*id)));
    }

    /// Ends it at once and leaves its data as they are.
    pub(super) fn end(self) {
        self.signal(Signal::QUIT);
        self.wait();
    }

    fn signal(&self, signal: Signal) {
        let _already_ended = kill_process(pid(self.pid), signal);
    }

    fn wait(self) {
        let _status = self.keeper.join().expect("the keeper waits only");
    }
}

fn children_of(id: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed()).expect("a process has an id")
}
