//! The one place that makes an HTTP client, and that knows what its errors mean.
//!
//! What reqwest would do by default and we do not want: follow ten redirects (the bearer would go along), give up
//! after 30 s in all, use the proxy of the environment also for loopback, retry, and keep connections for later
//! (a probe must have one of its own).

mod body;
mod local;
mod tls;

pub use body::{Body, TimedOut};

pub use local::{Local, NotOurs};

use crate::{
    failover::{Fault, Unreachable},
    sabotage,
};
use reqwest::{blocking::Client, redirect};
use std::{error::Error as StdError, io, net::IpAddr, time::Duration};
use url::{Host, Url};

/// What a client needs to know before it is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// The limit for DNS, TCP and TLS together.
    pub connect: Duration,
    /// The limit from the start of a request to the head of its answer.
    pub head: Duration,
    /// More certificate authorities to trust, in PEM.
    pub extra_roots: Option<Vec<u8>>,
    /// A program of this machine that must be ours.
    pub local: Option<Local>,
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The file of certificate authorities holds none.
    #[error("the CA file holds no usable certificate: {0}")]
    Roots(String),
    /// TLS or the operating system refuses.
    #[error("cannot set up HTTP: {0}")]
    Client(String),
}

/// Makes a client for one origin.
pub fn client(origin: &Url, options: &Options) -> Result<Client, BuildError> {
    // Only the first call of the process decides; a second one finds the same provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("mcpctl/", env!("CARGO_PKG_VERSION")))
        .redirect(redirects())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0)
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(options.connect)
        .timeout(options.head);
    // Through a proxy, plain HTTP would show the bearer to it.
    let never = !sabotage::PROXY_FOR_LOCAL && (is_loopback(origin) || origin.scheme() == "http");
    if never || no_proxy_for_all() {
        builder = builder.no_proxy();
    }
    if let Some(local) = &options.local {
        if let Some(socket) = &local.socket {
            builder = builder.unix_socket(socket.as_path());
        }
        builder = builder.connector_layer(local.clone());
    }
    if let Some(pem) = &options.extra_roots {
        let roots =
            reqwest::Certificate::from_pem_bundle(pem).map_err(|e| BuildError::Roots(root_cause(&e)))?;
        if roots.is_empty() {
            return Err(BuildError::Roots("no CERTIFICATE block".into()));
        }
        builder = builder.tls_certs_merge(roots);
    } else if origin.scheme() == "http" {
        // Nobody shows a certificate, and to read those of the system takes longer than the call. If TLS were spoken
        // all the same, nobody would be trusted.
        builder = builder.tls_certs_only([]);
    }
    room_for_a_runtime().map_err(|error| BuildError::Client(error.to_string()))?;
    let client = builder.build().map_err(|error| BuildError::Client(root_cause(&error)))?;
    // The last handle would wait for the thread behind it when it goes, and a peer can keep that one busy for long.
    std::mem::forget(client.clone());
    Ok(client)
}

/// None: whoever is asked could have the bearer and the prompt sent to somebody else.
fn redirects() -> redirect::Policy {
    if sabotage::FOLLOW_REDIRECTS { redirect::Policy::default() } else { redirect::Policy::none() }
}

/// Says whether the environment excepts everything from its proxies. reqwest, which reads the same variables, takes the
/// `*` for names and not for addresses.
fn no_proxy_for_all() -> bool {
    let exceptions = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| std::env::var(name).ok());
    exceptions.is_some_and(|list| list.split(',').any(|entry| entry.trim() == "*"))
}

/// Says whether there are file descriptors for the runtime of a client, which does not refuse but panics without them.
fn room_for_a_runtime() -> io::Result<()> {
    (0..RUNTIME_PIPES).map(|_| io::pipe()).collect::<io::Result<Vec<_>>>().map(drop)
}

/// Pipes have two descriptors each; a runtime takes an epoll, an eventfd, and for signals a pair of sockets and a copy.
const RUNTIME_PIPES: usize = 4;

/// Says whether a URL stays on this machine: a loopback address, or the name `localhost`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// Says whether two URLs lead to the same server. This machine has many names, and a port of it one server.
#[must_use]
pub fn is_same_server(one: &Url, other: &Url) -> bool {
    let on_this_machine = is_loopback(one) && is_loopback(other);
    one.origin() == other.origin()
        || (on_this_machine && one.port_or_known_default() == other.port_or_known_default())
}

/// `host:port`, for messages.
#[must_use]
pub fn target(url: &Url) -> String {
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.to_string(),
    }
}

/// What an error before the head of an answer means.
#[must_use]
pub fn fault(error: &reqwest::Error, url: &Url, options: &Options) -> Fault {
    let target = || options.local.as_ref().map_or_else(|| target(url), |local| local.name.clone());
    let unreachable = |how| Fault::Unreachable { target: target(), how };
    if let Some(NotOurs(why)) = find(error) {
        return unreachable(Unreachable::Network(why.clone()));
    }
    if let Some(rustls::Error::InvalidMessage(_)) = find(error) {
        return Fault::Tls(format!("{} does not speak TLS; is it http:// instead of https://?", target()));
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return Fault::Tls(tls::words(error));
    }
    if error.is_timeout() {
        return if error.is_connect() {
            unreachable(Unreachable::ConnectTimeout(options.connect))
        } else {
            Fault::NoContent(options.head)
        };
    }
    if let Some(hyper) = find::<hyper::Error>(error) {
        if hyper.is_parse() {
            return Fault::Unparsable(hyper.to_string());
        }
        if hyper.is_incomplete_message() || hyper.is_canceled() {
            return unreachable(Unreachable::Reset);
        }
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => unreachable(Unreachable::Refused),
        Some(
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof,
        ) => unreachable(Unreachable::Reset),
        Some(io::ErrorKind::TimedOut) => unreachable(Unreachable::ConnectTimeout(options.connect)),
        _ if chain(error).any(|e| e.to_string() == "dns error") => {
            unreachable(Unreachable::Dns(root_cause(error)))
        }
        _ => unreachable(Unreachable::Network(root_cause(error))),
    }
}

/// What an error in the middle of a body means. Deadlines are the caller's to tell apart: see [`TimedOut`].
#[must_use]
pub fn body_fault(error: &io::Error) -> Fault {
    match error.get_ref().and_then(|inner| find::<hyper::Error>(inner)) {
        Some(hyper) if hyper.is_parse() => Fault::Unparsable(hyper.to_string()),
        _ => Fault::Cut("connection closed".into()),
    }
}

/// Says whether a read ended because the time for it was over.
#[must_use]
pub fn is_timeout(error: &io::Error) -> bool {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<reqwest::Error>())
        .is_some_and(reqwest::Error::is_timeout)
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An io::Error hides what it wraps from `source`.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p08_only_loopback_hosts_are_loopback() {
        let yes = [
            "http://127.0.0.1:3100",
            "http://127.9.9.9",
            "http://[::1]:1",
            "http://localhost:80",
            "http://[::ffff:127.0.0.1]/",
        ];
        let no = [
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://[::2]/",
            "http://0.0.0.0/",
        ];
        assert!(yes.iter().all(|url| is_loopback(&url.parse().unwrap())), "{yes:?}");
        assert!(!no.iter().any(|url| is_loopback(&url.parse().unwrap())), "{no:?}");
    }

    #[test]
    fn p22_a_server_on_this_machine_has_many_names() {
        let same = |one: &str, other: &str| is_same_server(&one.parse().unwrap(), &other.parse().unwrap());
        let server = "http://127.0.0.1:3100/";
        for url in ["http://127.0.0.1:3100/v1", "http://localhost:3100/v1", "http://[::1]:3100"] {
            assert!(same(server, url), "{url}");
        }
        for url in ["http://127.0.0.1:3101/v1", "http://10.0.0.1:3100/v1", "http://mcpd.example:3100"] {
            assert!(!same(server, url), "{url}");
        }
        assert!(same("https://mcpd.example", "https://MCPD.example:443/v1"));
        assert!(!same("https://mcpd.example", "https://mcpd.example:8443/v1"));
    }
}
