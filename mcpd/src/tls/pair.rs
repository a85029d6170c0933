//! A certificate and its key, as two files hold them. Nothing that is said about them repeats what is in the files.

use super::PairFiles;
use jiff::{SignedDuration, Timestamp};
use rustls::{
    CertificateError, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The largest file that is read.
const SIZE_MAX: u64 = 1 << 20;
/// As long before its end a certificate should have been renewed.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// The first second of the year 10000: after the last moment that a certificate can name.
const AFTER_ALL: Duration = Duration::from_hours(70_389_528);

/// Why a pair cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error("{0}: cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("{0}: it is longer than {SIZE_MAX} bytes")]
    TooLong(PathBuf),
    #[error("{0}: others on this machine can read or change this key; take that away with chmod g-w,o= {0}")]
    InSight(PathBuf),
    #[error("{0}: holds no certificate in the form of PEM")]
    NoCertificate(PathBuf),
    #[error("{0}: holds no private key in the form of PEM")]
    NoKey(PathBuf),
    #[error("{0}: a key of a kind that is not supported; take ECDSA, Ed25519, or RSA of 2048 bits or more")]
    OddKey(PathBuf),
    #[error("{key}: is not the key of the certificate in {certificate}")]
    Mismatch { certificate: PathBuf, key: PathBuf },
}

/// A certificate with the chain of those that signed it, and its key.
#[derive(Debug)]
pub(crate) struct Pair {
    certified: Arc<CertifiedKey>,
    ends: Option<Timestamp>,
}

impl Pair {
    pub(crate) fn read(files: &PairFiles) -> Result<Self, PairError> {
        let PairFiles { certificate, key } = files;
        let chain = certificates(&read(certificate, |_| true)?);
        let chain = chain.ok_or_else(|| PairError::NoCertificate(certificate.clone()))?;
        let text = read(key, is_private)?;
        let private = PrivateKeyDer::from_pem_slice(&text).map_err(|_| PairError::NoKey(key.clone()))?;
        let ends = end_of(&chain);
        let certified = CertifiedKey::from_der(chain, private, &ring::default_provider());
        let certified = certified.map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                PairError::Mismatch { certificate: certificate.clone(), key: key.clone() }
            }
            Error::InvalidCertificate(_) => PairError::NoCertificate(certificate.clone()),
            _ => PairError::OddKey(key.clone()),
        })?;
        Ok(Self { certified: Arc::new(certified), ends })
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// When the first certificate of the chain ends.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        self.ends
    }

    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| ends < now)
    }

    pub(crate) fn ends_soon(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|ends| ends.duration_since(now) < SOON)
    }
}

/// Whether nobody but its owner can change a file, and nobody but its owner and a group can read it.
fn is_private(mode: u32) -> bool {
    mode & 0o027 == 0
}

fn read(path: &Path, may_have: fn(u32) -> bool) -> Result<Vec<u8>, PairError> {
    let unreadable = |error| PairError::Unreadable(path.to_owned(), error);
    let file = File::open(path).map_err(unreadable)?;
    if !may_have(file.metadata().map_err(unreadable)?.permissions().mode()) {
        return Err(PairError::InSight(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > SIZE_MAX { Err(PairError::TooLong(path.to_owned())) } else { Ok(bytes) }
}

/// All certificates of a file, of which there must be one.
fn certificates(text: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    all.ok().filter(|chain| !chain.is_empty())
}

/// Finds out when a certificate ends, by asking the library that judges certificates about a time after all ends.
fn end_of(chain: &[CertificateDer<'static>]) -> Option<Timestamp> {
    let leaf = chain.first()?;
    let mut roots = RootCertStore::empty();
    roots.add(leaf.clone()).ok()?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    // Its time is looked at before its name.
    let name = ServerName::try_from("localhost").ok()?;
    let judged = verifier.verify_server_cert(leaf, &[], &name, &[], UnixTime::since_unix_epoch(AFTER_ALL));
    match judged {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Timestamp::from_second(not_after.as_secs().try_into().ok()?).ok()
        }
        Ok(_) | Err(_) => None,
    }
}
