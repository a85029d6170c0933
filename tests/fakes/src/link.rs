//! A double of the network between a program and one server: passes every byte on, at its own pace, and keeps what
//! the program sent as it went over the wire. It can also play a proxy that opens a tunnel.

use crate::http::Head;
use std::{
    io::{self, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// How the bytes of one direction travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As they come.
    Straight,
    /// The first piece after a silence of its direction takes this time, as on a long way.
    Late(Duration),
    /// One byte a segment.
    Crumbs,
    /// Segments of all sizes with pauses of all lengths between them, the same ones in each run.
    Jitter,
}

/// The network to one server. Ends all its connections when it is dropped.
pub struct Link {
    addr: SocketAddr,
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    to: SocketAddr,
    pace: Pace,
    /// A client names its target by CONNECT first, and gets this one whatever it names.
    tunnels: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stopping: bool,
    /// What each connection brought from the program.
    sent: Vec<Vec<u8>>,
    sockets: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Link {
    /// Stands before a server.
    pub fn before(to: SocketAddr, pace: Pace) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        Self::at(listener, to, pace, false)
    }

    /// A proxy for https: answers every CONNECT with 200, and is the way to this server from then on.
    pub fn tunnel(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        Self::at(listener, to, Pace::Straight, true)
    }

    /// Takes connections from a listener that somebody else has made, perhaps in another network.
    pub(crate) fn at(listener: TcpListener, to: SocketAddr, pace: Pace, tunnels: bool) -> Self {
        let addr = listener.local_addr().expect("a bound socket has a name");
        let listener = Arc::new(listener);
        let shared = Arc::new(Shared { to, pace, tunnels, state: Mutex::default() });
        let acceptor = {
            let (listener, shared) = (Arc::clone(&listener), Arc::clone(&shared));
            thread::spawn(move || accept(&listener, &shared))
        };
        Self { addr, listener, shared, acceptor: Some(acceptor) }
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address as the base of a URL of plain HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.state().sent.len()
    }

    /// What the n-th connection brought from the program, counted from 0, as it went over the wire.
    pub fn sent(&self, connection: usize) -> Vec<u8> {
        self.shared.state().sent[connection].clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.state().stopping = true;
        rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both)
            .expect("a listener can be shut down");
        if let Some(acceptor) = self.acceptor.take() {
            let _has_told = acceptor.join();
        }
        let threads = {
            let mut state = self.shared.state();
            for socket in &state.sockets {
                let _already_gone = socket.shutdown(Shutdown::Both);
            }
            std::mem::take(&mut state.threads)
        };
        for thread in threads {
            let _has_told = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let mut state = shared.state();
        if state.stopping {
            return;
        }
        let Ok(client) = client else { continue };
        state.sockets.push(client.try_clone().expect("a descriptor is left"));
        let number = state.sent.len();
        state.sent.push(Vec::new());
        let connection = Arc::clone(shared);
        state.threads.push(thread::spawn(move || {
            // Whoever is gone, is gone: the other side hears of it because both sockets close.
            let _end = serve(&client, number, &connection);
            let _already_gone = client.shutdown(Shutdown::Both);
        }));
    }
}

fn serve(client: &TcpStream, number: usize, shared: &Arc<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let record = |bytes: &[u8]| shared.state().sent[number].extend_from_slice(bytes);
    if shared.tunnels {
        // Nothing follows the head before its answer, so that the buffer of the reader ends with it.
        let Some(_head) = Head::read(&mut BufReader::new(Recorded { from: client, record: &record }))? else {
            return Ok(());
        };
        (&*client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    }
    let server = TcpStream::connect(shared.to)?;
    server.set_nodelay(true)?;
    shared.state().sockets.push(server.try_clone()?);
    thread::scope(|scope| {
        scope.spawn(|| pass(&server, client, shared.pace, |_| {}));
        pass(client, &server, shared.pace, record);
    });
    Ok(())
}

/// Passes one direction on until its end, and passes the end on as well.
fn pass(mut from: &TcpStream, to: &TcpStream, pace: Pace, seen: impl Fn(&[u8])) {
    let mut buffer = vec![0; 16 << 10];
    let mut dice = 1;
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let piece = &buffer[..read];
        seen(piece);
        if travel(to, piece, pace, &mut dice).is_err() {
            let _already_gone = from.shutdown(Shutdown::Both);
            return;
        }
    }
    let _already_gone = to.shutdown(Shutdown::Write);
}

/// The pauses here are the fault that is played, not a way to wait for something.
fn travel(mut to: &TcpStream, piece: &[u8], pace: Pace, dice: &mut u64) -> io::Result<()> {
    match pace {
        Pace::Straight => to.write_all(piece),
        Pace::Late(time) => {
            thread::sleep(time);
            to.write_all(piece)
        }
        Pace::Crumbs => piece.iter().try_for_each(|byte| to.write_all(&[*byte])),
        Pace::Jitter => {
            let mut rest = piece;
            while !rest.is_empty() {
                *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (size, pause) = ((*dice >> 33) % 97 + 1, (*dice >> 45) % 12);
                thread::sleep(Duration::from_millis(pause));
                let (segment, tail) = rest.split_at(rest.len().min(usize::try_from(size).expect("small")));
                to.write_all(segment)?;
                rest = tail;
            }
            Ok(())
        }
    }
}

struct Recorded<'a, R> {
    from: &'a TcpStream,
    record: R,
}

impl<R: Fn(&[u8])> Read for Recorded<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        (self.record)(&into[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evild, Exchange, http::request_bytes, wire};
    use std::time::Instant;

    const QUESTION: &[u8] = b"a question of some length";

    fn ask(addr: SocketAddr) -> Exchange {
        Exchange::open(addr, &request_bytes("POST", "/x", addr, &[], QUESTION)).unwrap()
    }

    #[test]
    fn every_pace_brings_every_byte_in_both_directions() {
        let evild = Evild::answering(wire::http(200, &[], "an answer of some length"));
        for pace in [Pace::Straight, Pace::Late(Duration::from_millis(20)), Pace::Crumbs, Pace::Jitter] {
            let link = Link::before(evild.addr(), pace);
            assert_eq!(ask(link.addr()).finish().text(), "an answer of some length", "{pace:?}");
            assert_eq!(evild.requests().last().unwrap().body, QUESTION, "{pace:?}");
            assert!(link.connections() == 1 && link.sent(0).ends_with(QUESTION), "{pace:?}");
        }
    }

    #[test]
    fn a_long_way_takes_its_time_in_each_direction() {
        let evild = Evild::answering(wire::http(200, &[], ""));
        let link = Link::before(evild.addr(), Pace::Late(Duration::from_millis(30)));
        let started = Instant::now();
        assert_eq!(ask(link.addr()).finish().status, 200);
        assert!(started.elapsed() >= Duration::from_millis(60));
    }

    #[test]
    fn an_end_passes_through_and_a_dropped_link_ends_what_is_open() {
        let evild = Evild::start([vec![crate::Step::Hang]]);
        let link = Link::before(evild.addr(), Pace::Straight);
        let mut stays = TcpStream::connect(link.addr()).unwrap();
        drop(TcpStream::connect(link.addr()).unwrap());
        evild.wait_for_connections(2, Duration::from_secs(10));
        drop(link);
        assert!(matches!(stays.read(&mut [0]), Ok(0) | Err(_)));
    }

    #[test]
    fn a_tunnel_leads_to_its_server_whatever_is_named() {
        let evild = Evild::answering(wire::http(200, &[], "inside"));
        let proxy = Link::tunnel(evild.addr());
        let mut client = TcpStream::connect(proxy.addr()).unwrap();
        client.write_all(b"CONNECT mcpd.example:443 HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = [0; 19];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 Connec");
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("inside") && proxy.sent(0).starts_with(b"CONNECT mcpd.example:443 "));
        assert_eq!(evild.received(0), b"GET / HTTP/1.1\r\n\r\n");
    }
}
