//! One streaming chat call to any OpenAI-compatible endpoint: the central server and local providers alike.

mod answer;
mod request;
mod wire;

pub use answer::{Answer, ToolCall};
pub use request::{ChatRequest, Message, RESERVED};
pub use wire::Usage;

use crate::{
    failover::{Delivered, Fault, RemoteError},
    http::{self, Body, TimedOut},
    sabotage,
    sse::{Events, SseError},
};
use answer::Piece;
use mcp_api::{Origin, Secret, headers};
use reqwest::{
    blocking::{Client, Response},
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER},
};
use std::{
    io::{self, BufReader, Read},
    time::{Duration, Instant},
};
use url::Url;

/// The largest answer that is not a stream, and the largest error body, in bytes.
const DOCUMENT_MAX: u64 = 8 << 20;
const ERROR_MAX: u64 = 64 << 10;
/// The longest wait that a `Retry-After` may suggest, in seconds.
const RETRY_AFTER_MAX: u64 = 3600;

/// Where a chat call goes.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The URL of the chat completions themselves.
    pub url: Url,
    /// The credential for this endpoint and no other.
    pub bearer: Option<Secret>,
    /// Its name for the model; none where the URL says it.
    pub model: Option<String>,
    /// Sent as `x-request-id`.
    pub request_id: Option<String>,
}

/// How long to wait, and since when.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the start to the first content.
    pub first_content: Duration,
    /// Between two events after that.
    pub idle: Duration,
    /// For everything, with the moment when it is over.
    pub total: Option<(Duration, Instant)>,
}

impl Limits {
    /// What is left of the limit for everything, or that it is over; none if there is no such limit.
    #[must_use]
    pub fn time_left(&self) -> Option<Result<Duration, Fault>> {
        let (limit, end) = self.total?;
        let left = end.saturating_duration_since(Instant::now());
        Some(if left.is_zero() { Err(Fault::Deadline(limit)) } else { Ok(left) })
    }
}

/// Takes an answer while it arrives.
pub trait Sink {
    /// More of the text, never empty.
    fn content(&mut self, text: &str) -> io::Result<()>;
    /// More of the reasoning, never empty.
    fn reasoning(&mut self, text: &str) -> io::Result<()>;
    /// The answer is complete; what was handed over must be out when this returns.
    fn end(&mut self, answer: &Answer) -> io::Result<()>;
}

/// A call that brought no complete answer.
#[derive(Debug)]
pub struct Failed {
    /// What happened.
    pub fault: Fault,
    /// Whether content had been handed over.
    pub delivered: Delivered,
    /// The head of the answer, if one arrived.
    pub head: Option<HeaderMap>,
}

/// An answer that is complete.
#[derive(Debug)]
pub struct Complete {
    /// The answer.
    pub answer: Answer,
    /// The head it came with.
    pub head: HeaderMap,
    /// From the start to the first content.
    pub first_content: Option<Duration>,
}

/// Asks `endpoint`, and hands over the answer to `sink` while it arrives.
///
/// `Ok` means complete: see [`Answer::check_finished`]. There is no second try, whatever happens.
pub fn complete(
    client: &Client,
    options: &http::Options,
    endpoint: &Endpoint,
    limits: &Limits,
    request: &ChatRequest,
    sink: &mut dyn Sink,
) -> Result<Complete, Failed> {
    let started = Instant::now();
    let response = send(client, endpoint, request).map_err(|error| Failed {
        fault: past_total(limits).unwrap_or_else(|| http::fault(&error, &endpoint.url, options)),
        delivered: Delivered::Nothing,
        head: None,
    })?;
    let head = response.headers().clone();
    let bearer = endpoint.bearer.as_ref();
    let (answer, offers_tools) = (Answer::default(), request.offers_tools());
    let mut call = Call { limits, started, sink, bearer, offers_tools, answer, first_content: None };
    match call.read(response, request.stream) {
        Ok(()) => {
            let (answer, first_content) = (call.answer, call.first_content);
            Ok(Complete { answer, head, first_content })
        }
        Err(fault) => {
            let delivered = match (call.answer.delivered, call.answer.reasoned) {
                (0, _) => Delivered::Nothing,
                (bytes, reasoned) if bytes == reasoned => Delivered::Reasoning(bytes),
                (bytes, _) => Delivered::Content(bytes),
            };
            Err(Failed { fault, delivered, head: Some(head) })
        }
    }
}

fn send(client: &Client, endpoint: &Endpoint, request: &ChatRequest) -> reqwest::Result<Response> {
    let mut call = client.post(endpoint.url.clone()).header(CONTENT_TYPE, "application/json");
    if let Some(bearer) = &endpoint.bearer {
        call = call.bearer_auth(bearer.expose());
    }
    if let Some(id) = &endpoint.request_id {
        call = call.header(headers::REQUEST_ID, id);
    }
    call.body(request.body(endpoint.model.as_deref()).to_string()).send()
}

/// The caller's own limit, if it is over.
fn past_total(limits: &Limits) -> Option<Fault> {
    limits.time_left()?.err()
}

struct Call<'a> {
    limits: &'a Limits,
    started: Instant,
    sink: &'a mut dyn Sink,
    /// What no text from outside may repeat.
    bearer: Option<&'a Secret>,
    offers_tools: bool,
    answer: Answer,
    first_content: Option<Duration>,
}

impl Call<'_> {
    fn read(&mut self, response: Response, stream: bool) -> Result<(), Fault> {
        if response.status().as_u16() != 200 {
            return Err(error_status(response, self.bearer, self.earlier(Instant::now() + ERROR_LIMIT)));
        }
        // Nobody asked for one, and a small answer could become an endless one.
        if let Some(encoding) = response.headers().get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            return Err(Fault::Unparsable(format!("content encoding {encoding:?}")));
        }
        let media_type = media_type(response.headers());
        match (stream, media_type.as_str()) {
            (true, "text/event-stream") => self.read_stream(Body::new(response, u64::MAX)),
            (false, "application/json") => self.read_document(Body::new(response, DOCUMENT_MAX)),
            (_, other) => Err(Fault::Unparsable(format!("content type {other:?}"))),
        }
    }

    fn read_stream(&mut self, mut body: Body) -> Result<(), Fault> {
        body.wait_until(self.first_deadline());
        let mut events = Events::new(BufReader::new(body));
        loop {
            let event = match events.next_event() {
                Ok(Some(event)) => event,
                Ok(None) if sabotage::CLEAN_EOF_IS_OK => return self.hand_over_end(),
                Ok(None) => return Err(Fault::Cut("connection closed".into())),
                Err(SseError::Io(error)) => return Err(self.read_fault(&error)),
                Err(error) => return Err(Fault::Unparsable(error.to_string())),
            };
            let before = self.answer.progress();
            match self.answer.take_event(&event).map_err(|fault| self.without_bearer(fault))? {
                Some(piece) => self.hand_over(&piece)?,
                None => return self.finish(),
            }
            // Events that bring the answer no further are as good as silence.
            if self.answer.delivered > 0 && self.answer.progress() != before {
                events.reader_mut().get_mut().wait_until(self.earlier(Instant::now() + self.limits.idle));
            }
        }
    }

    fn read_document(&mut self, mut body: Body) -> Result<(), Fault> {
        body.wait_until(self.first_deadline());
        let mut text = String::new();
        body.read_to_string(&mut text).map_err(|error| self.read_fault(&error))?;
        let piece = self.answer.take_json(&text).map_err(|fault| self.without_bearer(fault))?;
        self.hand_over(&piece)?;
        self.finish()
    }

    fn hand_over(&mut self, piece: &Piece) -> Result<(), Fault> {
        if self.answer.delivered > 0 && self.first_content.is_none() {
            self.first_content = Some(self.started.elapsed());
        }
        let reasoning = piece.reasoning.as_deref().map_or(Ok(()), |text| self.sink.reasoning(text));
        let content = piece.content.as_deref().map_or(Ok(()), |text| self.sink.content(text));
        reasoning.and(content).map_err(|error| output_fault(&error))
    }

    fn without_bearer(&self, fault: Fault) -> Fault {
        match fault {
            Fault::ErrorEvent { code, message } => {
                Fault::ErrorEvent { code, message: short(&message, self.bearer) }
            }
            other => other,
        }
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.answer.check_finished(self.offers_tools)?;
        self.hand_over_end()
    }

    fn hand_over_end(&mut self) -> Result<(), Fault> {
        self.sink.end(&self.answer).map_err(|error| output_fault(&error))
    }

    fn read_fault(&self, error: &io::Error) -> Fault {
        if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TimedOut>) {
            return past_total(self.limits).unwrap_or(match self.answer.delivered {
                0 => Fault::NoContent(self.limits.first_content),
                _ => Fault::Idle(self.limits.idle),
            });
        }
        match error.kind() {
            io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidData => Fault::Unparsable(error.to_string()),
            _ => http::body_fault(error),
        }
    }

    fn first_deadline(&self) -> Instant {
        self.earlier(self.started + self.limits.first_content)
    }

    /// A deadline, or the end of everything if that comes first.
    fn earlier(&self, deadline: Instant) -> Instant {
        self.limits.total.map_or(deadline, |(_, end)| end.min(deadline))
    }
}

/// The reader's end of our output failed; that is nobody's fault upstream.
#[must_use]
pub fn output_fault(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Fault::OutputClosed,
        _ => Fault::Output(error.to_string()),
    }
}

/// How long the text of an error answer is waited for.
pub const ERROR_LIMIT: Duration = Duration::from_secs(5);

/// What an answer with a status other than 200 says, without the bearer that it may repeat.
#[must_use]
pub fn error_status(response: Response, bearer: Option<&Secret>, deadline: Instant) -> Fault {
    let status = response.status().as_u16();
    let mut error = remote_error(response.headers(), bearer);
    let mut body = Body::new(response, ERROR_MAX);
    body.wait_until(deadline);
    let mut text = Vec::new();
    // An error whose text is cut or late is the same error.
    let _ = body.read_to_end(&mut text);
    if let Ok(document) = serde_json::from_slice::<wire::ErrorDocument>(&text) {
        error.message = document.error.message().map(|text| short(text, bearer));
        error.code = error.code.or_else(|| document.error.code().map(|code| short(&code, bearer)));
    }
    Fault::Status { status, error }
}

fn remote_error(head: &HeaderMap, bearer: Option<&Secret>) -> RemoteError {
    let value = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
    let text = |name: &str| value(name).map(|text| short(text, bearer));
    RemoteError {
        origin: text(headers::ERROR_ORIGIN).and_then(|word| Origin::from_word(&word)),
        code: text(headers::ERROR_CODE),
        message: None,
        retry_after: value(RETRY_AFTER.as_str()).and_then(wait).map(|seconds| seconds.min(RETRY_AFTER_MAX)),
        location: text(LOCATION.as_str()),
    }
}

/// `Retry-After` in seconds from now: a number, or a date of HTTP (RFC 9110, section 10.2.3).
fn wait(text: &str) -> Option<u64> {
    let until = || {
        jiff::fmt::rfc2822::parse(text)
            .ok()?
            .timestamp()
            .duration_since(jiff::Timestamp::now())
            .as_secs()
            .try_into()
            .ok()
    };
    text.parse().ok().or_else(until)
}

/// The media type of an answer, in lower case, without its parameters.
#[must_use]
pub fn media_type(head: &HeaderMap) -> String {
    let value = head.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A text from outside, fit for one line of a message. A peer that repeats our credential is not repeated.
fn short(text: &str, bearer: Option<&Secret>) -> String {
    let text = match bearer {
        Some(bearer) if !sabotage::REPEAT_BEARER => &text.replace(bearer.expose(), "(redacted)"),
        Some(_) | None => text,
    };
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    if line.len() < text.len() && text.chars().nth(300).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p05_a_wait_is_a_number_or_a_date() {
        assert_eq!(wait("7"), Some(7));
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(90);
        let date = soon.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        assert!(wait(&date).is_some_and(|seconds| (80..=90).contains(&seconds)), "{date}: {:?}", wait(&date));
        for odd in ["-5", "Sun, 06 Nov 1994 08:49:37 GMT", "soon", "", "1e9"] {
            assert_eq!(wait(odd), None, "{odd}");
        }
    }
}
