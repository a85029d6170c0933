//! Bodies of requests: of the right type, bounded in size and time, and then parsed.

use crate::{
    app::App,
    bodies::{Holder, Share},
    problem::Problem,
};
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
};
use bytes::BytesMut;
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::{ops::Deref, sync::Arc, time::Duration};

/// The largest document of an administrator.
const DOCUMENT_MAX: usize = 1 << 20;
/// How much more room than is taken is made at once, and for how many bytes at least.
const GROWTH: usize = 4;
const ROOM_MIN: usize = 64 << 10;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_mins(2);

/// The JSON document of a request.
#[derive(Debug)]
pub(crate) struct Document<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let limit = app.settings.max_body.min(DOCUMENT_MAX);
        let bytes = read_json(app, request, limit).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Problem::Invalid(format!("The body does not fit: {error}.")),
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => {
                Problem::Malformed(format!("The body is not JSON: {error}."))
            }
        })
    }
}

/// The bytes of a body, which count as long as this is kept.
#[derive(Debug)]
pub(crate) struct Read {
    bytes: Bytes,
    _room: Share,
}

impl Deref for Read {
    type Target = Bytes;
    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// Reads a body that says it is JSON. One that announces more than `limit` bytes is refused before it is read.
pub(crate) async fn read_json(app: &App, request: Request, limit: usize) -> Result<Read, Problem> {
    if !says_json(request.headers()) {
        return Err(Problem::NotJson);
    }
    let holder =
        request.extensions().get::<Holder>().map_or_else(String::new, |Holder(holder)| holder.clone());
    let body: Body = request.into_body();
    if body.size_hint().lower() > limit as u64 {
        return Err(Problem::TooLarge(limit));
    }
    let read = collect(Limited::new(body, limit), app.bodies.share(holder), limit);
    tokio::time::timeout(PATIENCE, read).await.map_err(|_| Problem::TooSlow)?
}

/// What is announced takes no room, only what arrives: room is made for a few times as much as is there.
async fn collect(mut body: Limited<Body>, mut room: Share, limit: usize) -> Result<Read, Problem> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let is_long = error.is::<LengthLimitError>();
            if is_long { Problem::TooLarge(limit) } else { Problem::Malformed("The body broke off.".into()) }
        })?;
        if let Some(data) = frame.data_ref() {
            room.grow(data.len())?;
            let all = bytes.len() + data.len();
            if all > bytes.capacity() {
                bytes.reserve((all * GROWTH).max(ROOM_MIN).min(announced).saturating_sub(bytes.len()));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(Read { bytes: bytes.freeze(), _room: room })
}

fn says_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}
