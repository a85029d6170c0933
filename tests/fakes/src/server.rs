//! What all doubles share: accept, record every byte, wake who waits, and end with the value.
//!
//! One thread a connection; what it does there is the business of the double.

use crate::{Gate, Refusing, Request, http::Head};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{shutdown, sockopt::set_socket_linger},
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::{
    io::{self, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What a double does with one connection. An error means that the peer went away, which is no failure of the double.
pub(crate) type Handler = dyn Fn(&mut Connection) -> io::Result<End> + Send + Sync;

/// How a double leaves a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Says that nothing more comes, and waits for the peer to close.
    Politely,
    /// Closes both ways, whatever the peer still sends.
    Abruptly,
    /// Sends a TCP reset; what was not yet read by the peer is lost.
    Reset,
}

/// A listener on loopback. Stops, joins its threads and passes on their panics when it is dropped.
pub(crate) struct Server {
    /// Bound beside the listener, so that the port is ours from the first to the last moment.
    port: Refusing,
    shared: Arc<Shared>,
    listening: Mutex<Option<Listening>>,
}

struct Listening {
    listener: Arc<TcpListener>,
    acceptor: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(tls: Option<Arc<ServerConfig>>, handler: Arc<Handler>) -> Self {
        let shared = Arc::new(Shared { tls, handler, state: Mutex::default(), changed: Condvar::new() });
        let server = Self { port: Refusing::new(), shared, listening: Mutex::new(None) };
        server.resume();
        server
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Ends all connections and refuses new ones; the port stays ours. Records stay.
    pub(crate) fn stop(&self) {
        if let Some(Listening { listener, acceptor }) = self.listening().take() {
            self.shared.state().stopping = true;
            // Not just closed: a child that another thread is about to start may hold a copy for a moment.
            shutdown(&listener, rustix::net::Shutdown::Both).expect("a listener can be shut down");
            join(acceptor);
            self.end_connections();
        }
    }

    /// Listens, again after [`Server::stop`].
    pub(crate) fn resume(&self) {
        let mut listening = self.listening();
        if listening.is_none() {
            let listener = Arc::new(TcpListener::bind(self.addr()).expect("the port is ours"));
            self.shared.state().stopping = false;
            let acceptor = spawn_acceptor(Arc::clone(&listener), Arc::clone(&self.shared));
            *listening = Some(Listening { listener, acceptor });
        }
    }

    fn listening(&self) -> MutexGuard<'_, Option<Listening>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_connections(&self) {
        let threads = {
            let mut state = self.shared.state();
            for socket in state.connections.iter().filter_map(|c| c.socket.as_ref()) {
                let _already_gone = socket.shutdown(Shutdown::Both);
            }
            std::mem::take(&mut state.threads)
        };
        threads.into_iter().for_each(join);
    }

    /// What was recorded of all connections so far.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&[Record]) -> T) -> T {
        at(&self.shared.state().connections)
    }

    /// Waits until the records show something. Panics at the limit, with `what` was waited for.
    pub(crate) fn wait<T>(&self, limit: Duration, what: &str, seen: impl Fn(&[Record]) -> Option<T>) -> T {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state();
        loop {
            if let Some(found) = seen(&state.connections) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "no {what} within {limit:?}; {} connections so far",
                state.connections.len()
            );
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn join(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join()
        && !thread::panicking()
    {
        std::panic::resume_unwind(panic);
    }
}

fn spawn_acceptor(listener: Arc<TcpListener>, shared: Arc<Shared>) -> JoinHandle<()> {
    thread::spawn(move || {
        for socket in listener.incoming() {
            if shared.state().stopping {
                return;
            }
            // An accept can fail because the peer is gone already; then there is no connection to speak of.
            let Ok(socket) = socket else { continue };
            let Ok(clone) = socket.try_clone() else { continue };
            let mut state = shared.state();
            let index = state.connections.len();
            state.connections.push(Record::new(clone));
            let connection = Connection::new(index, socket, &shared);
            state.threads.push(thread::spawn(move || connection.serve()));
            shared.changed.notify_all();
        }
    })
}

struct Shared {
    tls: Option<Arc<ServerConfig>>,
    handler: Arc<Handler>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    connections: Vec<Record>,
    threads: Vec<JoinHandle<()>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not hide behind a poisoned lock: the records are plain values, always whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, index: usize, change: impl FnOnce(&mut Record)) {
        change(&mut self.state().connections[index]);
        self.changed.notify_all();
    }
}

/// What is known of one connection.
pub(crate) struct Record {
    /// Every byte, after TLS.
    pub(crate) received: Vec<u8>,
    /// Every whole request.
    pub(crate) requests: Vec<Request>,
    /// When the peer closed or reset it.
    pub(crate) peer_closed: Option<Instant>,
    /// When the peer left in the middle of an answer.
    pub(crate) cancelled: Option<Instant>,
    /// What went wrong in TLS.
    pub(crate) tls_failure: Option<String>,
    /// To end the connection from outside; gone when it has ended.
    socket: Option<TcpStream>,
}

impl Record {
    fn new(socket: TcpStream) -> Self {
        Self {
            received: Vec::new(),
            requests: Vec::new(),
            peer_closed: None,
            cancelled: None,
            tls_failure: None,
            socket: Some(socket),
        }
    }
}

/// One connection, seen by the double that serves it.
pub(crate) struct Connection {
    index: usize,
    shared: Arc<Shared>,
    wire: BufReader<Recorder>,
}

impl Connection {
    fn new(index: usize, socket: TcpStream, shared: &Arc<Shared>) -> Self {
        let _peer_is_gone = socket.set_nodelay(true);
        let wire = match &shared.tls {
            None => Wire::Plain(socket),
            Some(config) => Wire::tls(socket, config),
        };
        let recorder = Recorder { index, shared: Arc::clone(shared), wire };
        Self { index, shared: Arc::clone(shared), wire: BufReader::new(recorder) }
    }

    fn serve(mut self) {
        let handler = Arc::clone(&self.shared.handler);
        let end = handler(&mut self).unwrap_or(End::Politely);
        match end {
            End::Politely => {
                let _peer_is_gone = self.close_write().and_then(|()| self.hang());
            }
            End::Abruptly => {}
            End::Reset => {
                set_socket_linger(self.wire.get_ref().wire.socket(), Some(Duration::ZERO))
                    .expect("the option is known");
            }
        }
        // The other descriptor goes too: a reset is sent, and a close seen, only when the last one is closed.
        self.shared.record(self.index, |record| record.socket = None);
    }

    /// Goes on in TLS; the peer has sent nothing yet that was read.
    pub(crate) fn start_tls(&mut self, config: &Arc<ServerConfig>) {
        assert!(self.wire.buffer().is_empty(), "TLS begins before anything else was read");
        self.wire.get_mut().wire.start_tls(config);
    }

    /// The request that was read last, and whole.
    pub(crate) fn last_request(&self) -> Option<Request> {
        self.shared.state().connections[self.index].requests.last().cloned()
    }

    /// The number of this connection, from 0.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Reads a request with its body and records it. None if the peer closed instead.
    pub(crate) fn read_request(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = Head::read(&mut self.wire)? else { return Ok(None) };
        if head.headers.first("expect").is_some() {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let request = head.with_body(&mut self.wire)?;
        self.shared.record(self.index, |record| record.requests.push(request.clone()));
        Ok(Some(request))
    }

    /// Reads a head and leaves the body where it is.
    pub(crate) fn read_head(&mut self) -> io::Result<()> {
        Head::read(&mut self.wire)?.map(|_| ()).ok_or(ErrorKind::UnexpectedEof.into())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let recorder = self.wire.get_mut();
        let sent = recorder.wire.write_all(bytes).and_then(|()| recorder.wire.flush());
        sent.inspect_err(|_| recorder.note_gone())
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn close_write(&mut self) -> io::Result<()> {
        self.wire.get_mut().wire.close_write()
    }

    /// Reads and records until the peer closes.
    pub(crate) fn hang(&mut self) -> io::Result<()> {
        io::copy(&mut self.wire, &mut io::sink()).map(|_| ())
    }

    /// Waits without reading or writing. An error if the peer closes meanwhile.
    pub(crate) fn pause(&mut self, time: Duration) -> io::Result<()> {
        self.poll(Some(time), None)
    }

    /// Waits for the gate without reading or writing. An error if the peer closes meanwhile.
    pub(crate) fn wait_at(&mut self, gate: &Gate) -> io::Result<()> {
        self.poll(None, Some(gate))
    }

    /// Notes that the peer left while it was being answered.
    pub(crate) fn note_cancel(&self) {
        self.shared.record(self.index, |record| {
            record.cancelled = record.cancelled.or_else(|| Some(Instant::now()));
        });
    }

    /// Neither reads nor writes until the peer closes.
    pub(crate) fn stall(&mut self) -> io::Result<()> {
        self.poll(None, None)
    }

    fn poll(&mut self, time: Option<Duration>, gate: Option<&Gate>) -> io::Result<()> {
        let recorder = self.wire.get_mut();
        wait_beside(recorder.wire.socket(), time, gate).inspect_err(|_| recorder.note_gone())
    }
}

/// Waits for a time, a gate or for ever, without reading or writing. An error if the peer closes meanwhile.
pub(crate) fn wait_beside(socket: impl AsFd, time: Option<Duration>, gate: Option<&Gate>) -> io::Result<()> {
    let timeout = time.map(|t| t.try_into().expect("a time that fits"));
    let mut fds = vec![PollFd::new(&socket, PollFlags::RDHUP)];
    fds.extend(gate.map(|gate| PollFd::new(gate.signal(), PollFlags::IN)));
    loop {
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) if fds[0].revents().is_empty() => return Ok(()),
            Ok(_) => return Err(ErrorKind::ConnectionAborted.into()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// Reads from the wire and keeps a copy.
struct Recorder {
    index: usize,
    shared: Arc<Shared>,
    wire: Wire,
}

impl Recorder {
    fn note_gone(&self) {
        self.shared.record(self.index, |r| r.peer_closed = r.peer_closed.or_else(|| Some(Instant::now())));
    }
}

impl Read for Recorder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.wire.read(into);
        match &read {
            Ok(0) => self.note_gone(),
            Ok(n) => self.shared.record(self.index, |record| record.received.extend_from_slice(&into[..*n])),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                if error.kind() == ErrorKind::InvalidData {
                    let failure = error.to_string();
                    self.shared.record(self.index, |record| record.tls_failure = Some(failure));
                }
                self.note_gone();
            }
        }
        read
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    fn tls(socket: TcpStream, config: &Arc<ServerConfig>) -> Self {
        let session = ServerConnection::new(Arc::clone(config)).expect("a server configuration");
        Self::Tls(Box::new(StreamOwned::new(session, socket)))
    }

    fn start_tls(&mut self, config: &Arc<ServerConfig>) {
        let socket = self.socket().try_clone().expect("a descriptor is left");
        *self = Self::tls(socket, config);
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn close_write(&mut self) -> io::Result<()> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()?;
                &mut stream.sock
            }
        };
        socket.shutdown(Shutdown::Write)
    }

    fn both(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.both().read(into)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.both().write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.both().flush()
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}
