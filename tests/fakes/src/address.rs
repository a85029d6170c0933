//! Addresses at which nothing answers: refused at once, or silent for ever.

use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, listen, socket_with, sockopt};
use rustix::{event, net::SocketFlags};
use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::OwnedFd,
    time::Duration,
};

/// A loopback port that is taken, so that nobody else gets it, but where nobody listens: connections are refused.
#[derive(Debug)]
pub struct Refusing {
    addr: SocketAddr,
    _port: OwnedFd,
}

impl Refusing {
    /// Takes a free port.
    #[expect(clippy::new_without_default, reason = "taking a port is no default")]
    pub fn new() -> Self {
        Self::at(0)
    }

    /// Takes a port that something has just stopped listening at.
    pub(crate) fn at(port: u16) -> Self {
        let (addr, port) = bound(port);
        Self { addr, _port: port }
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address as the base of a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

/// A loopback port whose queue is full: the kernel drops each further SYN, so that connecting takes for ever.
#[derive(Debug)]
pub struct Blackhole {
    addr: SocketAddr,
    _held: Vec<OwnedFd>,
}

impl Blackhole {
    /// Takes a free port and fills its queue.
    #[expect(clippy::new_without_default, reason = "taking a port is no default")]
    pub fn new() -> Self {
        let (addr, listener) = bound(0);
        listen(&listener, 0).expect("a queue");
        let mut held = vec![listener];
        loop {
            let filler = socket_with(
                AddressFamily::INET,
                SocketType::STREAM,
                SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
                None,
            )
            .expect("a socket");
            let _in_progress = connect(&filler, &addr);
            let mut fds = [event::PollFd::new(&filler, event::PollFlags::OUT)];
            let patience = Duration::from_millis(200).try_into().expect("a short time");
            let accepted = event::poll(&mut fds, Some(&patience)).expect("poll works") == 1;
            held.push(filler);
            if !accepted {
                return Self { addr, _held: held };
            }
        }
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address as the base of a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

fn bound(port: u16) -> (SocketAddr, OwnedFd) {
    let fd =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    // A listener that takes the port over, or left it just now, needs this on both sides.
    sockopt::set_socket_reuseaddr(&fd, true).expect("the option is known");
    bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).expect("a port on loopback");
    let addr = getsockname(&fd).expect("a bound socket has a name");
    (addr.try_into().expect("an internet address"), fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::ErrorKind,
        net::{TcpListener, TcpStream},
    };

    #[test]
    fn a_refusing_address_refuses_and_stays_taken() {
        let refusing = Refusing::new();
        let error = TcpStream::connect(refusing.addr()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        for _ in 0..500 {
            assert_ne!(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(), refusing.addr());
        }
    }

    #[test]
    fn a_listener_can_take_a_refusing_port_over() {
        let refusing = Refusing::new();
        let listener = TcpListener::bind(refusing.addr()).unwrap();
        drop(refusing);
        assert!(TcpStream::connect(listener.local_addr().unwrap()).is_ok());
    }

    #[test]
    fn a_black_hole_neither_accepts_nor_refuses() {
        let hole = Blackhole::new();
        let error = TcpStream::connect_timeout(&hole.addr(), Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
