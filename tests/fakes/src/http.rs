//! Just enough HTTP/1.1 to look at every byte: a reader of messages and a client that reads one answer.
//!
//! It refuses to be clever: no redirects, no retries, no keep-alive, no decompression.

use serde::de::DeserializeOwned;
use std::{
    fmt::Debug,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// The longest wait for one answer. A test that needs it has failed already.
const PATIENCE: Duration = Duration::from_mins(1);

/// Header lines in the order in which they came. Names compare without case, and may repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a header.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}

/// A request that a double received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Such as `POST`.
    pub method: String,
    /// The path as it was sent, nothing decoded.
    pub target: String,
    /// See [`Headers`].
    pub headers: Headers,
    /// Without the chunk framing.
    pub body: Vec<u8>,
}

impl Request {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body of a request is JSON")
    }

    /// The value of a header that must not come twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.headers.all(name);
        assert!(all.len() < 2, "{name} came {} times", all.len());
        all.first().copied()
    }

    /// The same request without a header.
    #[must_use]
    pub fn without_header(&self, name: &str) -> Self {
        let mut changed = self.clone();
        changed.headers.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        changed
    }

    /// The same request with this header, instead of all of its name.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut changed = self.without_header(name);
        changed.headers.0.push((name.to_owned(), value.to_owned()));
        changed
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// See [`Headers`].
    pub headers: Headers,
    /// Without the chunk framing.
    pub body: Vec<u8>,
    /// False if the connection ended before the framing said so.
    pub complete: bool,
}

impl Response {
    /// The value of a header that must not come twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.headers.all(name);
        assert!(all.len() < 2, "{name} came {} times", all.len());
        all.first().copied()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as a wire type, or as [`serde_json::Value`].
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| {
            panic!("the body of a {} is not the expected JSON: {e}\n{}", self.status, self.text())
        })
    }

    /// The `data:` lines of an event stream, `[DONE]` included.
    pub fn events(&self) -> Vec<String> {
        self.text()
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|d| d.trim_start().to_owned())
            .collect()
    }

    /// Itself, if the status is 2xx; else a panic that shows what came instead.
    #[must_use]
    pub fn expect_success(self, what: &str) -> Self {
        assert!((200..300).contains(&self.status), "{what}: status {}\n{}", self.status, self.text());
        self
    }
}

/// A request under way whose answer is read piece by piece. Dropping it closes the connection.
#[derive(Debug)]
pub struct Exchange {
    /// The status.
    pub status: u16,
    /// See [`Headers`].
    pub headers: Headers,
    reader: BufReader<Box<dyn Stream>>,
    framing: Framing,
}

/// What an answer is read from.
trait Stream: Read + Send + Debug {}
impl<T: Read + Send + Debug> Stream for T {}

impl Exchange {
    /// Sends one request on a connection of its own and reads the head of the answer.
    pub fn open(addr: SocketAddr, request: &[u8]) -> io::Result<Self> {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        Self::read_head(Box::new(stream), request)
    }

    /// The same over a Unix socket.
    pub fn open_unix(socket: &Path, request: &[u8]) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        Self::read_head(Box::new(stream), request)
    }

    fn read_head(stream: Box<dyn Stream>, request: &[u8]) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let head = loop {
            let head = Head::read(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if head.status() != Some(100) {
                break head;
            }
        };
        let status = head.status().ok_or(io::ErrorKind::InvalidData)?;
        let framing = if request.starts_with(b"HEAD ") || matches!(status, 204 | 304) {
            Framing::Length(0)
        } else {
            Framing::of(&head.headers, Framing::UntilClose)
        };
        Ok(Self { status, headers: head.headers, reader, framing })
    }

    /// The next piece of the body as it came, at most one chunk; none at its end.
    pub fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.framing.next_piece(&mut self.reader)
    }

    /// Reads on until the body contains `needle`, and gives what was read.
    pub fn read_until(&mut self, needle: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(needle) {
            match self.next_piece() {
                Ok(Some(piece)) => seen.extend(piece),
                end => {
                    panic!("no {needle:?} before the end ({end:?}) of {:?}", String::from_utf8_lossy(&seen))
                }
            }
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Reads to the end.
    pub fn finish(mut self) -> Response {
        let mut body = Vec::new();
        let complete = loop {
            match self.next_piece() {
                Ok(Some(piece)) => body.extend(piece),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        Response { status: self.status, headers: self.headers, body, complete }
    }
}

/// The bytes of a request; `Host`, `Connection: close` and `Content-Length` are added if they are missing.
pub fn request_bytes(
    method: &str,
    path: &str,
    host: SocketAddr,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let has = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    let mut line = |name: &str, value: &str| {
        for part in [name, ": ", value, "\r\n"] {
            text.push_str(part);
        }
    };
    if !has("host") {
        line("host", &host.to_string());
    }
    if !has("connection") {
        line("connection", "close");
    }
    if !has("content-length") && !has("transfer-encoding") && (!body.is_empty() || method == "POST") {
        line("content-length", &body.len().to_string());
    }
    for (name, value) in headers {
        line(name, value);
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The first line and the headers of a message.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) first_line: String,
    pub(crate) headers: Headers,
}

impl Head {
    /// Reads to the empty line; none if the peer closed before it sent anything.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(first_line) = read_line(reader)? else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            let line = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(Some(Self { first_line, headers: Headers(headers) }));
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn status(&self) -> Option<u16> {
        self.first_line.split(' ').nth(1)?.parse().ok()
    }

    /// Reads the body that belongs to this head and gives the whole request.
    pub(crate) fn with_body(self, reader: &mut impl BufRead) -> io::Result<Request> {
        let mut framing = Framing::of(&self.headers, Framing::Length(0));
        let mut body = Vec::new();
        while let Some(piece) = framing.next_piece(reader)? {
            body.extend(piece);
        }
        let mut words = self.first_line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        Ok(Request { method: word(), target: word(), headers: self.headers, body })
    }
}

/// How a body says where it ends.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    fn of(headers: &Headers, otherwise: Self) -> Self {
        if headers.first("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked")) {
            return Self::Chunked;
        }
        headers.first("content-length").and_then(|v| v.parse().ok()).map_or(otherwise, Self::Length)
    }

    fn next_piece(&mut self, reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Length(0) => Ok(None),
            Self::Length(left) => {
                let piece = some_bytes(reader, *left)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                *left -= piece.len();
                Ok(Some(piece))
            }
            Self::UntilClose => some_bytes(reader, usize::MAX),
            Self::Chunked => {
                let size = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
                let mut chunk = vec![0; size];
                reader.read_exact(&mut chunk)?;
                while !read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?.is_empty() {}
                if size == 0 {
                    *self = Self::Length(0);
                    return Ok(None);
                }
                Ok(Some(chunk))
            }
        }
    }
}

/// What is there, at most `limit` bytes; none at the end. A signal is no end.
fn some_bytes(reader: &mut impl BufRead, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut piece = vec![0; limit.min(16 << 10)];
    loop {
        match reader.read(&mut piece) {
            Ok(read) => {
                piece.truncate(read);
                return Ok((read > 0).then_some(piece));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// One line without its end; none if there is not a single byte.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.take(1 << 20).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}
