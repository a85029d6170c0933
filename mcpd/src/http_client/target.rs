//! Where a request goes: what a URL says, taken apart once.

use http::{HeaderValue, Uri};
use std::fmt;

/// A server, and a path there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(super) is_tls: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What `Host` says.
    authority: HeaderValue,
    path: String,
}

impl Target {
    /// Reads a URL of the web; nothing if it is none.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        Self::of(&url.parse().ok()?)
    }

    /// The same, of what was read already.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return None,
        };
        let host = uri.host()?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let authority = uri.authority()?.as_str();
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        Some(Self {
            is_tls,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: HeaderValue::try_from(authority).ok()?,
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// The same server, at a path that begins here: `/v1` and `/models` are `/v1/models`.
    #[must_use]
    pub(crate) fn below(&self, path: &str) -> Self {
        Self { path: format!("{}{path}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    pub(super) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// Scheme, host and port: what may be said of a URL in a log.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority.to_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target = Target::parse("https://user:pw@[::1]:8443/v1/?a=b").unwrap();
        assert_eq!((target.is_tls, &*target.host, target.port), (true, "::1", 8443));
        assert_eq!((target.path(), target.to_string().as_str()), ("/v1/?a=b", "https://[::1]:8443"));
        let target = Target::parse("http://a").unwrap();
        assert_eq!((target.is_tls, &*target.host, target.port, target.path()), (false, "a", 80, "/"));
        for odd in ["", "a", "a:80", "/v1", "ftp://a/", "http://"] {
            assert_eq!(Target::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_base_may_end_with_a_slash() {
        for (base, path) in
            [("http://a/v1", "/v1/models"), ("http://a/v1/", "/v1/models"), ("http://a", "/models")]
        {
            assert_eq!(Target::parse(base).unwrap().below("/models").path(), path);
        }
    }
}
