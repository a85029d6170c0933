//! Which errors there are: by their status, with the codes that each can have.

use super::{parameters::header_refs, schemas::Schemas};
use mcp_api::{ErrorBody, ErrorCode};
use serde_json::{Map, Value, json};

/// A status or a range of them, what it means, and its codes.
type Error = (&'static str, &'static str, &'static [ErrorCode]);

use ErrorCode as Code;

const ERRORS: &[Error] = &[
    ("400", "The request is malformed, or the upstream says so.", &[Code::Invalid, Code::UpstreamRejected]),
    ("401", "No token, or one that is not valid.", &[Code::Unauthenticated]),
    (
        "403",
        "No right to do this, or the LLM is switched off.",
        &[Code::Forbidden, Code::LlmDisabled, Code::Revoked],
    ),
    ("404", "No such thing, for who may view all of its kind; or no such path.", &[Code::NotFound]),
    ("405", "The path does not take this method.", &[Code::MethodNotAllowed]),
    ("408", "The body did not arrive in time.", &[Code::Invalid]),
    ("409", "It exists already, or the change would break what must stay.", &[Code::Conflict]),
    ("412", "It was changed meanwhile: `If-Match` names another version.", &[Code::PreconditionFailed]),
    (
        "413",
        "The body is too large, or the prompt is for the upstream.",
        &[Code::TooLarge, Code::UpstreamRejected],
    ),
    ("415", "The body does not say that it is JSON.", &[Code::Invalid]),
    ("422", "Well-formed, but not what the route takes.", &[Code::Invalid, Code::UpstreamRejected]),
    (
        "429",
        "Too many requests: of this caller (origin `quota`), or for the upstream (origin `upstream`).",
        &[Code::RateLimited],
    ),
    ("500", "A bug.", &[Code::Internal, Code::UpstreamError]),
    ("501", "The upstream does not have this endpoint.", &[Code::UpstreamUnsupported, Code::UpstreamError]),
    (
        "502",
        "The upstream cannot be reached, rejects the server's key, or answers with nonsense.",
        &[Code::UpstreamAuth, Code::UpstreamUnavailable, Code::UpstreamError],
    ),
    (
        "503",
        "The server cannot decide just now, or stops; or the upstream is not available.",
        &[
            Code::DatabaseUnavailable,
            Code::IssuerUnavailable,
            Code::OutcomeUnknown,
            Code::RateLimited,
            Code::ShuttingDown,
            Code::UpstreamUnavailable,
        ],
    ),
    ("504", "The upstream took too long.", &[Code::UpstreamTimeout, Code::UpstreamError]),
    ("5XX", "The upstream failed with this status.", &[Code::UpstreamError]),
];

/// A response for each of them.
pub(super) fn responses(schemas: &mut Schemas) -> Map<String, Value> {
    let body = schemas.of::<ErrorBody>();
    let response = |(status, meaning, codes): &Error| {
        let words: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        let narrowed = json!({ "properties": { "error": { "properties": { "code": { "enum": words } } } } });
        let mut headers = header_refs(&["x-request-id", "mcpd-error-origin", "mcpd-error-code"]);
        match *status {
            "401" => headers.extend(header_refs(&["www-authenticate"])),
            "405" => headers.extend(header_refs(&["allow"])),
            "429" | "503" => headers.extend(header_refs(&["retry-after"])),
            _ => {}
        }
        let response = json!({
            "description": meaning,
            "headers": headers,
            "content": { "application/json": { "schema": { "allOf": [&body, narrowed] } } },
        });
        ((*status).to_owned(), response)
    };
    ERRORS.iter().map(response).collect()
}
