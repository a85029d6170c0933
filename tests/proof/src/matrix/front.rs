//! Whoever stands between the client and the real server: it disturbs the question or the probe, and passes on the rest.

use super::axes::Form;
use fakes::{
    Answering, Certificate, Evild, Gate, Refusing, Request, Script, Step, http::request_bytes, tls_identity,
};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// No answer of the real server takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// The real server, and what happens before it hears of a probe.
#[derive(Clone)]
pub(crate) struct Real {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Done at the moment at which a probe has arrived and the server has not seen it.
    pub(crate) meanwhile: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// What the scripts of one run are made of.
pub(crate) struct Wires<'a> {
    /// The real server.
    pub(crate) real: Real,
    /// Opens when the client has written what was sent so far.
    pub(crate) gate: &'a Gate,
    /// Where redirects to another origin lead to. It passes everything on, so that who follows gets what it wants.
    pub(crate) elsewhere: &'a str,
    /// What is asked for.
    pub(crate) form: Form,
    /// Certificates, if the connection is secured.
    pub(crate) secured: Option<&'a Identities>,
}

/// A certificate as a script uses it.
type Identity = Arc<fakes::TlsConfig>;

/// Certificates of one authority each; the client trusts all of these authorities.
pub(crate) struct Identities {
    good: Identity,
    expired: Identity,
    wrong_name: Identity,
    stranger: Identity,
}

impl Identities {
    /// Makes them, and writes the authorities into a file. Nobody has heard of that of the last one.
    pub(crate) fn make(authorities: &Path) -> io::Result<Self> {
        let (good, first) = tls_identity(Certificate::Good);
        let (expired, second) = tls_identity(Certificate::Expired);
        let (wrong_name, third) = tls_identity(Certificate::WrongName);
        let (stranger, _unknown) = tls_identity(Certificate::Good);
        std::fs::write(authorities, [first, second, third].concat())?;
        Ok(Self { good, expired, wrong_name, stranger })
    }

    /// One that a client must not accept, and what it is called.
    pub(crate) fn bad(&self, which: &str) -> Option<Identity> {
        match which {
            "expired" => Some(Arc::clone(&self.expired)),
            "wrong-name" => Some(Arc::clone(&self.wrong_name)),
            "unknown-authority" => Some(Arc::clone(&self.stranger)),
            _ => None,
        }
    }
}

impl Wires<'_> {
    /// The script of a connection that gets as far as HTTP.
    pub(crate) fn http(&self, steps: impl IntoIterator<Item = Step>) -> Script {
        let tls = self.secured.map(|identities| Step::StartTls(Arc::clone(&identities.good)));
        tls.into_iter().chain(steps).collect()
    }

    /// Reads a request, then these steps.
    pub(crate) fn after_request(&self, steps: impl IntoIterator<Item = Step>) -> Script {
        self.http([Step::ReadRequest].into_iter().chain(steps))
    }

    /// Passes a request on to the real server.
    pub(crate) fn passing_on(&self) -> Script {
        self.after_request([self.real.pass_on()])
    }
}

/// Somebody at another origin who would pass everything on to the real server.
pub(crate) fn elsewhere(real: &Real) -> Evild {
    Evild::start([vec![Step::ReadRequest, real.pass_on()]])
}

impl Real {
    /// Passes the request on and gives back what comes.
    pub(crate) fn pass_on(&self) -> Step {
        let real = self.clone();
        Step::Answer(Answering::by(move |request| real.asked(request)))
    }

    /// What the server answers to this request, byte by byte. Nothing if it is away.
    pub(crate) fn asked(&self, request: &Request) -> Vec<u8> {
        if let Some(meanwhile) = &self.meanwhile
            && request.method == "HEAD"
        {
            meanwhile();
        }
        let of_the_connection = ["host", "connection", "content-length", "transfer-encoding"];
        let headers = request.headers.iter();
        let headers: Vec<(&str, &str)> =
            headers.filter(|(name, _)| !of_the_connection.contains(&&*name.to_ascii_lowercase())).collect();
        let bytes = request_bytes(&request.method, &request.target, self.addr, &headers, &request.body);
        exchange(self.addr, &bytes).unwrap_or_default()
    }
}

/// Sends a request, and reads until the connection ends.
pub(crate) fn exchange(addr: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    // What came before a cut is passed on, and then the connection ends.
    let _cut = stream.read_to_end(&mut answer);
    Ok(answer)
}

/// A port that takes one connection, leads it to somebody else, and refuses all further ones from then on.
pub(crate) struct OnlyOnce {
    port: Refusing,
    _thread: JoinHandle<()>,
}

impl OnlyOnce {
    /// Leads the one connection to this address.
    pub(crate) fn to(addr: SocketAddr) -> io::Result<Self> {
        let port = Refusing::new();
        let listener = TcpListener::bind(port.addr())?;
        let thread = thread::spawn(move || {
            let accepted = listener.accept();
            drop(listener);
            let Ok((client, _)) = accepted else { return };
            // Whatever goes wrong here ends the connection, which is what it is for.
            let _ended = TcpStream::connect(addr).and_then(|server| splice(&client, &server));
        });
        Ok(Self { port, _thread: thread })
    }

    /// Where it is.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}

/// Passes bytes on both ways, until the server ends.
fn splice(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ended = io::copy(&mut from_client, &mut to_server);
        let _already_closed = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let _cut = io::copy(&mut from_server, &mut to_client);
    client.shutdown(Shutdown::Both)
}
