//! Kills a program, or one that it starts, between two given system calls: the way to find out what a crash leaves
//! behind, for every crash there is.
//!
//! What a killed process leaves behind changes only where a system call changes something outside of it (a file, a
//! process, a message). So the kills before each of those calls are all kills that can be told apart; [`When::Call`]
//! is for those who do not believe that.

use nix::{
    errno::Errno,
    libc as c,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A program to run under the tracer.
pub struct Traced {
    /// Its absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where its two outputs go.
    pub output: File,
}

/// Which process is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The program itself.
    Itself,
    /// What it starts, as long as that is the same program.
    Child,
    /// What one of those starts, as long as that is the same program.
    Grandchild,
}

/// When it is killed. All numbers begin with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before this system call.
    Call(usize),
    /// Before this one of the system calls that change something outside of the process.
    Change(usize),
    /// Not at all: its calls are counted.
    Never,
}

/// What the tracer has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The program itself has ended, with this exit code if no signal ended it.
    Ended(Option<i32>),
    /// The process that was meant is dead; carries the number of the call that it was about to make.
    Killed(u64),
}

/// A running program under the tracer, until this value goes.
pub struct Tracer {
    doorbell: Option<ChildStdin>,
    shared: Arc<Shared>,
    seen: Receiver<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    counting: AtomicBool,
    calls: AtomicUsize,
    changes: AtomicUsize,
}

impl Tracer {
    /// Whether this machine lets a test trace its children: some containers do not.
    pub fn is_allowed() -> bool {
        let mut child = Command::new("cat");
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat can be run");
        let allowed = ptrace::seize(pid_of(child.id()), Options::empty()).is_ok();
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        allowed
    }

    /// Starts a program. Its calls do not count before [`Tracer::count`] is called, unless `counting`.
    pub fn start(traced: Traced, who: Who, when: When, counting: bool) -> Self {
        let (tell, seen) = channel();
        let shared = Arc::new(Shared { counting: counting.into(), ..Shared::default() });
        let (give, doorbell) = channel();
        let of_thread = Arc::clone(&shared);
        // Only the thread that traces a process may do anything to it, and it lets all of them go when it ends. It
        // waits for processes only; so what tells it to end is one.
        let thread = thread::spawn(move || {
            #[expect(clippy::zombie_processes, reason = "waited for by its number, like all others here")]
            let mut bell = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .expect("cat can be run");
            give.send(bell.stdin.take().expect("it has one")).expect("it is waited for");
            let bell = pid_of(bell.id());
            Thread::new(&traced, who, when, of_thread, tell).run(bell);
            let _gone = kill(bell, Signal::SIGKILL);
            let _gone = waitpid(bell, None);
        });
        let doorbell = doorbell.recv().expect("the tracer lives");
        Self { doorbell: Some(doorbell), shared, seen, thread: Some(thread) }
    }

    /// From now on calls count.
    pub fn count(&self) {
        self.shared.counting.store(true, Ordering::SeqCst);
    }

    /// How many calls were counted, and how many of them change something.
    pub fn counted(&self) -> (usize, usize) {
        (self.shared.calls.load(Ordering::SeqCst), self.shared.changes.load(Ordering::SeqCst))
    }

    /// What happens next; none if nothing does within this time, or ever.
    pub fn next(&self, limit: Duration) -> Option<Seen> {
        self.seen.recv_timeout(limit).ok()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        drop(self.doorbell.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the tracer has failed");
    }
}

fn pid_of(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}

struct Thread {
    program: PathBuf,
    root: Pid,
    who: Who,
    when: When,
    shared: Arc<Shared>,
    tell: Sender<Seen>,
    /// Those whose beginning was seen.
    processes: BTreeMap<Pid, Who>,
    /// The shell has become the program.
    begun: bool,
    /// Those that have stopped before their beginning was seen.
    early: BTreeSet<Pid>,
    /// The one that was killed, and before which call.
    victim: Option<(Pid, u64)>,
}

impl Thread {
    fn new(traced: &Traced, who: Who, when: When, shared: Arc<Shared>, tell: Sender<Seen>) -> Self {
        #[expect(clippy::zombie_processes, reason = "waited for by its number, like all others here")]
        // The shell waits for a line, so that the tracer is there before the program is.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read -r go && exec \"$0\" \"$@\" </dev/null"])
            .arg(&traced.program)
            .args(&traced.args)
            .env_clear()
            .envs(traced.env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(traced.output.try_clone().expect("a file has clones"))
            .stderr(traced.output.try_clone().expect("a file has clones"))
            .spawn()
            .expect("sh can be run");
        let root = pid_of(child.id());
        let base = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC;
        let more = match who {
            Who::Itself => Options::PTRACE_O_TRACECLONE,
            Who::Child | Who::Grandchild => Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK,
        };
        ptrace::seize(root, base | more).expect("a child may be traced");
        child.stdin.take().expect("it has one").write_all(b"go\n").expect("it reads");
        Self {
            program: traced.program.canonicalize().expect("it exists"),
            root,
            who,
            when,
            shared,
            tell,
            processes: BTreeMap::from([(root, Who::Itself)]),
            begun: false,
            early: BTreeSet::new(),
            victim: None,
        }
    }

    /// Until both the program and the process that was meant have ended, or the doorbell has.
    fn run(mut self, bell: Pid) {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) if pid == bell => return,
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid, Some(code)),
                Ok(WaitStatus::Signaled(pid, ..)) => self.ended(pid, None),
                Ok(WaitStatus::PtraceEvent(pid, _, event)) => self.event(pid, event),
                Ok(WaitStatus::PtraceSyscall(pid)) => self.syscall(pid),
                Ok(WaitStatus::Stopped(pid, signal)) => self.go_on(pid, Some(signal)),
                Ok(WaitStatus::Continued(_) | WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
                Err(error) => panic!("waitpid: {error}"),
            }
            let lives = |pid| self.processes.contains_key(&pid);
            if !lives(self.root) && self.victim.is_some_and(|(victim, _)| !lives(victim)) {
                return;
            }
        }
    }

    fn ended(&mut self, pid: Pid, code: Option<i32>) {
        self.processes.remove(&pid);
        if let Some((victim, call)) = self.victim
            && victim == pid
        {
            self.say(Seen::Killed(call));
        }
        if pid == self.root {
            self.say(Seen::Ended(code));
        }
    }

    fn say(&self, seen: Seen) {
        let _nobody_listens = self.tell.send(seen);
    }

    fn event(&mut self, pid: Pid, event: i32) {
        match event {
            c::PTRACE_EVENT_EXEC => {
                let now = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
                self.begun |= now == self.program;
                // The shell itself may still be about to begin.
                if now != self.program && self.begun {
                    self.processes.remove(&pid);
                    let _gone = ptrace::detach(pid, None);
                    return;
                }
            }
            c::PTRACE_EVENT_FORK | c::PTRACE_EVENT_VFORK | c::PTRACE_EVENT_CLONE => {
                let child = ptrace::getevent(pid).expect("it has just stopped");
                let child = Pid::from_raw(i32::try_from(child).expect("a process id"));
                let who = match self.processes.get(&pid) {
                    Some(who) if event == c::PTRACE_EVENT_CLONE => *who,
                    Some(Who::Itself) => Who::Child,
                    _ => Who::Grandchild,
                };
                self.processes.insert(child, who);
                if self.early.remove(&child) {
                    self.go_on(child, None);
                }
            }
            c::PTRACE_EVENT_STOP if !self.processes.contains_key(&pid) => {
                self.early.insert(pid);
                return;
            }
            _ => {}
        }
        self.go_on(pid, None);
    }

    fn syscall(&mut self, pid: Pid) {
        let entry = ptrace::syscall_info(pid).is_ok_and(|info| info.op == c::PTRACE_SYSCALL_INFO_ENTRY);
        if entry && self.is_meant(pid) && self.victim.is_none() && self.shared.counting.load(Ordering::SeqCst)
        {
            let call = Call::of(pid);
            let change = usize::from(call.changes_something);
            let calls = self.shared.calls.fetch_add(1, Ordering::SeqCst) + 1;
            let changes = self.shared.changes.fetch_add(change, Ordering::SeqCst) + change;
            let now = match self.when {
                When::Call(at) => calls == at,
                When::Change(at) => change == 1 && changes == at,
                When::Never => false,
            };
            if now && kill(pid, Signal::SIGKILL).is_ok() {
                // The kernel does not begin the call any more.
                self.victim = Some((pid, call.number));
                return;
            }
        }
        self.go_on(pid, None);
    }

    fn is_meant(&self, pid: Pid) -> bool {
        self.begun && self.processes.get(&pid) == Some(&self.who)
    }

    /// Only the process that is meant stops at each call.
    fn go_on(&self, pid: Pid, signal: Option<Signal>) {
        // One that was killed in the meantime is not there to go on.
        let _gone = if self.is_meant(pid) && self.victim.is_none() {
            ptrace::syscall(pid, signal)
        } else {
            ptrace::cont(pid, signal)
        };
    }
}

/// A system call that is about to be made.
struct Call {
    number: u64,
    changes_something: bool,
}

impl Call {
    /// What is not known to be harmless counts as a change, and here nothing is known.
    #[cfg(not(target_arch = "x86_64"))]
    fn of(_: Pid) -> Self {
        Self { number: u64::MAX, changes_something: true }
    }

    #[cfg(target_arch = "x86_64")]
    fn of(pid: Pid) -> Self {
        let Ok(registers) = ptrace::getregs(pid) else {
            // It was killed in the meantime.
            return Self { number: u64::MAX, changes_something: true };
        };
        let number = registers.orig_rax;
        let changes_something = match i64::try_from(number) {
            Ok(c::SYS_openat) => {
                let makes = registers.rdx & u64::from((c::O_CREAT | c::O_TRUNC).cast_unsigned()) != 0;
                makes && !is_there(pid, registers.rdi, registers.rsi)
            }
            Ok(number) => !HARMLESS.contains(&number),
            Err(_) => true,
        };
        Self { number, changes_something }
    }
}

/// The file whose path stands at this address exists.
#[cfg(target_arch = "x86_64")]
fn is_there(pid: Pid, folder: u64, address: u64) -> bool {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let mut path = Vec::new();
    while !path.contains(&0) {
        let word = usize::try_from(address).ok().and_then(|address| {
            ptrace::read(pid, std::ptr::without_provenance_mut(address + path.len())).ok()
        });
        match word {
            Some(word) if path.len() < 4096 => path.extend(word.to_ne_bytes()),
            Some(_) | None => return false,
        }
    }
    let path = OsStr::from_bytes(path.split(|byte| *byte == 0).next().unwrap_or_default());
    PathBuf::from(format!("/proc/{pid}/fd/{folder}")).join(path).exists()
}

/// They read, or change only the process itself: its locks, mappings and descriptors go with it.
#[cfg(target_arch = "x86_64")]
const HARMLESS: &[i64] = &[
    c::SYS_arch_prctl,
    c::SYS_access,
    c::SYS_brk,
    c::SYS_clock_gettime,
    c::SYS_clock_nanosleep,
    c::SYS_close,
    c::SYS_connect,
    c::SYS_dup2,
    c::SYS_dup3,
    c::SYS_fcntl,
    c::SYS_flock,
    c::SYS_fstat,
    c::SYS_fsync,
    c::SYS_futex,
    c::SYS_getcwd,
    c::SYS_getdents64,
    c::SYS_getegid,
    c::SYS_geteuid,
    c::SYS_getgid,
    c::SYS_getpid,
    c::SYS_getppid,
    c::SYS_getrandom,
    c::SYS_getsockopt,
    c::SYS_gettid,
    c::SYS_getuid,
    c::SYS_ioctl,
    c::SYS_lseek,
    c::SYS_madvise,
    c::SYS_mmap,
    c::SYS_mprotect,
    c::SYS_mremap,
    c::SYS_munmap,
    c::SYS_newfstatat,
    c::SYS_pidfd_open,
    c::SYS_pipe2,
    c::SYS_poll,
    c::SYS_ppoll,
    c::SYS_prctl,
    c::SYS_pread64,
    c::SYS_prlimit64,
    c::SYS_read,
    c::SYS_readlink,
    c::SYS_readlinkat,
    c::SYS_recvfrom,
    c::SYS_restart_syscall,
    c::SYS_rseq,
    c::SYS_rt_sigaction,
    c::SYS_rt_sigprocmask,
    c::SYS_sendto,
    c::SYS_sched_getaffinity,
    c::SYS_set_robust_list,
    c::SYS_set_tid_address,
    c::SYS_setsid,
    c::SYS_setsockopt,
    c::SYS_sigaltstack,
    c::SYS_signalfd4,
    c::SYS_socket,
    c::SYS_statx,
];
