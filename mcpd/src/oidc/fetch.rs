//! Asks an issuer for its keys: one or two small documents, over TLS, within a time. Follows no redirect, and goes nowhere
//! that a token names.

use super::{
    jwk::{Keys, NotAKeySet},
    settings::{self, Issuer},
};
use crate::{
    http_client::{ExchangeError, HttpClient, Request, Target},
    reach::Reach,
    secret_file,
};
use axum::body::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;
use url::Url;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest document, in bytes.
const SIZE_MAX: usize = 256 << 10;
/// The largest token for the issuer, in bytes.
const BEARER_MAX: u64 = 16 << 10;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotFetched {
    #[error("there was no answer in time")]
    TooLong,
    #[error("there was no answer")]
    NoAnswer(#[source] ExchangeError),
    #[error("{0} can be no URL of a request")]
    NoUrl(String),
    #[error("the answer had the status {0}")]
    Status(StatusCode),
    #[error("the answer broke off, or is too large")]
    Body,
    #[error("the configuration document is not one of OpenID Connect")]
    NoConfiguration,
    #[error("the configuration document is that of another issuer")]
    OtherIssuer,
    #[error("the keys are not at an https URL, or on this machine, which the issuer is not")]
    Unsafe,
    #[error("the answer is no key set")]
    NoKeys(#[from] NotAKeySet),
    #[error("{0} does not hold a token")]
    NoBearer(PathBuf),
}

/// Keys, and for how long the issuer says that they may be kept.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: Keys,
    pub(super) max_age: Option<Duration>,
}

/// Where the keys of one issuer are, and how to get there.
#[derive(Debug)]
pub(super) struct Source {
    issuer: String,
    jwks_url: Option<String>,
    bearer_file: Option<PathBuf>,
    client: HttpClient,
}

/// Why an issuer cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWay {
    #[error("{0} holds no certificate of an authority")]
    NoAuthority(PathBuf),
    #[error("TLS cannot be used")]
    Tls(#[from] rustls::Error),
}

impl Source {
    /// Reads the authorities that are trusted; connects to nobody yet.
    pub(super) fn of(issuer: &Issuer) -> Result<Self, NoWay> {
        // Which issuers there are, and where, is said by whoever runs this server.
        let client = match &issuer.ca_file {
            None => HttpClient::new(Reach::Anywhere)?,
            Some(path) => HttpClient::trusting(Reach::Anywhere, authorities(path)?)?,
        };
        Ok(Self {
            issuer: issuer.url.clone(),
            jwks_url: issuer.jwks_url.clone(),
            bearer_file: issuer.bearer_file.clone(),
            client,
        })
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, NoWay> {
    let none = || NoWay::NoAuthority(path.into());
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|_| none())? {
        store.add(certificate.map_err(|_| none())?).map_err(|_| none())?;
    }
    if store.is_empty() { Err(none()) } else { Ok(store) }
}

/// Asks for the keys.
pub(super) async fn keys(source: &Source) -> Result<Fetched, NotFetched> {
    timeout(PATIENCE, asked(source)).await.map_err(|_| NotFetched::TooLong)?
}

async fn asked(source: &Source) -> Result<Fetched, NotFetched> {
    let url = match &source.jwks_url {
        Some(url) => url.clone(),
        None => discovered(source).await?,
    };
    let bearer = match &source.bearer_file {
        Some(path) => Some(bearer(path).await?),
        None => None,
    };
    let (headers, body) = source.get(&url, bearer).await?;
    Ok(Fetched { keys: Keys::parse(&body)?, max_age: max_age(&headers) })
}

/// `OpenID` Connect Discovery 1.0, section 4: the issuer that it names must be the one that was asked.
async fn discovered(source: &Source) -> Result<String, NotFetched> {
    let url = format!("{}/.well-known/openid-configuration", source.issuer.trim_end_matches('/'));
    let (_, body) = source.get(&url, None).await?;
    let Configuration { issuer, jwks_uri } = json(&body).ok_or(NotFetched::NoConfiguration)?;
    if issuer != source.issuer {
        return Err(NotFetched::OtherIssuer);
    }
    let is_here = Url::parse(&source.issuer).is_ok_and(|url| settings::is_loopback(&url));
    // What is this machine to an issuer elsewhere is another one, and nothing that it may send us to.
    let is_safe = |url: &Url| settings::is_safe(url) && (is_here || !settings::is_loopback(url));
    if Url::parse(&jwks_uri).is_ok_and(|url| is_safe(&url)) { Ok(jwks_uri) } else { Err(NotFetched::Unsafe) }
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

impl Source {
    async fn get(&self, url: &str, bearer: Option<HeaderValue>) -> Result<(HeaderMap, Bytes), NotFetched> {
        let to = Target::parse(url).ok_or_else(|| NotFetched::NoUrl(url.to_owned()))?;
        let mut request = Request::new(&Method::GET, &to)
            .with("accept", &HeaderValue::from_static("application/json"))
            .with("user-agent", &HeaderValue::from_static(concat!("mcpd/", env!("CARGO_PKG_VERSION"))));
        if let Some(bearer) = bearer {
            request = request.with("authorization", &bearer);
        }
        let answer = self.client.exchange(&to, request, PATIENCE).await;
        let (head, body) = answer.map_err(NotFetched::NoAnswer)?;
        if head.status != StatusCode::OK {
            return Err(NotFetched::Status(head.status));
        }
        let body = Limited::new(body, SIZE_MAX).collect().await.map_err(|_| NotFetched::Body)?;
        Ok((head.headers, body.to_bytes()))
    }
}

/// Read each time: a projected token of Kubernetes is replaced every hour.
async fn bearer(path: &Path) -> Result<HeaderValue, NotFetched> {
    let none = || NotFetched::NoBearer(path.into());
    let text = secret_file::read(path, BEARER_MAX).await.map_err(|_| none())?;
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(none());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| none())?;
    value.set_sensitive(true);
    Ok(value)
}

/// `max-age` of `Cache-Control`; zero if nothing may be kept.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
    let mut directives = text.split(',').map(str::trim);
    if directives.clone().any(|one| one == "no-store" || one == "no-cache") {
        return Some(Duration::ZERO);
    }
    let seconds = directives.find_map(|one| one.strip_prefix("max-age="))?;
    // One that is too large for a number is cut to the bound like every other.
    Some(Duration::from_secs(seconds.trim_matches('"').parse::<u32>().unwrap_or(u32::MAX).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_keys_may_be_kept_is_read_as_it_is_said() {
        let of = |text: &'static str| {
            let headers = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(text))]);
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(of("public, max-age=300"), Some(300));
        assert_eq!(of("Max-Age=\"60\""), Some(60));
        assert_eq!(of("no-store, max-age=300"), Some(0));
        assert_eq!(of("public"), None);
        assert_eq!(of("max-age=99999999999999"), Some(u32::MAX.into()));
        assert_eq!(max_age(&HeaderMap::new()), None);
    }
}
