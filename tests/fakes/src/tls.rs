//! Certificates that a client must accept, and those that it must not.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Which certificate a double shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// Signed by the double's authority, for this machine and for `mcpd.example`, valid today.
    Good,
    /// Like a good one, but it began a year ago and ends in a year.
    TwoYears,
    /// Like a good one, but it ended in 2001.
    Expired,
    /// Like a good one, but for `elsewhere.invalid`.
    WrongName,
    /// Signed by itself, not by the authority.
    SelfSigned,
}

/// A certificate with its key, and who signed it: each as PEM.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// The certificate of an authority made for this one.
    pub authority: String,
}

impl Certificate {
    /// Makes one with a key and an authority of its own.
    pub fn issue(self) -> Issued {
        let ca = authority();
        let key = KeyPair::generate().expect("a key");
        let params = params(self);
        let leaf = match self {
            Self::SelfSigned => params.self_signed(&key),
            Self::Good | Self::TwoYears | Self::Expired | Self::WrongName => params.signed_by(&key, &ca),
        };
        let certificate = leaf.expect("a certificate").pem();
        Issued { certificate, key: key.serialize_pem(), authority: ca.pem() }
    }
}

/// The server's side of TLS with that certificate, and the authority's certificate as PEM: for
/// [`Step::StartTls`](crate::Step::StartTls).
pub fn tls_identity(certificate: Certificate) -> (Arc<ServerConfig>, String) {
    let issued = certificate.issue();
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key belongs to the certificate");
    (Arc::new(config), issued.authority)
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority of a double");
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

fn params(certificate: Certificate) -> CertificateParams {
    let names: &[&str] = match certificate {
        Certificate::WrongName => &["elsewhere.invalid"],
        Certificate::Good | Certificate::TwoYears | Certificate::Expired | Certificate::SelfSigned => {
            &["127.0.0.1", "localhost", "0.0.0.0", "mcpd.example"]
        }
    };
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names");
    if certificate == Certificate::TwoYears {
        let (now, year) = (SystemTime::now(), Duration::from_hours(365 * 24));
        params.not_before = (now - year).into();
        params.not_after = (now + year).into();
    }
    if certificate == Certificate::Expired {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evild, wire};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    fn get(evild: &Evild) -> std::io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(evild.ca_file()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(session, TcpStream::connect(evild.addr())?);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_client_accepts_the_good_certificate_only() {
        let script = || [vec![crate::Step::ReadRequest, crate::Step::Send(wire::http(200, &[], "hello"))]];
        let good = Evild::start_tls(Certificate::Good, script());
        assert!(get(&good).unwrap().ends_with("hello"));
        assert_eq!(good.requests()[0].method, "GET");

        for (bad, reason) in [
            (Certificate::Expired, "Expired"),
            (Certificate::WrongName, "not valid for name"),
            (Certificate::SelfSigned, "UnknownIssuer"),
        ] {
            let evild = Evild::start_tls(bad, script());
            let error = get(&evild).unwrap_err().to_string();
            assert!(error.to_lowercase().contains(&reason.to_lowercase()), "{bad:?}: {error}");
            evild.wait_for_close(0, Duration::from_secs(10));
            assert_eq!(evild.bytes_received(), 0);
            assert!(evild.tls_failure(0).is_some(), "{bad:?}");
        }
    }
}
