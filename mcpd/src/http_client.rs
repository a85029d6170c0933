//! The one way out of this program: HTTP/1.1, over TCP or TLS, to addresses that may be reached. Follows no redirect,
//! knows no proxy, keeps no cookie, repeats nothing, and every wait has its end.

use crate::{
    lookups::{LookupError, Lookups},
    reach::Reach,
};
use axum::body::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

/// The largest head of an answer, in bytes.
const HEAD_MAX: usize = 64 << 10;

/// One connection, for one request at a time. It ends when this and the body of its answer are gone.
pub(crate) type Wire = http1::SendRequest<Full<Bytes>>;

/// Makes connections.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    reach: Reach,
    tls: Arc<ClientConfig>,
    lookups: Arc<Lookups>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0} is no address of a server")]
    NoServer(Uri),
    #[error("the name {0} has no address")]
    Unknown(String),
    #[error("the name {0} cannot be resolved: {1}")]
    Unresolved(String, LookupError),
    #[error(
        "{0} is at {1}, to which this server may not connect: see --upstream-allow (MCPD_UPSTREAM_ALLOW)"
    )]
    NotAllowed(String, IpAddr),
    #[error("{0} cannot be connected to: {1}")]
    Refused(SocketAddr, io::Error),
    #[error("no TLS with {0}: {1}")]
    Tls(String, io::Error),
    #[error("no HTTP with {0}: {1}")]
    Http(String, hyper::Error),
    #[error("no connection to {0} in time")]
    Late(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("no answer in time")]
    Late,
}

impl HttpClient {
    /// Trusts whom this system trusts.
    pub(crate) fn new(reach: Reach) -> Result<Self, rustls::Error> {
        let config = Self::tls()?.with_platform_verifier()?;
        Ok(Self::with(reach, config.with_no_client_auth()))
    }

    /// Trusts these authorities only.
    pub(crate) fn trusting(reach: Reach, authorities: RootCertStore) -> Result<Self, rustls::Error> {
        let config = Self::tls()?.with_root_certificates(authorities);
        Ok(Self::with(reach, config.with_no_client_auth()))
    }

    fn tls() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
    }

    fn with(reach: Reach, mut tls: ClientConfig) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { reach, tls: Arc::new(tls), lookups: Arc::default() }
    }

    /// What this connects to.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// One request on a connection of its own: its URI says where it goes. The answer's body has no limit here.
    pub(crate) async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let deadline = Instant::now() + limit;
        let mut wire = self.connect(request.uri(), limit).await?;
        address(&mut request);
        let answer = timeout_at(deadline, wire.send_request(request)).await;
        answer.map_err(|_| ExchangeError::Late)?.map_err(ExchangeError::Broken)
    }

    /// Connects to the server that a URI names: resolved now, each of its addresses tried for its share of the time.
    pub(crate) async fn connect(&self, to: &Uri, limit: Duration) -> Result<Wire, ConnectError> {
        let deadline = Instant::now() + limit;
        let late = |_| ConnectError::Late(name_of(to));
        timeout_at(deadline, self.connect_by(to, deadline)).await.map_err(late)?
    }

    async fn connect_by(&self, to: &Uri, deadline: Instant) -> Result<Wire, ConnectError> {
        let no_server = || ConnectError::NoServer(to.clone());
        let host = to.host().ok_or_else(no_server)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_tls = match to.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(no_server()),
        };
        let port = to.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tcp = self.tcp(host, port, deadline).await?;
        if is_tls {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| no_server())?;
            let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
            speak(tls.map_err(|error| ConnectError::Tls(name_of(to), error))?, to).await
        } else {
            speak(tcp, to).await
        }
    }

    async fn tcp(&self, host: &str, port: u16, deadline: Instant) -> Result<TcpStream, ConnectError> {
        let found = self.resolve(host, port).await?;
        let (allowed, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
            found.into_iter().partition(|address| self.reach.allows(address.ip()));
        let mut failure = match others.first() {
            Some(other) => ConnectError::NotAllowed(host.to_owned(), other.ip()),
            None => ConnectError::Unknown(host.to_owned()),
        };
        let mut left = u32::try_from(allowed.len()).unwrap_or(u32::MAX);
        for address in allowed {
            let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
            left -= 1;
            let connected = timeout(share, TcpStream::connect(address)).await;
            failure = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => match self.judged(&stream, host, address) {
                    Ok(()) => return Ok(stream),
                    Err(failure) => failure,
                },
                Err(error) => ConnectError::Refused(address, error),
            };
        }
        Err(failure)
    }

    /// Looks at who is really at the other end, and has each token sent as soon as it is there.
    fn judged(&self, stream: &TcpStream, host: &str, to: SocketAddr) -> Result<(), ConnectError> {
        let peer = stream.peer_addr().map_err(|error| ConnectError::Refused(to, error))?;
        if !self.reach.allows(peer.ip()) {
            return Err(ConnectError::NotAllowed(host.to_owned(), peer.ip()));
        }
        // A socket that is gone already shows at the first write.
        let _ = stream.set_nodelay(true);
        Ok(())
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = self.lookups.find(host).await;
        let found = found.map_err(|error| ConnectError::Unresolved(host.to_owned(), error))?;
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

/// Has a request say what HTTP/1.1 wants it to: the path in its first line, the server in `Host`.
pub(crate) fn address(request: &mut Request<Full<Bytes>>) {
    let uri = request.uri().clone();
    let host = uri.authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
}

/// Scheme, host and port: what may be said of a URI in a log.
fn name_of(uri: &Uri) -> String {
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    format!("{}://{authority}", uri.scheme_str().unwrap_or_default())
}

async fn speak<T>(io: T, to: &Uri) -> Result<Wire, ConnectError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let spoken = builder.handshake(TokioIo::new(io)).await;
    let (wire, connection) = spoken.map_err(|error| ConnectError::Http(name_of(to), error))?;
    // What ends it is said to whoever waits for an answer.
    tokio::spawn(async move { drop(connection.await) });
    Ok(wire)
}
