//! Where the program listens: a port or a path.

use super::command_line::Address;
use rustix::net::shutdown;
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
};

/// Either kind.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(super) fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address).map(Self::Tcp),
            Address::Unix(path) => UnixListener::bind(path).map(Self::Unix),
        }
    }

    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Self::Unix(_) => None,
        }
    }

    pub(super) fn accept(&self) -> io::Result<Box<dyn Socket>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (socket, _) = listener.accept()?;
                let _peer_is_gone = socket.set_nodelay(true);
                Box::new(socket)
            }
            Self::Unix(listener) => Box::new(listener.accept()?.0),
        })
    }

    /// Accepts nobody any more.
    pub(super) fn refuse(&self) {
        let listener = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        };
        shutdown(listener, rustix::net::Shutdown::Both).expect("a listener can be shut down");
    }
}

/// A connection.
pub(super) trait Socket: Read + Write + AsFd + Send {}
impl Socket for TcpStream {}
impl Socket for UnixStream {}
