//! Scripts of one connection, as the stories of a broken server use them.

use fakes::{Script, Step, wire};

/// An error body as mcpd writes it.
pub(crate) const NO_DATABASE: &str = r#"{"error":{"message":"The database is out of reach.","type":"server_error","code":"unavailable","origin":"gateway","requestId":"r-1"}}"#;

/// Reads a request and sends these bytes.
pub(crate) fn whole(bytes: impl Into<Vec<u8>>) -> Script {
    vec![Step::ReadRequest, Step::Send(bytes.into())]
}

/// Reads a request and answers it.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Script {
    whole(wire::http(status, headers, body))
}

/// The primary's inference path is down; the next question is the probe.
pub(crate) fn down() -> Script {
    answer(503, &[], "")
}

/// These steps, then a reset.
pub(crate) fn reset(steps: Script) -> Script {
    [steps, vec![Step::Reset]].concat()
}

/// These steps, then a close.
pub(crate) fn close(steps: Script) -> Script {
    [steps, vec![Step::Close]].concat()
}
