//! A double for any peer that misbehaves: it plays a script of bytes, pauses and endings, and records what it got.
//!
//! ```no_run
//! use fakes::{Evild, Step, wire};
//! // The first connection is reset before an answer, every later one gets a whole answer.
//! let evild = Evild::start([
//!     vec![Step::ReadRequest, Step::Reset],
//!     vec![Step::ReadRequest, Step::Send(wire::http(200, &[], "hello"))],
//! ]);
//! ```

use crate::{
    Certificate, Gate, Request,
    server::{Connection, End, Server},
    tls,
};
use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What happens on one connection, in order. After the last step the double says that nothing more comes, and
/// waits for the peer to close.
pub type Script = Vec<Step>;

/// One step of a script.
#[derive(Debug, Clone)]
pub enum Step {
    /// Reads one request with its body (`Content-Length` or chunked).
    ReadRequest,
    /// Reads a head and no further: a body that does not fit into one segment with it stays unread.
    ReadHead,
    /// Begins TLS as the server, before anything else on this connection. See [`tls_identity`](crate::tls_identity).
    StartTls(Arc<rustls::ServerConfig>),
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends what a function makes of the request that was read last.
    Answer(Answering),
    /// Sends bytes a few at a time.
    Drip {
        /// What to send.
        bytes: Vec<u8>,
        /// How many bytes at a time.
        size: usize,
        /// How long to wait after each.
        pause: Duration,
    },
    /// Waits. The script ends here if the peer closes meanwhile.
    Pause(Duration),
    /// Waits for the test to open the gate. The script ends here if the peer closes meanwhile.
    WaitAt(Gate),
    /// Says that nothing more comes; goes on reading if the script does.
    CloseWrite,
    /// Closes both ways. The kernel makes a reset of it if bytes of the peer are still unread.
    Close,
    /// Sends a TCP reset; what the peer has not yet read is lost to it.
    Reset,
    /// Reads, records and says nothing until the peer closes.
    Hang,
    /// Neither reads nor says anything until the peer closes.
    Stall,
    /// Does these steps again and again until the peer closes.
    Repeat(Script),
}

/// Makes an answer of a request: somebody in the middle, who may ask the real server first.
#[derive(Clone)]
pub struct Answering(Arc<Answer>);

/// An answer as a function of the request.
type Answer = dyn Fn(&Request) -> Vec<u8> + Send + Sync;

impl Answering {
    /// Answers by this function.
    pub fn by(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answering")
    }
}

/// The scripted server. The n-th connection gets the n-th script, later ones get the last.
pub struct Evild {
    server: Server,
    scheme: &'static str,
    ca: Option<TempDir>,
}

impl Evild {
    /// Speaks plain TCP.
    pub fn start(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self { server: Server::start(None, player(scripts)), scheme: "http", ca: None }
    }

    /// Speaks TLS with the given certificate.
    pub fn start_tls(certificate: Certificate, scripts: impl IntoIterator<Item = Script>) -> Self {
        let (config, ca_pem) = tls::tls_identity(certificate);
        let ca = TempDir::new().expect("a temporary folder");
        std::fs::write(ca.path().join("ca.pem"), ca_pem).expect("the folder is writable");
        Self { server: Server::start(Some(config), player(scripts)), scheme: "https", ca: Some(ca) }
    }

    /// Gives every request of every connection the same answer. See [`crate::wire`] for answers.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        Self::start([vec![Step::ReadRequest, Step::Send(answer.into())]])
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The address as the base of a URL, with `https` if it speaks TLS.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr())
    }

    /// The authority that a client has to trust, as PEM. Only a good certificate is then accepted.
    pub fn ca_file(&self) -> PathBuf {
        self.ca.as_ref().expect("it speaks TLS").path().join("ca.pem")
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.server.look(<[_]>::len)
    }

    /// Every byte that the n-th connection brought, counted from 0.
    pub fn received(&self, connection: usize) -> Vec<u8> {
        self.server.look(|all| all[connection].received.clone())
    }

    /// How many bytes all connections brought.
    pub fn bytes_received(&self) -> usize {
        self.server.look(|all| all.iter().map(|c| c.received.len()).sum())
    }

    /// The whole requests of all connections, in the order of the connections.
    pub fn requests(&self) -> Vec<Request> {
        self.server.look(|all| all.iter().flat_map(|c| c.requests.clone()).collect())
    }

    /// Why TLS failed on the n-th connection, if it did.
    pub fn tls_failure(&self, connection: usize) -> Option<String> {
        self.server.look(|all| all[connection].tls_failure.clone())
    }

    /// Waits until there were `n` connections.
    pub fn wait_for_connections(&self, n: usize, limit: Duration) {
        self.server.wait(limit, &format!("connection number {n}"), |all| (all.len() >= n).then_some(()));
    }

    /// Waits until `n` whole requests came, and gives the n-th.
    pub fn wait_for_request(&self, n: usize, limit: Duration) -> Request {
        self.server.wait(limit, &format!("request number {n}"), |all| {
            all.iter().flat_map(|c| &c.requests).nth(n.checked_sub(1)?).cloned()
        })
    }

    /// Waits until the peer has closed the n-th connection, counted from 0, and says when.
    pub fn wait_for_close(&self, connection: usize, limit: Duration) -> Instant {
        self.server
            .wait(limit, &format!("close of connection {connection}"), |all| all.get(connection)?.peer_closed)
    }
}

fn player(scripts: impl IntoIterator<Item = Script>) -> Arc<crate::server::Handler> {
    let scripts: Vec<Script> = scripts.into_iter().collect();
    assert!(!scripts.is_empty(), "a double without a script");
    Arc::new(move |connection| {
        let script = scripts.get(connection.index()).or(scripts.last()).expect("not empty");
        Ok(play(connection, script)?.unwrap_or(End::Politely))
    })
}

/// Plays a script to its end. None: nothing in it ended the connection.
pub(crate) fn play(connection: &mut Connection, script: &[Step]) -> io::Result<Option<End>> {
    for step in script {
        match step {
            Step::ReadRequest => {
                if connection.read_request()?.is_none() {
                    return Ok(Some(End::Politely));
                }
            }
            Step::ReadHead => connection.read_head()?,
            Step::StartTls(config) => connection.start_tls(config),
            Step::Send(bytes) => connection.send(bytes)?,
            Step::Answer(Answering(answer)) => {
                let request = connection.last_request().expect("a request was read before it is answered");
                connection.send(&answer(&request))?;
            }
            Step::Drip { bytes, size, pause } => {
                for piece in bytes.chunks(*size) {
                    connection.send(piece)?;
                    connection.pause(*pause)?;
                }
            }
            Step::Pause(time) => connection.pause(*time)?,
            Step::WaitAt(gate) => connection.wait_at(gate)?,
            Step::CloseWrite => connection.close_write()?,
            Step::Close => return Ok(Some(End::Abruptly)),
            Step::Reset => return Ok(Some(End::Reset)),
            Step::Hang => connection.hang()?,
            Step::Stall => connection.stall()?,
            Step::Repeat(steps) => loop {
                if let Some(end) = play(connection, steps)? {
                    return Ok(Some(end));
                }
            },
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http::{Exchange, request_bytes},
        wire,
    };
    use std::{
        io::{ErrorKind, Read, Write},
        net::TcpStream,
        thread,
    };

    const SOON: Duration = Duration::from_secs(10);

    fn ask(evild: &Evild) -> io::Result<Exchange> {
        Exchange::open(evild.addr(), &request_bytes("POST", "/x", evild.addr(), &[], b"question"))
    }

    #[test]
    fn an_answer_arrives_and_the_request_is_recorded() {
        let evild = Evild::answering(wire::http(201, &[("x-a", "1"), ("x-a", "2")], "hello"));
        let answer = ask(&evild).unwrap().finish();
        assert_eq!((answer.status, answer.text().as_str(), answer.complete), (201, "hello", true));
        assert_eq!(answer.headers.all("X-A"), ["1", "2"]);
        assert_eq!(evild.connections(), 1);
        let request = evild.wait_for_request(1, SOON);
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/x"));
        assert_eq!(request.body, b"question");
        assert!(evild.received(0).ends_with(b"\r\n\r\nquestion"));
    }

    #[test]
    fn the_nth_connection_gets_the_nth_script_and_later_ones_the_last() {
        let script = |text: &str| vec![Step::ReadRequest, Step::Send(wire::http(200, &[], text))];
        let evild = Evild::start([script("first"), script("second")]);
        let texts: Vec<_> = (0..3).map(|_| ask(&evild).unwrap().finish().text()).collect();
        assert_eq!(texts, ["first", "second", "second"]);
        assert_eq!(evild.connections(), 3);
    }

    #[test]
    fn a_reset_is_a_reset_and_a_close_is_not() {
        let evild =
            Evild::start([vec![Step::ReadRequest, Step::Reset], vec![Step::ReadRequest, Step::Close]]);
        assert_eq!(ask(&evild).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(ask(&evild).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_body_that_is_cut_is_not_complete() {
        let whole = wire::sse_chunked(&wire::answer("two words"));
        for cut in [whole.len() - 1, whole.len() - wire::LAST_CHUNK.len(), whole.len() / 2] {
            let evild = Evild::answering(&whole[..cut]);
            assert!(!ask(&evild).unwrap().finish().complete, "cut at {cut}");
        }
        assert!(ask(&Evild::answering(whole)).unwrap().finish().complete);
    }

    #[test]
    fn a_chunked_request_is_read_to_its_end() {
        let evild = Evild::answering(wire::http(200, &[], ""));
        let mut request = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        request.extend([wire::chunk(b"quest"), wire::chunk(b"ion"), wire::LAST_CHUNK.to_vec()].concat());
        assert_eq!(Exchange::open(evild.addr(), &request).unwrap().status, 200);
        assert_eq!(evild.requests()[0].body, b"question");
    }

    #[test]
    fn hanging_and_stalling_end_when_the_peer_goes_and_when_the_double_does() {
        for step in [Step::Hang, Step::Stall, Step::WaitAt(Gate::new()), Step::Pause(Duration::from_hours(1))]
        {
            let evild = Evild::start([vec![Step::ReadRequest, step]]);
            let request = request_bytes("GET", "/", evild.addr(), &[], b"");
            let mut leaves = TcpStream::connect(evild.addr()).unwrap();
            leaves.write_all(&request).unwrap();
            let left = Instant::now();
            drop(leaves);
            assert!(evild.wait_for_close(0, SOON) >= left);

            let mut stays = TcpStream::connect(evild.addr()).unwrap();
            stays.write_all(&request).unwrap();
            evild.wait_for_request(2, SOON);
            drop(evild);
            assert!(matches!(stays.read(&mut [0]), Ok(0) | Err(_)));
        }
    }

    #[test]
    fn a_gate_holds_an_answer_back() {
        let gate = Gate::new();
        let evild = Evild::start([vec![
            Step::ReadRequest,
            Step::WaitAt(gate.clone()),
            Step::Send(wire::http(200, &[], "")),
        ]]);
        thread::scope(|scope| {
            let client = scope.spawn(|| ask(&evild).unwrap().status);
            evild.wait_for_request(1, SOON);
            assert!(!client.is_finished());
            gate.open();
            assert_eq!(client.join().unwrap(), 200);
        });
        assert_eq!(ask(&evild).unwrap().status, 200, "an open gate stays open");
    }

    #[test]
    fn a_drip_takes_its_time_and_an_endless_answer_ends_with_the_peer() {
        let pause = Duration::from_millis(5);
        let answer = wire::http(200, &[], "slow");
        let slow =
            Evild::start([vec![Step::ReadRequest, Step::Drip { bytes: answer.clone(), size: 4, pause }]]);
        let start = Instant::now();
        assert_eq!(ask(&slow).unwrap().finish().text(), "slow");
        assert!(start.elapsed() >= pause * u32::try_from(answer.len() / 4 - 1).unwrap());

        let tick = Step::Send(wire::chunk(&wire::event("tick")));
        let endless = Evild::start([vec![
            Step::ReadRequest,
            Step::Send(wire::sse_chunked_head()),
            Step::Repeat(vec![tick]),
        ]]);
        ask(&endless).unwrap().read_until("tick\n\ndata: tick");
        endless.wait_for_close(0, SOON);
    }
}
