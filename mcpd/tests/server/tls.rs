//! TLS towards clients: which one is spoken, what the pair of files must be, and what becomes of a new pair.

use crate::cases::LIMIT;
use fakes::{Certificate, Issued, Mcpd, McpdBuilder, wait_until};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The two files in a folder, as an operator puts them there.
struct Files {
    dir: TempDir,
}

impl Files {
    fn of(issued: &Issued) -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        files.put(issued);
        files
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    /// Renames over what is there, as careful programs do.
    fn put(&self, issued: &Issued) {
        self.write(&self.certificate(), &issued.certificate);
        self.write(&self.key(), &issued.key);
    }

    fn write(&self, path: &Path, text: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn mcpd(&self) -> McpdBuilder {
        self.args().into_iter().fold(Mcpd::builder(), McpdBuilder::arg)
    }

    fn args(&self) -> [String; 4] {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        ["--tls-cert".into(), text(self.certificate()), "--tls-key".into(), text(self.key())]
    }

    /// Runs `check` on them, on a database that is there.
    fn check(&self) -> Output {
        let args = self.args();
        let args: Vec<&str> = ["check"].into_iter().chain(args.iter().map(String::as_str)).collect();
        Mcpd::start().run(&args)
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// Agrees on TLS with a server that this authority vouches for.
fn connect(
    mcpd: &Mcpd,
    issued: &Issued,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(issued.authority.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = TcpStream::connect(mcpd.addr())?;
    tcp.set_read_timeout(Some(LIMIT))?;
    session.complete_io(&mut tcp)?;
    Ok(StreamOwned::new(session, tcp))
}

/// Asks for `/healthz` on a connection that goes on, and gives the head of the answer.
fn ask(stream: &mut Stream) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: mcpd\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn n05_tls_1_2_and_1_3_are_spoken_with_http_1_1_inside() {
    let issued = Certificate::Good.issue();
    let files = Files::of(&issued);
    let mcpd = files.mcpd().start();
    for version in BOTH {
        let mut stream = connect(&mcpd, &issued, &[*version]).unwrap();
        assert_eq!(stream.conn.protocol_version(), Some(version.version));
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..2 {
            assert!(ask(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }
    // And who does not trust the authority does not go on.
    assert!(connect(&mcpd, &Certificate::Good.issue(), BOTH).is_err());
}

/// A `ClientHello` that says no more than this version, and everything else that a server of today wants to hear.
fn hello(version: [u8; 2]) -> Vec<u8> {
    const SUITES: [u8; 8] = [0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x13, 0x00, 0x2f];
    // Groups: P-256. Points: uncompressed. Signatures: ECDSA and RSA with SHA-256.
    const EXTENSIONS: [u8; 24] = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 6, 0, 4, 4, 3, 4, 1];
    let random = [7; 32];
    let parts: [&[u8]; 8] = [&version, &random, &[0], &[0, 8], &SUITES, &[1, 0], &[0, 24], &EXTENSIONS];
    let body = parts.concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

#[test]
fn n05_older_versions_than_tls_1_2_are_refused() {
    let files = Files::of(&Certificate::Good.issue());
    let mcpd = files.mcpd().start();
    let answer = |version| {
        let mut stream = TcpStream::connect(mcpd.addr()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&hello(version)).unwrap();
        let mut head = [0; 7];
        stream.read_exact(&mut head).unwrap();
        (head[0], [head[5], head[6]])
    };
    for old in [[3, 0], [3, 1], [3, 2]] {
        // An alert, fatal: protocol version.
        assert_eq!(answer(old), (0x15, [2, 70]), "{old:?}");
    }
    // The same words with the version that is spoken: a handshake, `ServerHello`.
    assert_eq!(answer([3, 3]).0, 0x16);
}

#[test]
fn n05_http_without_tls_is_told_so_and_reaches_no_route() {
    let issued = Certificate::Good.issue();
    let files = Files::of(&issued);
    let mcpd = files.mcpd().start();
    for path in ["/healthz", "/api/v1/llms"] {
        let answer = mcpd.request("GET", path, Some(mcpd.admin_token()), &[], b"");
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
        let said: mcp_api::ErrorBody = answer.json();
        assert!(said.error.message.contains("https://"), "{}", said.error.message);
    }
    assert!(!mcpd.logs().contains(mcpd.admin_token()));
    // Neither TLS nor HTTP: no word, and the next one is served.
    assert!(mcpd.raw(b"\x00\x01\x02").is_empty());
    connect(&mcpd, &issued, BOTH).unwrap();
}

#[test]
fn n05_a_client_that_never_says_hello_is_let_go() {
    let files = Files::of(&Certificate::Good.issue());
    let mcpd = files.mcpd().start();
    let begun = Instant::now();
    let half_a_hello = &hello([3, 3])[..20];
    for start in [&b""[..], half_a_hello] {
        let mut stream = TcpStream::connect(mcpd.addr()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(start).unwrap();
        let mut rest = Vec::new();
        // Ended by the server, with or without a reset; a read that timed out would be an error of another kind.
        let ended = stream.read_to_end(&mut rest).map_err(|error| error.kind());
        assert!(matches!(ended, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{ended:?}");
    }
    assert!(begun.elapsed() > Duration::from_secs(9));
}

#[test]
fn n05_a_new_pair_is_taken_without_a_restart_and_a_broken_one_is_not() {
    let first = Certificate::Good.issue();
    let files = Files::of(&first);
    let mcpd = files.mcpd().start();
    let mut old = connect(&mcpd, &first, BOTH).unwrap();
    ask(&mut old);

    // Half of a new pair, and then something that is none: what was there stays.
    let second = Certificate::Good.issue();
    files.write(&files.certificate(), &second.certificate);
    wait_until(LIMIT, "the mismatch is noticed", || {
        mcpd.logs().contains("is not the key of the certificate")
    });
    files.write(&files.key(), "canary");
    wait_until(LIMIT, "the odd key is noticed", || mcpd.logs().contains("holds no private key"));
    fs::remove_file(files.key()).unwrap();
    wait_until(LIMIT, "the missing key is noticed", || mcpd.logs().contains("key.pem: cannot be read"));
    connect(&mcpd, &first, BOTH).unwrap();
    assert!(connect(&mcpd, &second, BOTH).is_err());

    files.put(&second);
    wait_until(LIMIT, "the new pair is in use", || connect(&mcpd, &second, BOTH).is_ok());
    assert!(connect(&mcpd, &first, BOTH).is_err());
    // Who was there before is still served, on the same connection.
    ask(&mut old);
    let logs = mcpd.logs();
    assert!(!logs.contains("canary") && logs.contains("the new TLS certificate is in use"), "{logs}");
}

#[test]
fn n05_a_pair_that_cannot_be_taken_is_refused_at_the_start_and_by_check() {
    let issued = Certificate::Good.issue();
    let other = Certificate::Good.issue();
    let files = Files::of(&issued);
    let refused = |what: &str| {
        let args = files.args();
        let args: Vec<&str> =
            ["serve", "--listen", "127.0.0.1:0"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let serve = Mcpd::builder().run(&args);
        let check = files.check();
        let said = String::from_utf8_lossy(&serve.stderr);
        let checked = String::from_utf8_lossy(&check.stdout);
        assert!(!serve.status.success() && said.contains(what), "{what}: {said}");
        assert_eq!(check.status.code(), Some(3), "{what}: {checked}");
        assert!(checked.contains("BAD TLS: ") && checked.contains(what), "{what}: {checked}");
        let body = issued.key.lines().nth(1).unwrap();
        assert!(!said.contains("canary") && !said.contains(body) && !checked.contains("canary"), "{said}");
    };
    files.write(&files.key(), &other.key);
    refused("is not the key of the certificate");
    files.write(&files.key(), "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n");
    refused("a key of a kind that is not supported");
    files.write(&files.key(), &issued.certificate);
    refused("holds no private key");
    files.put(&issued);
    files.write(&files.certificate(), "canary");
    refused("holds no certificate");
    files.put(&issued);
    fs::set_permissions(files.key(), fs::Permissions::from_mode(0o644)).unwrap();
    refused("others on this machine can read or change this key");
    fs::set_permissions(files.key(), fs::Permissions::from_mode(0o660)).unwrap();
    refused("others on this machine can read or change this key");
    fs::remove_file(files.key()).unwrap();
    refused("key.pem: cannot be read");
    // As a group of its own has it, such as that of a Secret in Kubernetes.
    files.put(&issued);
    fs::set_permissions(files.key(), fs::Permissions::from_mode(0o440)).unwrap();
    files.mcpd().start();
}

#[test]
fn n05_check_says_when_the_certificate_ends() {
    let good = Files::of(&Certificate::TwoYears.issue()).check();
    let said = String::from_utf8(good.stdout).unwrap();
    assert!(good.status.success() && said.starts_with("ok  TLS certificate until 20"), "{said}");
    assert!(said.contains(", 364 days\n") || said.contains(", 365 days\n"), "{said}");
    let ended = Files::of(&Certificate::Expired.issue()).check();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(3));
    assert!(said.starts_with("BAD the TLS certificate ended on 2001-01-01\n"), "{said}");
}

#[test]
fn a12_half_of_a_pair_is_wrong_usage() {
    let files = Files::of(&Certificate::Good.issue());
    for half in [[0, 1], [2, 3]] {
        let args = files.args();
        let refused = Mcpd::builder().run(&["serve", &args[half[0]], &args[half[1]]]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("--tls-key") && said.contains("--tls-cert"), "{said}");
    }
}

#[test]
fn n05_the_metric_says_when_the_certificate_that_is_in_use_ends() {
    let files = Files::of(&Certificate::Expired.issue());
    let mcpd = files.mcpd().arg("--metrics-listen").arg("127.0.0.1:0").start();
    // Stdout may be read before stderr.
    wait_until(LIMIT, "the address is in the log", || mcpd.logs().contains("listening for metrics"));
    let logs = mcpd.logs();
    let line = logs.lines().find(|line| line.contains("listening for metrics")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let addr = line["address"].as_str().unwrap().parse().unwrap();
    let ends = || {
        let request = fakes::http::request_bytes("GET", "/metrics", addr, &[], b"");
        let shown = fakes::Exchange::open(addr, &request).unwrap().finish().text();
        let name = "mcpd_tls_certificate_expiry_timestamp_seconds ";
        let value = shown.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok());
        value.unwrap_or_default()
    };
    // The first of January 2001.
    wait_until(LIMIT, "the end is shown", || (ends() - 978_307_200.0).abs() < 0.5);
    let warned = || mcpd.logs().contains("the TLS certificate ends soon, or has ended");
    wait_until(LIMIT, "the log warns", warned);
    files.put(&Certificate::TwoYears.issue());
    wait_until(LIMIT, "the new end is shown", || ends() > 1_700_000_000.0);
}
