//! A client that costs little: one connection, one request after the other, and a look at each answer whether it is
//! whole.

use anyhow::{Context, bail, ensure};
use memchr::{memchr, memmem};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What an answer was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// From the request to the last byte.
    pub(crate) took: Duration,
    /// From the request to the first byte of the body.
    pub(crate) first: Duration,
    /// Events with content.
    pub(crate) tokens: u32,
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(32 << 10) })
    }

    /// Sends a request that is ready, and reads its answer to the end. Fails unless it is a whole answer with status 200.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Seen> {
        let began = Instant::now();
        self.stream.write_all(request).await?;
        self.read.clear();
        let (head, framing) = loop {
            ensure!(
                self.stream.read_buf(&mut self.read).await? > 0,
                "the connection ended before the answer"
            );
            if let Some(found) = head(&self.read)? {
                break found;
            }
        };
        match framing {
            Framing::Length(length) => {
                while self.read.len() == head {
                    ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the answer is cut");
                }
                let first = began.elapsed();
                while self.read.len() < head + length {
                    ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the answer is cut");
                }
                let events =
                    self.read.starts_with(b"HTTP") && memmem::find(&self.read[head..], b"data: ").is_some();
                let mut events_seen = Events::default();
                if events {
                    events_seen.see(&self.read[head..]);
                    ensure!(events_seen.is_done, "a stream without its end");
                }
                Ok(Seen { took: began.elapsed(), first, tokens: events_seen.tokens })
            }
            Framing::Chunks => self.chunks(head, began).await,
        }
    }

    async fn chunks(&mut self, head: usize, began: Instant) -> anyhow::Result<Seen> {
        let (mut chunks, mut events, mut first) = (Chunks::default(), Events::default(), None);
        self.read.drain(..head);
        loop {
            let is_over = chunks.see(&self.read, |data| {
                first.get_or_insert_with(|| began.elapsed());
                events.see(data);
            })?;
            self.read.clear();
            if is_over {
                break;
            }
            ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the answer is cut between two chunks");
        }
        ensure!(events.is_done || events.tokens == 0, "a stream without its end");
        Ok(Seen { took: began.elapsed(), first: first.unwrap_or_default(), tokens: events.tokens })
    }
}

enum Framing {
    Length(usize),
    Chunks,
}

/// Where the head of an answer ends, and how its body is framed.
fn head(bytes: &[u8]) -> anyhow::Result<Option<(usize, Framing)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = response.parse(bytes)? else { return Ok(None) };
    if response.code != Some(200) {
        bail!("the answer is {:?}: {}", response.code, String::from_utf8_lossy(&bytes[len..]));
    }
    for header in &*response.headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            return Ok(Some((len, Framing::Length(std::str::from_utf8(header.value)?.parse()?))));
        }
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(Some((len, Framing::Chunks)));
        }
    }
    bail!("an answer without a length")
}

/// Takes chunks apart, wherever the reads were cut.
#[derive(Debug, Default)]
struct Chunks {
    /// Bytes of the current chunk that are still to come, with its line end.
    left: usize,
    line: Vec<u8>,
    is_last: bool,
}

impl Chunks {
    /// Gives the data on; says whether that was the last chunk with its empty line.
    fn see(&mut self, mut bytes: &[u8], mut data: impl FnMut(&[u8])) -> anyhow::Result<bool> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let here = self.left.min(bytes.len());
                // The last two of them end the line.
                let content = here.min(self.left.saturating_sub(2));
                data(&bytes[..content]);
                self.left -= here;
                bytes = &bytes[here..];
                continue;
            }
            let Some(end) = memchr(b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                return Ok(false);
            };
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = std::str::from_utf8(line.trim_ascii())?;
            if self.is_last {
                ensure!(line.is_empty() && bytes.is_empty(), "bytes after the last chunk");
                return Ok(true);
            }
            let size =
                usize::from_str_radix(line, 16).with_context(|| format!("{line:?} as a chunk's size"))?;
            self.is_last = size == 0;
            self.left = if size == 0 { 0 } else { size + 2 };
        }
        Ok(false)
    }
}

const CONTENT: &[u8] = b"\"content\":";
const DONE: &[u8] = b"[DONE]";

/// Counts the events of a stream, wherever the reads were cut.
#[derive(Debug, Default)]
struct Events {
    tokens: u32,
    is_done: bool,
    /// The end of what was seen, as long as a sign that may be cut.
    tail: Vec<u8>,
}

impl Events {
    fn see(&mut self, data: &[u8]) {
        // A sign that lies over the cut is found where both meet; it fits in neither alone.
        let mut seam = std::mem::take(&mut self.tail);
        let before = seam.len();
        seam.extend_from_slice(&data[..data.len().min(CONTENT.len() - 1)]);
        let over = |sign: &[u8], at: usize| at < before && at + sign.len() > before;
        self.tokens += u32::from(memmem::find_iter(&seam, CONTENT).any(|at| over(CONTENT, at)));
        self.is_done |= memmem::find_iter(&seam, DONE).any(|at| over(DONE, at));
        self.tokens += u32::try_from(memmem::find_iter(data, CONTENT).count()).unwrap_or(u32::MAX);
        self.is_done |= memmem::find(&data[data.len().saturating_sub(64)..], DONE).is_some();
        seam.truncate(before);
        seam.extend_from_slice(&data[data.len().saturating_sub(CONTENT.len() - 1)..]);
        let kept = seam.len().saturating_sub(CONTENT.len() - 1);
        seam.drain(..kept);
        self.tail = seam;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_alike_wherever_they_are_cut() {
        let data = b"data: {\"content\":\" 1\"}\n\ndata: {\"content\":\" 2\"}\n\ndata: [DONE]\n\n";
        let mut all = Vec::new();
        for piece in [&data[..10], &data[10..31], &data[31..]] {
            all.extend(format!("{:X}\r\n", piece.len()).bytes());
            all.extend_from_slice(piece);
            all.extend_from_slice(b"\r\n");
        }
        all.extend_from_slice(b"0\r\n\r\n");
        for first in 0..all.len() {
            for second in first..all.len() {
                let (mut chunks, mut events, mut is_over) = (Chunks::default(), Events::default(), false);
                for piece in [&all[..first], &all[first..second], &all[second..]] {
                    is_over = chunks.see(piece, |data| events.see(data)).unwrap();
                }
                assert_eq!((is_over, events.tokens, events.is_done), (true, 2, true), "{first} {second}");
            }
        }
    }
}
