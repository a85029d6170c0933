//! A response body that can be read against a moving deadline.
//!
//! reqwest's blocking body has one time limit for each read, fixed when the request is sent. An answer needs three:
//! until its first content, between two events, and for everything. So a thread reads, and the caller waits for it
//! no longer than it wants to.

use std::{
    fmt,
    io::{self, Read},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::Instant,
};

/// What one read may bring, in bytes.
const PIECE: usize = 16 * 1024;
/// How many pieces wait for a slow reader before the connection is slowed down.
const PIECES: usize = 4;

/// The bytes of a response.
pub struct Body {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    read: usize,
    deadline: Option<Instant>,
    left: u64,
}

/// The error inside the `io::Error` of a read that met the deadline.
#[derive(Debug)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline is over")
    }
}

impl std::error::Error for TimedOut {}

impl Body {
    /// Starts to read `response`. Of more than `limit` bytes the rest is an error.
    ///
    /// Dropping the body closes the connection as soon as the next byte arrives or the limit of one read is over.
    #[must_use]
    pub fn new(response: reqwest::blocking::Response, limit: u64) -> Self {
        let (sender, pieces) = sync_channel(PIECES);
        let failed = sender.clone();
        let reader = std::thread::Builder::new().spawn(move || pump(response, &sender));
        if let Err(error) = reader {
            // There is room for it: nobody else has sent anything.
            let _ = failed.send(Err(error));
        }
        Self { pieces, piece: Vec::new(), read: 0, deadline: None, left: limit }
    }

    /// From now on no read waits longer than until `deadline`.
    pub fn wait_until(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// The next piece, which may be empty; `None` at the end.
    fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let received = match self.deadline {
            // Also where more is ready: a peer that sends without a pause must not outrun the clock.
            Some(deadline) if deadline <= Instant::now() => Err(RecvTimeoutError::Timeout),
            Some(deadline) => self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            None => self.pieces.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let piece = match received {
            Ok(piece) => piece?,
            Err(RecvTimeoutError::Timeout) => return Err(io::Error::new(io::ErrorKind::TimedOut, TimedOut)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        };
        self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, "the answer is larger than this program takes")
        })?;
        Ok(Some(piece))
    }
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.len() {
            let Some(piece) = self.next_piece()? else { return Ok(0) };
            self.piece = piece;
            self.read = 0;
        }
        let n = (&self.piece[self.read..]).read(out)?;
        self.read += n;
        Ok(n)
    }
}

/// Hands over what arrives, until the end, an error, or nobody wants it any more.
fn pump(mut response: reqwest::blocking::Response, pieces: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let read = match response.read(&mut piece) {
            Ok(0) => return,
            Ok(n) => {
                piece.truncate(n);
                Ok(piece)
            }
            // The limit of one read is over, but not the reader's patience: an empty piece asks whether it still
            // listens, and the read goes on where it was.
            Err(error) if super::is_timeout(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if pieces.send(read).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn s07_a_peer_that_sends_without_a_pause_does_not_outrun_the_deadline() {
        let (sender, pieces) = sync_channel(PIECES);
        sender.send(Ok(b": one".to_vec())).unwrap();
        sender.send(Ok(b": two".to_vec())).unwrap();
        let mut body = Body { pieces, piece: Vec::new(), read: 0, deadline: None, left: u64::MAX };
        let mut out = [0; 5];
        body.wait_until(Instant::now() + Duration::from_mins(1));
        assert_eq!(body.read(&mut out).unwrap(), 5);
        body.wait_until(Instant::now());
        let error = body.read(&mut out).unwrap_err();
        assert!(
            error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TimedOut>),
            "{error}"
        );
    }
}
