//! The rest of a request that was answered before it had arrived.
//!
//! A connection that is closed while bytes of the client are unread is reset, and the answer can be lost with it: the
//! client would take a refusal for an outage. So the rest is read for a while, and thrown away.

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::timeout;

/// How long the rest is read.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same body; whoever drops it early need not read it.
pub(crate) fn read_on(body: Body) -> Body {
    Body::new(Lingering(body))
}

struct Lingering(Body);

impl Drop for Lingering {
    fn drop(&mut self) {
        if self.0.is_end_stream() {
            return;
        }
        let mut rest = mem::take(&mut self.0);
        tokio::spawn(timeout(PATIENCE, async move { while let Some(Ok(_)) = rest.frame().await {} }));
    }
}

impl http_body::Body for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
