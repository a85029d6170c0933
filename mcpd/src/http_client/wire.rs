//! One request and its answer on one connection: a connection that rests is a [`Wire`], one that is at work is an
//! [`Exchange`] and then an [`Incoming`], and it rests again only when its answer has ended as it should.
//!
//! No task and no clock of its own: it is driven by whoever waits for the answer, and ends with them.

use super::{
    Head, Malformed, Pool, Request,
    body::{Framing, Piece, Then},
    head::{Finder, HEAD_MAX, Parsed, begins, parse},
    io::{Io, Sending},
};
use axum::body::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll, ready},
};

/// A connection on which nothing is under way.
#[derive(Debug)]
pub(crate) struct Wire(pub(super) Io);

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// Not a byte of the request was written.
    #[error("nothing could be written")]
    Unsent(#[source] io::Error),
    #[error("the connection ended")]
    Ended(#[source] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Wire {
    /// Says whether the other side has neither closed it nor said anything that was not asked for.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.0.is_quiet()
    }

    /// Sends a request and waits for the head of its answer. When that has been read to its end, the connection goes
    /// `home`.
    pub(crate) async fn send(
        self,
        request: Request,
        home: Weak<Pool>,
    ) -> Result<(Head, Incoming), WireError> {
        let mut exchange = Exchange {
            io: self.0,
            sending: Some(Sending::new(request)),
            unwritable: None,
            head: Vec::new(),
            finder: Finder::default(),
            passed: 0,
        };
        let (Parsed { head, framing, is_kept }, piece) = poll_fn(|cx| exchange.poll(cx)).await?;
        let Exchange { io, sending, unwritable, .. } = exchange;
        let is_kept = is_kept && unwritable.is_none();
        let mut body = Incoming { io: Some(io), sending, framing, ready: None, wrong: None, is_kept, home };
        body.takes(piece);
        Ok((head, body))
    }
}

/// A request whose answer has not begun.
struct Exchange {
    io: Io,
    sending: Option<Sending>,
    /// Why no more of the request can be written. There may be an answer all the same: to what is too large.
    unwritable: Option<io::Error>,
    /// What has come of a head that is not all there.
    head: Vec<u8>,
    finder: Finder,
    /// How much was said before the answer.
    passed: usize,
}

impl Exchange {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Parsed, Piece), WireError>> {
        if let Some(sending) = &mut self.sending {
            match sending.poll(&mut self.io, cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.sending = None,
                Poll::Ready(Err(error)) if !sending.has_begun() => {
                    return Poll::Ready(Err(WireError::Unsent(error)));
                }
                Poll::Ready(Err(error)) => (self.sending, self.unwritable) = (None, Some(error)),
            }
        }
        loop {
            let Self { io, head, finder, passed, .. } = self;
            let read = io.poll_read(cx, |bytes| {
                if bytes.is_empty() {
                    return Err(WireError::Ended(io::ErrorKind::UnexpectedEof.into()));
                }
                reads(head, finder, passed, bytes).map_err(WireError::Malformed)
            });
            match read {
                Poll::Ready(Ok(Ok(None))) => {}
                Poll::Ready(Ok(Ok(Some(begun)))) => return Poll::Ready(Ok(begun)),
                Poll::Ready(Ok(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(WireError::Ended(error))),
                Poll::Pending => {
                    let Some(error) = self.unwritable.take() else { return Poll::Pending };
                    return Poll::Ready(Err(WireError::Ended(error)));
                }
            }
        }
    }
}

/// Takes note of bytes of a head, and of the body behind it.
pub(super) fn reads(
    kept: &mut Vec<u8>,
    finder: &mut Finder,
    passed: &mut usize,
    bytes: &[u8],
) -> Result<Option<(Parsed, Piece)>, Malformed> {
    let joined;
    let mut bytes = if kept.is_empty() {
        bytes
    } else {
        kept.extend_from_slice(bytes);
        joined = std::mem::take(kept);
        &joined
    };
    begins(bytes)?;
    while let Some(end) = finder.end(bytes)? {
        let (head, rest) = bytes.split_at(end);
        let mut parsed = parse(head)?;
        *passed += end;
        if *passed > HEAD_MAX {
            return Err(Malformed::TooLarge);
        }
        let status = parsed.head.status;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            let piece = parsed.framing.take(rest);
            return Ok(Some((parsed, piece)));
        }
        // An answer is still to come.
        (bytes, *finder) = (rest, Finder::default());
        begins(bytes)?;
    }
    if *passed + bytes.len() > HEAD_MAX {
        return Err(Malformed::TooLarge);
    }
    kept.extend_from_slice(bytes);
    Ok(None)
}

/// The body of an answer, as it comes in. Dropping it before its end closes its connection.
pub(crate) struct Incoming {
    /// Gone when the body is over.
    io: Option<Io>,
    /// What is left of the request: an answer may begin before all of it was read.
    sending: Option<Sending>,
    framing: Framing,
    /// Came, and is to be given out before anything else.
    ready: Option<Bytes>,
    /// What is to be said after it.
    wrong: Option<WireError>,
    is_kept: bool,
    home: Weak<Pool>,
}

impl Incoming {
    /// Takes what was read.
    fn takes(&mut self, piece: Piece) {
        self.ready = Some(piece.data).filter(|data| !data.is_empty());
        match piece.then {
            Then::More => {}
            Then::Over { is_exact } => self.over(is_exact),
            Then::Wrong(wrong) => self.breaks(wrong.into()),
        }
    }

    /// Lets the connection go: home, if it can be used again.
    fn over(&mut self, is_exact: bool) {
        let Some(io) = self.io.take() else { return };
        if self.is_kept
            && is_exact
            && self.sending.is_none()
            && let Some(home) = self.home.upgrade()
        {
            home.keep(Wire(io));
        }
    }

    fn breaks(&mut self, error: WireError) {
        (self.io, self.wrong) = (None, Some(error));
    }

    /// Reads on, as long as that brings nothing of the body and not its end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { io: Some(io), sending, framing, is_kept, .. } = self else { return Poll::Ready(()) };
        if let Some(left) = sending
            && let Poll::Ready(sent) = left.poll(io, cx)
        {
            (*sending, *is_kept) = (None, *is_kept && sent.is_ok());
        }
        match ready!(io.poll_read(cx, |bytes| (!bytes.is_empty()).then(|| framing.take(bytes)))) {
            Ok(Some(piece)) => self.takes(piece),
            Ok(None) if *framing == Framing::UntilClosed => self.over(false),
            Ok(None) => self.breaks(WireError::Ended(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => self.breaks(WireError::Ended(error)),
        }
        Poll::Ready(())
    }
}

/// What is under way is nobody's business.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("framing", &self.framing).finish_non_exhaustive()
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        loop {
            if let Some(bytes) = self.ready.take() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(wrong) = self.wrong.take() {
                return Poll::Ready(Some(Err(wrong)));
            }
            if self.io.is_none() {
                return Poll::Ready(None);
            }
            ready!(self.poll_piece(cx));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_none() && self.wrong.is_none() && self.io.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let ready = self.ready.as_ref().map_or(0, Bytes::len) as u64;
        self.framing.left().map_or_else(SizeHint::new, |left| SizeHint::with_exact(ready + left))
    }
}

#[cfg(test)]
mod tests;
