//! What an upstream's answer means: to be passed on, or a problem. Looks at its head, and at the body of a rejection.

use super::Endpoint;
use crate::{
    http_client::Head,
    problem::{Problem, UpstreamProblem},
    sabotage,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mcp_api::Secret;
use serde::Deserialize;

/// The longest reason that is passed on, in bytes.
const REASON_MAX: usize = 2 << 10;
/// The longest `Retry-After` that is passed on: a date has 29 bytes.
const RETRY_AFTER_MAX: usize = 32;

/// What the head of an answer says.
#[derive(Debug)]
pub(super) enum Verdict {
    /// A stream of events.
    Stream,
    /// One JSON document.
    Whole,
    /// The request is rejected; the reason is in the body.
    Rejected(StatusCode),
    /// Nothing that a caller could use.
    Problem(UpstreamProblem),
}

pub(super) fn judge(head: &Head, endpoint: Endpoint) -> Verdict {
    match head.status {
        StatusCode::OK => judge_type(&head.headers),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if sabotage::UPSTREAM_ERROR_THROUGH => {
            Verdict::Rejected(head.status)
        }
        StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
            Verdict::Problem(UpstreamProblem::Auth)
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Verdict::Rejected(head.status)
        }
        StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Problem(UpstreamProblem::RateLimited(retry_after(&head.headers)))
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
            if endpoint.is_optional() =>
        {
            Verdict::Problem(UpstreamProblem::Unsupported)
        }
        // 600 and above are no statuses, although some libraries let them pass.
        status if (500..600).contains(&status.as_u16()) => Verdict::Problem(UpstreamProblem::Failed(status)),
        _ => Verdict::Problem(UpstreamProblem::Nonsense),
    }
}

fn judge_type(headers: &HeaderMap) -> Verdict {
    // We asked for no encoding, and the header that names it would not be passed on.
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Verdict::Problem(UpstreamProblem::Nonsense);
    }
    let essence = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = essence.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "text/event-stream" => Verdict::Stream,
        "application/json" => Verdict::Whole,
        _ => Verdict::Problem(UpstreamProblem::Nonsense),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(header::RETRY_AFTER)?;
    let fits = value.len() <= RETRY_AFTER_MAX && value.to_str().is_ok();
    fits.then(|| value.clone())
}

/// The problem of a rejection, with the upstream's own reason if its body has one.
pub(super) fn rejection(status: StatusCode, body: &[u8], key: Option<&Secret>) -> Problem {
    let reason = serde_json::from_slice::<Rejection>(body).ok().and_then(Rejection::reason);
    let reason = reason.map(|reason| bounded(&without(&reason, key)).to_owned());
    Problem::Upstream(UpstreamProblem::Rejected(status, reason.filter(|reason| !reason.is_empty())))
}

/// `{"error": {"message": ..}}`, `{"error": ".."}`, or `{"message": ..}`: all three are sent by servers in use.
#[derive(Deserialize)]
struct Rejection {
    #[serde(default)]
    error: Option<Reason>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reason {
    Text(String),
    Object { message: String },
}

impl Rejection {
    fn reason(self) -> Option<String> {
        match self.error {
            Some(Reason::Text(message) | Reason::Object { message }) => Some(message),
            None => self.message,
        }
    }
}

/// Takes our key out, should the upstream repeat it.
fn without(reason: &str, key: Option<&Secret>) -> String {
    match key {
        Some(key) if !sabotage::REPEAT_KEY => reason.replace(key.expose(), "(redacted)"),
        Some(_) | None => reason.to_owned(),
    }
}

fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(REASON_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &Head) -> Verdict {
        judge(head, Endpoint::Chat)
    }

    fn head(status: u16, headers: &[(&str, &str)]) -> Head {
        let mut builder = http::Response::builder().status(status);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        Head { status: parts.status, headers: parts.headers }
    }

    fn said(status: u16, body: &str, key: &str) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        rejection(status, body.as_bytes(), Some(&Secret::new(key))).body("r").error.message
    }

    #[test]
    fn only_200_with_json_or_events_is_an_answer() {
        assert!(matches!(
            judged(&head(200, &[("content-type", "application/json; charset=utf-8")])),
            Verdict::Whole
        ));
        assert!(matches!(judged(&head(200, &[("content-type", "Text/Event-Stream")])), Verdict::Stream));
        let plain = [("content-type", "application/json"), ("content-encoding", "identity")];
        assert!(matches!(judged(&head(200, &plain)), Verdict::Whole));
        for (status, headers) in [
            (200, &[("content-type", "text/html")][..]),
            (200, &[]),
            (200, &[("content-type", "application/json"), ("content-encoding", "gzip")]),
            (201, &[("content-type", "application/json")]),
            (204, &[]),
            (301, &[("location", "http://evil/")]),
            (404, &[]),
            (405, &[]),
            (999, &[]),
        ] {
            assert!(
                matches!(judged(&head(status, headers)), Verdict::Problem(UpstreamProblem::Nonsense)),
                "{status} {headers:?}"
            );
        }
    }

    #[test]
    fn an_error_status_is_about_our_key_the_request_or_the_upstream() {
        for status in 400..=599 {
            let verdict = judged(&head(status, &[("content-type", "application/json")]));
            let code = StatusCode::from_u16(status).unwrap();
            let as_it_should = match status {
                401..=403 => matches!(verdict, Verdict::Problem(UpstreamProblem::Auth)),
                400 | 413 | 422 => matches!(verdict, Verdict::Rejected(rejected) if rejected == code),
                429 => matches!(verdict, Verdict::Problem(UpstreamProblem::RateLimited(None))),
                500..=599 => {
                    matches!(verdict, Verdict::Problem(UpstreamProblem::Failed(failed)) if failed == code)
                }
                _ => matches!(verdict, Verdict::Problem(UpstreamProblem::Nonsense)),
            };
            assert!(as_it_should, "{status}: {verdict:?}");
        }
        for status in [600, 999] {
            let verdict = judged(&head(status, &[]));
            assert!(matches!(verdict, Verdict::Problem(UpstreamProblem::Nonsense)), "{status}: {verdict:?}");
        }
    }

    #[test]
    fn a_rejection_keeps_the_status_and_the_reason() {
        let body = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            match rejection(status, body.as_bytes(), None) {
                Problem::Upstream(UpstreamProblem::Rejected(kept, reason)) => {
                    assert_eq!(kept, status);
                    reason
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(body(422, r#"{"message": "no such model"}"#).as_deref(), Some("no such model"));
        assert_eq!(body(400, r#"{"error": {"message": "a"}, "message": "b"}"#).as_deref(), Some("a"));
        for none in [r#"{"error": ""}"#, "{}", "<html>"] {
            assert_eq!(body(413, none), None, "{none}");
        }
    }

    #[test]
    fn a_path_that_not_every_upstream_has_is_no_nonsense() {
        for status in [404, 405, 501] {
            for endpoint in [Endpoint::Completions, Endpoint::Embeddings, Endpoint::Responses] {
                let judged = judge(&head(status, &[]), endpoint);
                assert!(
                    matches!(judged, Verdict::Problem(UpstreamProblem::Unsupported)),
                    "{status} {endpoint:?}: {judged:?}"
                );
            }
            assert!(!matches!(judged(&head(status, &[])), Verdict::Problem(UpstreamProblem::Unsupported)));
        }
    }

    #[test]
    fn k08_a_key_that_the_upstream_repeats_is_taken_out() {
        let body = r#"{"error": {"message": "bad thing near sk-canary!", "type": "x"}}"#;
        assert_eq!(said(400, body, "sk-canary"), "bad thing near (redacted)!");
        assert_eq!(said(400, r#"{"error": "too long: sk-canary"}"#, "sk-canary"), "too long: (redacted)");
    }

    #[test]
    fn a_reason_is_bounded_and_what_has_none_gets_ours() {
        let long = format!(r#"{{"message": "{}"}}"#, "ä".repeat(REASON_MAX));
        assert_eq!(said(422, &long, "k").len(), REASON_MAX);
        for odd in ["", "<html>", "[]", r#"{"error": 5}"#, r#"{"error": ""}"#] {
            assert_eq!(said(400, odd, "k"), "The upstream rejects this request.", "{odd}");
        }
    }

    #[test]
    fn p05_an_absurd_wait_is_not_passed_on() {
        let wait = |value: &str| match judged(&head(429, &[("retry-after", value)])) {
            Verdict::Problem(UpstreamProblem::RateLimited(wait)) => {
                wait.map(|w| w.to_str().unwrap().to_owned())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(wait("7"), Some("7".into()));
        assert_eq!(wait(&"9".repeat(RETRY_AFTER_MAX)), Some("9".repeat(RETRY_AFTER_MAX)));
        for absurd in ["9".repeat(RETRY_AFTER_MAX + 1), "9".repeat(100), "\u{e4}".into()] {
            assert_eq!(wait(&absurd), None, "{absurd}");
        }
    }
}
