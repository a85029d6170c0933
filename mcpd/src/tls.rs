//! TLS towards clients: a certificate and its key, from two files that may change while the server runs.
//!
//! Only TLS 1.2 and 1.3, and only HTTP/1.1 inside. New connections get what the files hold now; who is connected stays
//! so. A new pair that cannot be taken changes nothing, and the log says why.

mod pair;

pub(crate) use pair::Pair;

use crate::{log::chain, metrics::Gauge};
use arc_swap::ArcSwap;
use clap::Args;
use jiff::Timestamp;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{fs, io, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long a client may take to agree on a connection.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How often the files are looked at. A change is taken when two looks have found the same.
const LOOK: Duration = Duration::from_secs(1);
/// How often the log says again that a certificate is about to end.
const REMINDER: Duration = Duration::from_hours(24);
/// The first byte of a TLS connection: a handshake record.
const HANDSHAKE: u8 = 0x16;

/// Where the certificate and its key are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TlsSettings {
    /// Speak TLS with this certificate: a PEM file, with the chain of those that signed it. It and the key are read
    /// again when they change
    #[arg(long, env = "MCPD_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The key of the certificate: a PEM file that only you, and perhaps a group, can read
    #[arg(long, env = "MCPD_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

/// The two files.
#[derive(Debug, Clone)]
pub(crate) struct PairFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl PairFiles {
    /// What a change of the files would change, and nothing where there is none.
    fn look(&self) -> [Option<Mark>; 2] {
        [&self.certificate, &self.key].map(|path| Mark::of(path).ok())
    }
}

/// One of the two files is given without the other.
#[derive(Debug, thiserror::Error)]
#[error(
    "TLS needs both: --tls-cert or MCPD_TLS_CERT for the certificate, --tls-key or MCPD_TLS_KEY for its key"
)]
pub(crate) struct HalfPair;

impl TlsSettings {
    /// The files, if TLS is wanted at all.
    pub(crate) fn files(&self) -> Result<Option<PairFiles>, HalfPair> {
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                Ok(Some(PairFiles { certificate: certificate.clone(), key: key.clone() }))
            }
            (Some(_), None) | (None, Some(_)) => Err(HalfPair),
        }
    }
}

/// What a new connection turned out to be.
pub(crate) enum Arrival {
    Tls(Box<TlsStream<TcpStream>>),
    /// HTTP without TLS, which deserves a word.
    Plain(TcpStream),
    /// Neither, or not in time.
    Gone,
}

/// The pair that new connections get.
#[derive(Debug)]
pub(crate) struct Tls {
    files: PairFiles,
    /// What the files were before they were read, so that no change of them is missed.
    first: [Option<Mark>; 2],
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads the files, and what they hold must do.
    pub(crate) fn open(files: PairFiles) -> anyhow::Result<Self> {
        let first = files.look();
        let pair = Pair::read(&files)?;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(pair)));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&shown) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { files, first, shown, config: Arc::new(config) })
    }

    /// When the certificate ends, if it does.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        self.shown.0.load().ends()
    }

    /// Agrees on TLS with a client.
    pub(crate) async fn greet(&self, stream: TcpStream) -> Arrival {
        let greeting = async {
            let mut first = [0];
            match stream.peek(&mut first).await {
                Ok(1) if first[0] == HANDSHAKE => {}
                Ok(1) if first[0].is_ascii_alphabetic() => return Ok(Arrival::Plain(stream)),
                Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
                Err(error) => return Err(error),
            }
            let stream = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await?;
            Ok(Arrival::Tls(Box::new(stream)))
        };
        match timeout(HANDSHAKE_PATIENCE, greeting).await {
            Ok(Ok(arrival)) => arrival,
            // Whoever scans a network would fill the log otherwise.
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection did not become one of TLS");
                Arrival::Gone
            }
            Err(_) => Arrival::Gone,
        }
    }

    /// Takes what the files hold whenever they change, and shows when the certificate ends, for ever.
    pub(crate) async fn follow(self: Arc<Self>, end: Gauge<0>) {
        let (mut judged, mut last) = (self.first, self.first);
        let mut reminded = self.remind(&end);
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.look().await;
            if now != judged && now == last {
                self.take().await;
                judged = now;
                reminded = self.remind(&end);
            } else if reminded.elapsed() > REMINDER {
                reminded = self.remind(&end);
            }
            last = now;
        }
    }

    async fn look(&self) -> [Option<Mark>; 2] {
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || files.look()).await.unwrap_or_default()
    }

    async fn take(&self) {
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || Pair::read(&files)).await {
            Ok(Ok(pair)) => {
                let ends = pair.ends().map(|ends| ends.to_string());
                self.shown.0.store(Arc::new(pair));
                tracing::info!(ends, "the new TLS certificate is in use");
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    error = chain(&error),
                    "the new TLS files cannot be taken; the old ones stay in use"
                );
            }
            Err(_) => tracing::warn!("the new TLS files were not read; the old ones stay in use"),
        }
    }

    /// Says when the certificate ends, aloud if that is soon; gives when that was said.
    fn remind(&self, end: &Gauge<0>) -> Instant {
        let pair = self.shown.0.load();
        let seconds = pair
            .ends()
            .map_or(f64::INFINITY, |ends| ends.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64());
        end.set([], seconds);
        if pair.ends_soon(Timestamp::now()) {
            tracing::warn!(
                ends = pair.ends().map(|ends| ends.to_string()),
                "the TLS certificate ends soon, or has ended"
            );
        }
        Instant::now()
    }
}

/// What tells a file from the one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Mark {
    fn of(path: &PathBuf) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        let changed = (file.ctime(), file.ctime_nsec());
        Ok(Self { device: file.dev(), inode: file.ino(), size: file.size(), changed })
    }
}

/// Shows the one pair to every client, whatever name they ask for.
#[derive(Debug)]
struct Shown(ArcSwap<Pair>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified())
    }
}
