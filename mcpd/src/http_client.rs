//! The one way out of this program: HTTP/1.1, over TCP or TLS, to addresses that may be reached. Follows no redirect,
//! knows no proxy, keeps no cookie, repeats nothing, and every wait has its end.

mod body;
mod chunks;
pub(crate) mod fuzzing;
mod head;
mod io;
mod malformed;
mod pool;
mod request;
mod target;
mod wire;

pub(crate) use head::Head;
pub(crate) use malformed::Malformed;
pub(crate) use pool::Pool;
pub(crate) use request::Request;
pub(crate) use target::Target;
pub(crate) use wire::{Incoming, Wire, WireError};

use crate::{
    lookups::{LookupError, Lookups},
    reach::Reach,
};
use io::Io;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

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
    NoServer(String),
    #[error("the name {0} has no address")]
    Unknown(String),
    #[error("the name {0} cannot be resolved: {1}")]
    Unresolved(String, LookupError),
    #[error(
        "{0} is at {1}, to which this server may not connect: see --upstream-allow (MCPD_UPSTREAM_ALLOW)"
    )]
    NotAllowed(String, IpAddr),
    #[error("{0} cannot be connected to: {1}")]
    Refused(SocketAddr, std::io::Error),
    #[error("no TLS with {0}: {1}")]
    Tls(String, std::io::Error),
    #[error("no connection to {0} in time")]
    Late(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the connection broke")]
    Broken(#[source] WireError),
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

    /// One request on a connection of its own. The answer's body has no limit here.
    pub(crate) async fn exchange(
        &self,
        to: &Target,
        request: Request,
        limit: Duration,
    ) -> Result<(Head, Incoming), ExchangeError> {
        let deadline = Instant::now() + limit;
        let wire = self.connect(to, limit).await?;
        let answer = timeout_at(deadline, wire.send(request, Weak::new())).await;
        answer.map_err(|_| ExchangeError::Late)?.map_err(ExchangeError::Broken)
    }

    /// Connects to a server: resolved now, each of its addresses tried for its share of the time.
    pub(crate) async fn connect(&self, to: &Target, limit: Duration) -> Result<Wire, ConnectError> {
        let deadline = Instant::now() + limit;
        let late = |_| ConnectError::Late(to.to_string());
        timeout_at(deadline, self.connect_by(to, deadline)).await.map_err(late)?
    }

    async fn connect_by(&self, to: &Target, deadline: Instant) -> Result<Wire, ConnectError> {
        let tcp = self.tcp(&to.host, to.port, deadline).await?;
        if !to.is_tls {
            return Ok(Wire(Io::Plain(tcp)));
        }
        let name = ServerName::try_from(to.host.clone());
        let name = name.map_err(|_| ConnectError::NoServer(to.to_string()))?;
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
        let tls = tls.map_err(|error| ConnectError::Tls(to.to_string(), error))?;
        Ok(Wire(Io::Tls(Box::new(tls))))
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
            failure = match connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
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
