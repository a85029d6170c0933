//! A network of its own for one run of a program: the loopback, an address where every packet is lost, and a double of
//! a name server on port 53, which no ordinary user could have otherwise. Doubles outside are reached through ports
//! inside.
//!
//! The namespace is made by `unshare`, for the program and nobody else. A helper in it opens the sockets and hands them
//! out to the test, where threads serve them: so everything but the sockets is where all other doubles are.

mod dns;
mod helper;

pub use dns::Answer;
pub use helper::run as open_sockets;

use crate::{Link, Pace, program};
use dns::NameServer;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::{
    fs,
    io::IoSliceMut,
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread::{self, JoinHandle},
};
use tempfile::TempDir;

/// What is sent to these addresses inside is lost without a word.
pub const LOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The same in IPv6, which every program tries first.
pub const LOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// No way leads here, and the kernel says so at once.
pub const NO_ROUTE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// Brings up the loopback, its own name server, and the sockets; then becomes the program.
const SETUP: &str = r#"PATH=/usr/sbin:/usr/bin:/sbin:/bin
ip link set lo up && ip addr add 192.0.2.9/32 dev lo && ip route add 192.0.2.0/24 dev lo || exit 99
ip -6 addr add 2001:db8::9/128 dev lo && ip -6 route add 2001:db8::/64 dev lo || exit 99
mount --bind "$1/resolv.conf" /etc/resolv.conf || exit 99
[ ! -e /etc/nsswitch.conf ] || mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf || exit 99
"$2" "$1/handover" $3 || exit 99
shift 3
exec "$@""#;

/// What this network is to look like to a program.
#[derive(Debug, Default)]
pub struct OwnNetwork {
    answers: Vec<Answer>,
    ways: Vec<(SocketAddr, SocketAddr)>,
}

/// A program that has run in it, and what the name server was asked.
#[derive(Debug)]
pub struct Ran {
    /// How it ended, and what it wrote.
    pub output: Output,
    /// Each name that was looked up, as often as it was.
    pub lookups: Vec<String>,
}

impl OwnNetwork {
    /// The n-th lookup of a name gets the n-th answer, the last one repeats.
    pub fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: answers.into_iter().collect(), ways: Vec::new() }
    }

    /// Whoever connects to `inside` there is connected with `outside` here.
    #[must_use]
    pub fn way(mut self, inside: impl Into<SocketAddr>, outside: SocketAddr) -> Self {
        self.ways.push((inside.into(), outside));
        self
    }

    /// Says whether this machine lets an ordinary user have one.
    pub fn can_be_had() -> bool {
        let network = Self::answering([Answer::NoSuchName]);
        network.run(&Command::new("true")).output.status.success()
    }

    /// Runs a program in it to its end. Its environment is exactly what the command says.
    pub fn run(&self, inner: &Command) -> Ran {
        let dir = TempDir::new().expect("a temporary folder");
        let file = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("it is writable");
        file("resolv.conf", "nameserver 127.0.0.1\n");
        file("nsswitch.conf", "hosts: files dns\n");
        let handover = UnixListener::bind(dir.path().join("handover")).expect("a socket in a folder of ours");
        let inside: Vec<String> = self.ways.iter().map(|(inside, _)| inside.to_string()).collect();
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "--net", "sh", "-c", SETUP, "sh"])
            .arg(dir.path())
            .arg(helper_program())
            .arg(inside.join(" "))
            .arg(inner.get_program())
            .args(inner.get_args())
            .env_clear()
            .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null());
        let serving = self.serve(handover);
        let output = command.output().expect("unshare can be run");
        // Where nothing was set up, nobody has come: the one who waits is let go.
        drop(UnixStream::connect(dir.path().join("handover")));
        let served = serving.join().expect("the doubles stand");
        let lookups = served.map_or_else(Vec::new, |(names, _links)| names.lookups());
        Ran { output, lookups }
    }

    /// Takes the sockets from the helper and serves them for as long as what it returns lives. None came: none.
    fn serve(&self, handover: UnixListener) -> JoinHandle<Option<(NameServer, Vec<Link>)>> {
        let (answers, ways) = (self.answers.clone(), self.ways.clone());
        thread::spawn(move || {
            let (helper, _) = handover.accept().expect("a listener of ours");
            let mut sockets = received(&helper).into_iter();
            let names = NameServer::start(UdpSocket::from(sockets.next()?), answers);
            let link = |(socket, (_, to)): (OwnedFd, (SocketAddr, SocketAddr))| {
                Link::at(TcpListener::from(socket), to, Pace::Straight, false)
            };
            Some((names, sockets.zip(ways).map(link).collect()))
        })
    }
}

/// How many sockets may be handed over at once.
const SOCKETS_MAX: usize = 8;

fn received(helper: &UnixStream) -> Vec<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    recvmsg(helper, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC).expect("the helper speaks or is gone");
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    rights.flatten().collect()
}

fn helper_program() -> PathBuf {
    program::find("mcp-fakes", "fake-network")
}

impl Ran {
    /// The exit code; panics if the network could not be set up.
    pub fn code(&self) -> Option<i32> {
        let code = self.output.status.code();
        assert_ne!(code, Some(99), "{}", self.stderr());
        code
    }

    /// What it wrote to stdout.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it wrote to stderr.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evild, required, wire};

    #[test]
    fn a_program_inside_has_its_own_names_and_reaches_what_it_is_let() {
        if !OwnNetwork::can_be_had() {
            return required("user and network namespaces, and ip");
        }
        let evild = Evild::answering(wire::http(200, &[], "hello from outside"));
        let here = || Answer::Addresses(vec!["127.0.0.2".parse().unwrap()]);
        let network = OwnNetwork::answering([here(), Answer::NoSuchName, Answer::Failure, here()])
            .way(([127, 0, 0, 2], 80), evild.addr());
        let script = "getent ahostsv4 a.example; for n in b c; do getent ahostsv4 $n.example || echo $n; done
            exec 3<>/dev/tcp/d.example/80; printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3";
        let ran = network.run(Command::new("bash").args(["-c", script]).env("PATH", "/usr/bin:/bin"));
        let stdout = ran.stdout();
        assert!(stdout.starts_with("127.0.0.2 ") && stdout.contains("\nb\nc\nHTTP/1.1 200"), "{ran:?}");
        assert!(stdout.ends_with("hello from outside"), "{ran:?}");
        assert_eq!(ran.lookups, ["a.example", "b.example", "c.example", "d.example"]);
    }
}
