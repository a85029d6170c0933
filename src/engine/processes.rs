//! Processes as the kernel shows them in `/proc`, and signals that reach only the process that was meant.
//!
//! A number is not a process: it is used again. So a process is a number *and* the moment of its start, and a signal
//! goes through a descriptor of the process (pidfd) that was checked after it was opened.

use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

/// A process of the boot that is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Clock ticks from the start of the machine to its own (`/proc/PID/stat`, field 22).
    pub started: u64,
}

/// What `/proc/PID/stat` says.
struct Stat {
    state: char,
    parent: i32,
    threads: u32,
    started: u64,
}

impl Stat {
    /// Its first thread may have ended before the others, which still hold its files, its memory and its graphics card.
    fn has_ended(&self) -> bool {
        self.first_has_ended() && self.threads <= 1
    }

    fn first_has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

impl Process {
    /// The process with this number, if there is one that has not ended.
    #[must_use]
    pub fn find(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        (!stat.has_ended()).then_some(Self { pid, started: stat.started })
    }

    /// This one.
    #[must_use]
    pub fn me() -> Option<Self> {
        Self::find(rustix::process::getpid().as_raw_nonzero().get())
    }

    /// Says whether it has not ended.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Sends a signal to it and to no other; says whether it was there to get it.
    pub fn signal(self, signal: Signal) -> bool {
        self.open().is_some_and(|fd| pidfd_send_signal(fd, signal).is_ok())
    }

    /// A descriptor of it. The check comes after the descriptor: what is found then is what it holds.
    fn open(self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(fd)
    }
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let threads = fields.nth(15)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    Some(Stat { state, parent, threads, started })
}

/// Where a number means a process: the random name that the kernel gave this boot, and the namespace in which the
/// numbers are counted (containers that share a home have their own).
pub fn here() -> std::io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{} {}", boot.trim(), namespace.display()))
}

fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// All processes below this one that have not ended: for a subreaper that is everything that came of its children.
#[must_use]
pub fn descendants() -> Vec<Process> {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let table: Vec<_> = all().filter_map(|pid| stat(pid).map(|stat| (pid, stat))).collect();
    let mut found = vec![me];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(table.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    let alive = |(pid, stat): &(i32, Stat)| {
        let below = found[1..].contains(pid) && !stat.has_ended();
        below.then_some(Process { pid: *pid, started: stat.started })
    };
    table.iter().filter_map(alive).collect()
}

/// The variable that every engine has in its environment, with a value of this start only.
pub const MARK: &str = "MCPCTL_ENGINE";

/// The processes that came of a start whose supervisor is gone.
///
/// Two marks tell them, because programs that rename themselves (vLLM's engine) overwrite their environment: the
/// variable [`MARK`] with a random value, and standard output or standard error into the pipe that the supervisor
/// had made for its log. Numbers of pipes come again after four thousand million; what is older than the start is a
/// stranger in any case.
#[must_use]
pub fn marked(instance: &str, pipe: u64, since: u64) -> Vec<Process> {
    let me = rustix::process::geteuid().as_raw();
    let mark = format!("{MARK}={instance}");
    let pipe = format!("pipe:[{pipe}]");
    let mine = |pid: i32| {
        let folder = format!("/proc/{pid}");
        if fs::metadata(&folder).ok()?.uid() != me && me != 0 {
            return None;
        }
        let process = Process::find(pid).filter(|process| process.started >= since)?;
        let folder = thread_that_lives(pid).unwrap_or(folder);
        let environment = fs::read(format!("{folder}/environ")).unwrap_or_default();
        let writes =
            |fd: u8| fs::read_link(format!("{folder}/fd/{fd}")).is_ok_and(|to| to == Path::new(&pipe));
        let marked = environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        (marked || writes(1) || writes(2)).then_some(process)
    };
    all().filter_map(mine).collect()
}

/// The folder of another thread, where a process has lost its first one: that one shows nothing any more.
fn thread_that_lives(pid: i32) -> Option<String> {
    if !stat(pid)?.first_has_ended() {
        return None;
    }
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|thread| thread.parse().ok().and_then(stat).is_some_and(|stat| !stat.first_has_ended()))
        .map(|thread| format!("/proc/{pid}/task/{thread}"))
}

/// A TCP socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whose it is.
    pub uid: u32,
    /// Its number, as in `/proc/PID/fd`.
    pub inode: u64,
}

/// All TCP sockets of this machine that listen (`proc_net_tcp` in the kernel's documentation).
#[must_use]
pub fn listeners() -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| {
            fs::read_to_string(table).unwrap_or_default().lines().filter_map(listener).collect::<Vec<_>>()
        })
        .collect()
}

fn listener(line: &str) -> Option<Listener> {
    const LISTEN: &str = "0A";
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let address = address_of(address)?;
    let port = u16::from_str_radix(port, 16).ok()?;
    (*fields.get(3)? == LISTEN).then_some(Listener {
        address,
        port,
        uid: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Words of 32 bits in the byte order of the machine, each in hexadecimal.
fn address_of(text: &str) -> Option<IpAddr> {
    let word = |i: usize| u32::from_str_radix(text.get(i * 8..i * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let bytes: Vec<u8> = (0..4).map(word).collect::<Option<Vec<_>>>()?.concat();
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            Some(IpAddr::V6(address).to_canonical())
        }
        _ => None,
    }
}

/// Some process holds the Unix socket that was made with this path, whether it can still be reached there or not.
#[must_use]
pub fn is_bound(socket: &Path) -> bool {
    let table = fs::read("/proc/net/unix").unwrap_or_default();
    let path = [b" ", socket.as_os_str().as_bytes()].concat();
    table.split(|byte| *byte == b'\n').any(|line| line.ends_with(&path))
}

/// The numbers of the sockets that a process holds.
#[must_use]
pub fn sockets(process: Process) -> Vec<u64> {
    let number = |link: &Path| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    let links = fs::read_dir(format!("/proc/{}/fd", process.pid)).into_iter().flatten();
    links.filter_map(|entry| number(&fs::read_link(entry.ok()?.path()).ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::TcpListener,
        process::{Command, Stdio},
    };

    #[test]
    fn e03_a_number_with_another_start_is_another_process() {
        let me = Process::me().unwrap();
        assert!(me.is_alive());
        let forged = Process { started: me.started + 1, ..me };
        assert!(!forged.is_alive());
        // Would end this test if it arrived.
        assert!(!forged.signal(Signal::KILL));
    }

    #[test]
    fn a_process_that_has_ended_is_not_alive_even_before_it_is_waited_for() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let process = Process::find(child.id().try_into().unwrap()).unwrap();
        assert!(descendants().contains(&process));
        assert!(process.signal(Signal::KILL));
        while process.is_alive() {
            std::thread::yield_now();
        }
        assert!(!descendants().contains(&process));
        child.wait().unwrap();
    }

    #[test]
    fn e06_a_process_whose_first_thread_has_ended_is_there_until_the_last_one_has() {
        let script = "import ctypes, threading, time\n\
                      threading.Thread(target=time.sleep, args=[600]).start()\n\
                      ctypes.CDLL(None).pthread_exit(None)";
        let mut python = Command::new("python3");
        python.args(["-c", script]).env(MARK, "e06-threads").stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = python.spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        while !stat(pid).unwrap().first_has_ended() {
            std::thread::yield_now();
        }
        let process = Process::find(pid).unwrap();
        assert_eq!(marked("e06-threads", 0, 0), [process]);
        assert!(descendants().contains(&process));
        assert!(process.signal(Signal::KILL));
        child.wait().unwrap();
        assert!(!process.is_alive());
    }

    #[test]
    fn e06_what_was_started_is_found_by_its_variable_or_by_its_output() {
        let (reader, writer) = std::io::pipe().unwrap();
        let pipe = rustix::fs::fstat(&reader).unwrap().st_ino;
        let mut with_variable = Command::new("cat");
        with_variable.env(MARK, "e06-instance").stdin(Stdio::piped()).stdout(Stdio::null());
        let mut with_output = Command::new("cat");
        with_output.env_remove(MARK).stdin(Stdio::piped()).stdout(writer);
        let mut stranger = Command::new("cat");
        stranger.env(MARK, "e06-instance-2").stdin(Stdio::piped()).stdout(Stdio::null());
        let mut children: Vec<_> =
            [with_variable, with_output, stranger].iter_mut().map(|c| c.spawn().unwrap()).collect();
        // The variable is there once the child has become the program.
        let expected: Vec<i32> = children[..2].iter().map(|child| child.id().try_into().unwrap()).collect();
        let found = || -> Vec<i32> {
            let mut pids: Vec<_> = marked("e06-instance", pipe, 0).iter().map(|p| p.pid).collect();
            pids.sort_unstable();
            pids
        };
        for _ in 0..1000 {
            if found() == expected {
                break;
            }
            std::thread::yield_now();
        }
        // This test holds the reading end, which is no output of a process.
        assert_eq!(found(), expected);
        // Whoever was there before the start did not come of it.
        assert_eq!(marked("e06-instance", pipe, u64::MAX), []);
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_listening_socket_is_seen_with_its_address_and_owner() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let Ok(socket) = TcpListener::bind(address) else { continue };
            let here = socket.local_addr().unwrap();
            let seen = listeners().into_iter().find(|listener| listener.port == here.port()).unwrap();
            assert_eq!(seen.address, here.ip());
            assert_eq!(seen.uid, rustix::process::geteuid().as_raw());
            assert!(sockets(Process::me().unwrap()).contains(&seen.inode));
        }
    }
}
