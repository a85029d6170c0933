//! Where an engine listens, and the check that it is ours before a byte goes there.

use super::processes::{self, Listener};
use httparse::{EMPTY_HEADER, Response, Status};
use mcp_api::Secret;
use rustix::{
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with, sockopt::socket_peercred},
    process::geteuid,
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// A socket in a folder of ours.
    Unix(PathBuf),
    /// A port of 127.0.0.1.
    Tcp(u16),
}

/// Why a question to an engine brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there (yet).
    #[error("nobody listens")]
    Refused,
    /// Somebody else is there; nothing was sent.
    #[error("{0}")]
    Stranger(String),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// Anything else.
    #[error("{0}")]
    Broken(String),
}

/// An answer, as far as readiness needs it.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// The largest answer that is read, in bytes.
const REPLY_MAX: u64 = 1 << 20;

impl Endpoint {
    /// Says that whoever listens here is a process of ours, as far as that can be known without a connection.
    ///
    /// A socket file: nobody else can put one into a folder of mode 0700. A port: every socket that listens on it is
    /// of our user and on loopback only.
    pub fn check(&self) -> Result<(), AskError> {
        match self {
            Self::Unix(path) => check_folder(path),
            Self::Tcp(port) => {
                let all = processes::listeners();
                check_listeners(*port, all.iter().filter(|listener| listener.port == *port))
            }
        }
    }

    /// Removes what it leaves on disk. An engine that comes later would find its address taken.
    pub fn remove(&self) {
        match self {
            Self::Unix(socket) => drop(fs::remove_file(socket)),
            Self::Tcp(_) => {}
        }
    }

    /// Asks one question by GET. The peer is checked before the first byte, on this connection.
    pub fn get(&self, path: &str, key: Option<&Secret>, limit: Duration) -> Result<Reply, AskError> {
        self.check()?;
        match self {
            Self::Unix(socket) => {
                let stream = connect(socket).map_err(|error| broken(&error))?;
                let peer = socket_peercred(&stream).map_err(|error| broken(&error.into()))?.uid;
                if peer != geteuid() {
                    return Err(AskError::Stranger(format!("its socket is held by uid {}", peer.as_raw())));
                }
                stream.set_read_timeout(Some(limit)).map_err(|error| broken(&error))?;
                stream.set_write_timeout(Some(limit)).map_err(|error| broken(&error))?;
                exchange(stream, path, key, limit)
            }
            Self::Tcp(port) => {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
                let stream = TcpStream::connect_timeout(&address, limit).map_err(|error| broken(&error))?;
                // Who listened when this connection was made was looked at before it and is looked at after it.
                self.check()?;
                stream.set_read_timeout(Some(limit)).map_err(|error| broken(&error))?;
                stream.set_write_timeout(Some(limit)).map_err(|error| broken(&error))?;
                exchange(stream, path, key, limit)
            }
        }
    }
}

/// Connects without waiting for a place in the queue: a server that takes nobody from it would hold us for ever.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    let stream = UnixStream::from(stream);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn check_folder(socket: &Path) -> Result<(), AskError> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let meta = fs::symlink_metadata(folder).map_err(|error| broken(&error))?;
    if !meta.is_dir() || meta.uid() != geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        let folder = folder.display();
        return Err(AskError::Stranger(format!(
            "{folder} is not a folder of yours alone (chmod 700 {folder})"
        )));
    }
    Ok(())
}

fn check_listeners<'a>(port: u16, all: impl Iterator<Item = &'a Listener>) -> Result<(), AskError> {
    let me = geteuid().as_raw();
    let mut found = false;
    for listener in all {
        // Who listens on another address only does not get what is sent to 127.0.0.1.
        let gets_ours =
            listener.address == IpAddr::V4(Ipv4Addr::LOCALHOST) || listener.address.is_unspecified();
        if listener.uid != me && !gets_ours {
            continue;
        }
        found |= gets_ours;
        if listener.uid != me {
            let owner = listener.uid;
            return Err(AskError::Stranger(format!("port {port} is held by another user (uid {owner})")));
        }
        if !listener.address.is_loopback() {
            let address = listener.address;
            return Err(AskError::Stranger(format!("port {port} is open to others, on {address}")));
        }
    }
    if found { Ok(()) } else { Err(AskError::Refused) }
}

fn exchange(
    mut stream: impl Read + Write,
    path: &str,
    key: Option<&Secret>,
    limit: Duration,
) -> Result<Reply, AskError> {
    let started = Instant::now();
    let bearer = key.map_or(String::new(), |key| format!("Authorization: Bearer {}\r\n", key.expose()));
    // HTTP/1.0: the answer has no chunks, and ends with its length or with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{bearer}\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| broken(&error))?;
    let mut stream = stream.take(REPLY_MAX);
    let (mut answer, mut piece) = (Vec::new(), [0; 8 << 10]);
    while !is_whole(&answer) {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(_) if started.elapsed() > limit => return Err(AskError::TimedOut),
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Some servers keep the connection all the same; what has arrived may be whole.
            Err(error) if is_late(&error) && !answer.is_empty() => break,
            Err(error) => return Err(broken(&error)),
        }
    }
    let mut headers = [EMPTY_HEADER; 64];
    let mut head = Response::new(&mut headers);
    match head.parse(&answer) {
        Ok(Status::Complete(length)) => {
            Ok(Reply { status: head.code.unwrap_or_default(), body: answer.split_off(length) })
        }
        Ok(Status::Partial) if answer.is_empty() => Err(AskError::Broken("closed without an answer".into())),
        Ok(Status::Partial) | Err(_) => Err(AskError::Broken("the answer is not HTTP".into())),
    }
}

/// All that the answer says it holds has arrived. One that does not say so ends with its connection.
fn is_whole(answer: &[u8]) -> bool {
    let mut headers = [EMPTY_HEADER; 64];
    let mut head = Response::new(&mut headers);
    let Ok(Status::Complete(begin)) = head.parse(answer) else { return false };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length =
        length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse::<usize>().ok());
    length.is_some_and(|length| answer.len() - begin >= length)
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn broken(error: &io::Error) -> AskError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => AskError::Refused,
        _ if is_late(error) => AskError::TimedOut,
        _ => AskError::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e01_only_a_listener_of_ours_on_loopback_is_ours() {
        let me = geteuid().as_raw();
        let listener =
            |uid, address: &str| Listener { address: address.parse().unwrap(), port: 1, uid, inode: 1 };
        let check = |all: &[Listener]| check_listeners(1, all.iter());
        assert!(check(&[listener(me, "127.0.0.1")]).is_ok());
        assert!(matches!(check(&[]), Err(AskError::Refused)));
        for stranger in [
            vec![listener(me + 1, "127.0.0.1")],
            vec![listener(me, "127.0.0.1"), listener(me + 1, "127.0.0.1")],
            vec![listener(me, "0.0.0.0")],
            vec![listener(me, "127.0.0.1"), listener(me, "::")],
        ] {
            assert!(matches!(check(&stranger), Err(AskError::Stranger(_))), "{stranger:?}");
        }
        // Another program on the same port of another address is no business of ours, and no engine of ours either.
        assert!(check(&[listener(me, "127.0.0.1"), listener(me + 1, "::1")]).is_ok());
        assert!(matches!(check(&[listener(me + 1, "::1")]), Err(AskError::Refused)));
    }

    #[test]
    fn a_server_whose_queue_is_full_is_late_and_holds_nobody() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let socket = folder.path().join("s");
        let address = SocketAddrUnix::new(&socket).unwrap();
        let server = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&server, &address).unwrap();
        rustix::net::listen(&server, 0).unwrap();
        let waiting: Vec<_> = std::iter::from_fn(|| connect(&socket).ok()).take(100).collect();
        assert!(!waiting.is_empty() && waiting.len() < 100);
        let asked = Endpoint::Unix(socket).get("/health", None, Duration::from_secs(1));
        assert!(matches!(asked, Err(AskError::TimedOut)), "{asked:?}");
    }

    #[test]
    fn an_answer_is_whole_with_its_length_though_the_connection_stays_open() {
        use std::os::unix::net::UnixStream;
        let limit = Duration::from_mins(1);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
            .unwrap();
        let reply = exchange(ours, "/health", None, limit).unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (200, &b"ok"[..]));
        // Without a length the end of the connection is the end.
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"HTTP/1.0 200 OK\r\n\r\nall of it").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(exchange(ours, "/health", None, limit).unwrap().body, b"all of it");
    }

    #[test]
    fn e01_a_socket_in_a_folder_that_others_may_use_is_not_asked() {
        use std::os::unix::{fs::PermissionsExt, net::UnixListener};
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let endpoint = Endpoint::Unix(socket);
        let asked = endpoint.get("/health", None, Duration::from_secs(1));
        assert!(matches!(asked, Err(AskError::Stranger(_))), "{asked:?}");
        assert!(listener.accept().is_err(), "it was connected to");
    }
}
