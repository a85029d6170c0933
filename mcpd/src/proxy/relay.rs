//! The answer on its way back: the upstream's bytes as they come, and an honest end if they do not all come.
//!
//! A stream that is cut ends with an error event and never with `[DONE]`. A document that is cut breaks the
//! connection, so that nobody takes a part for the whole.

use super::{Endpoint, Vigil, attempt::Answer, endpoint::Ending, marker::Marker, nodes::Turn, vigil::Breach};
use crate::{
    http_client::Incoming,
    problem::{Problem, UpstreamProblem},
    record::Record,
};
use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use mcp_api::openai::ResponseError;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// A body that watches over another one.
pub(super) struct Relay {
    /// Gone once the answer is over, and with it the connection to the upstream.
    upstream: Option<Incoming>,
    /// What came before this was made.
    first: Option<Bytes>,
    turn: Turn,
    kind: Kind,
    vigil: Vigil,
    silence: Pin<Box<Sleep>>,
    patience: Duration,
    record: Arc<Record>,
    /// Why the connection is to break once what has passed was written.
    breaks: Option<Cut>,
}

enum Kind {
    Stream(Marker),
    Whole,
}

/// Why the answer is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cut {
    #[error("the upstream broke off")]
    Broken,
    #[error("the upstream fell silent")]
    Silent,
    #[error("the right to run was withdrawn")]
    Revoked,
    #[error("the token has ended")]
    Ended,
    #[error("whether the right to run still stands cannot be found out")]
    Unconfirmed,
    #[error("the server is stopping")]
    ShuttingDown,
}

impl Cut {
    fn outcome(self) -> &'static str {
        match self {
            Self::Broken => "upstream_broken",
            Self::Silent => "upstream_silent",
            Self::Revoked => "revoked",
            Self::Ended => "token_ended",
            Self::Unconfirmed => "unconfirmed",
            Self::ShuttingDown => "shutting_down",
        }
    }

    fn problem(self) -> Problem {
        match self {
            Self::Broken => Problem::Upstream(UpstreamProblem::Broken),
            Self::Silent => Problem::Upstream(UpstreamProblem::Timeout),
            Self::Revoked => Problem::Revoked,
            Self::Ended => Problem::Ended,
            Self::Unconfirmed => Problem::Database,
            Self::ShuttingDown => Problem::ShuttingDown,
        }
    }
}

impl Cut {
    /// Lets the node know if it is to blame, and the log which node it was.
    fn tell(self, turn: &mut Turn, record: &Record) {
        match self {
            Self::Broken | Self::Silent => {
                let (node, request_id) = (turn.node().url(), record.request_id());
                tracing::warn!(request_id, node, reason = self.outcome(), "an answer broke off");
                turn.failed();
            }
            Self::Revoked | Self::Ended | Self::Unconfirmed | Self::ShuttingDown => {}
        }
    }
}

impl From<Breach> for Cut {
    fn from(breach: Breach) -> Self {
        match breach {
            Breach::Revoked => Self::Revoked,
            Breach::Ended => Self::Ended,
            Breach::Unconfirmed => Self::Unconfirmed,
            Breach::ShuttingDown => Self::ShuttingDown,
        }
    }
}

impl Relay {
    /// Relays an answer that has begun, at a node that is at it until this is dropped.
    pub(super) fn new(
        answer: Answer,
        turn: Turn,
        endpoint: Endpoint,
        vigil: Vigil,
        patience: Duration,
        record: Arc<Record>,
    ) -> Self {
        let Answer { is_stream, first, rest, .. } = answer;
        let kind = if is_stream { Kind::Stream(Marker::new(endpoint.ending())) } else { Kind::Whole };
        let silence = Box::pin(sleep(patience));
        Self { upstream: Some(rest), first, turn, kind, vigil, silence, patience, record, breaks: None }
    }

    /// Takes note of bytes that pass.
    fn passes(&mut self, bytes: &Bytes) {
        self.silence.as_mut().reset(Instant::now() + self.patience);
        if let Kind::Stream(marker) = &mut self.kind {
            marker.see(bytes);
        }
    }

    /// Ends the answer after the upstream's last byte.
    fn ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &self.kind {
            Kind::Stream(marker) if !marker.is_done() => self.cut(Cut::Broken, cx),
            Kind::Stream(_) | Kind::Whole => {
                self.upstream = None;
                Poll::Ready(None)
            }
        }
    }

    /// Ends the answer before the upstream does.
    ///
    /// What breaks the connection waits for one more turn: by then the head and all that has passed are written, and
    /// the caller does not take an answer that broke off for none.
    fn cut(&mut self, why: Cut, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.upstream = None;
        self.first = None;
        match &self.kind {
            // All of it is there; what is missing is only the end of the connection.
            Kind::Stream(marker) if marker.is_done() => Poll::Ready(None),
            Kind::Stream(marker) => {
                why.tell(&mut self.turn, &self.record);
                self.record.ended(why.outcome());
                Poll::Ready(Some(Ok(Frame::data(error_event(marker, why, self.record.request_id())))))
            }
            Kind::Whole => {
                why.tell(&mut self.turn, &self.record);
                self.record.ended(why.outcome());
                self.breaks = Some(why);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// The event with which a stream ends before its time, in the shape that its clients raise an error for.
fn error_event(marker: &Marker, why: Cut, request_id: &str) -> Bytes {
    let body = why.problem().body(request_id);
    let separator = marker.separator();
    // Wire types of our own always serialise; a stream without its end is incomplete in any case.
    match marker.ending() {
        Ending::Done => format!("{separator}data: {}\n\n", serde_json::to_string(&body).unwrap_or_default()),
        Ending::Named => {
            let event = ResponseError::new(body, marker.events());
            format!(
                "{separator}event: error\ndata: {}\n\n",
                serde_json::to_string(&event).unwrap_or_default()
            )
        }
    }
    .into()
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        if let Some(why) = this.breaks.take() {
            return Poll::Ready(Some(Err(why)));
        }
        if this.upstream.is_some()
            && let Poll::Ready(breach) = this.vigil.poll_breach(cx)
        {
            return this.cut(breach.into(), cx);
        }
        if let Some(bytes) = this.first.take() {
            this.passes(&bytes);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        loop {
            let Some(upstream) = &mut this.upstream else { return Poll::Ready(None) };
            match Pin::new(upstream).poll_frame(cx) {
                // Trailers are headers, and no header of an upstream is passed on unseen.
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        this.passes(&bytes);
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Poll::Ready(Some(Err(_))) => return this.cut(Cut::Broken, cx),
                Poll::Ready(None) => return this.ended(cx),
                Poll::Pending => {
                    std::task::ready!(this.silence.as_mut().poll(cx));
                    return this.cut(Cut::Silent, cx);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Stream(_) => self.upstream.is_none(),
            Kind::Whole => {
                self.breaks.is_none()
                    && self.first.is_none()
                    && self.upstream.as_ref().is_none_or(Body::is_end_stream)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.kind, &self.upstream) {
            // Kept, so that an answer that is cut is shorter than it said.
            (Kind::Whole, Some(upstream)) => {
                let first = self.first.as_ref().map_or(0, Bytes::len) as u64;
                upstream
                    .size_hint()
                    .exact()
                    .map_or_else(SizeHint::new, |rest| SizeHint::with_exact(first + rest))
            }
            // Never exact: an error event may have to be added.
            (Kind::Stream(_), _) | (Kind::Whole, None) => SizeHint::default(),
        }
    }
}
