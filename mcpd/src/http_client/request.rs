//! A request as it is written: its head in bytes, made once, and its body beside it, never copied.

use super::Target;
use axum::body::Bytes;
use http::{HeaderValue, Method, header};
use std::collections::VecDeque;

/// One request. It is shown to nobody: there may be a key in it.
#[derive(Clone)]
pub(crate) struct Request {
    head: Vec<u8>,
    body: Vec<Bytes>,
}

impl Request {
    /// Begins a request for what is at a target.
    pub(crate) fn new(method: &Method, to: &Target) -> Self {
        let mut head = Vec::with_capacity(512);
        for part in [method.as_str(), " ", to.path(), " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        Self { head, body: Vec::new() }.with(header::HOST.as_str(), to.authority())
    }

    /// Adds a header. A value holds no end of a line, which is what its type is for; names are ours.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: &HeaderValue) -> Self {
        for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            self.head.extend_from_slice(part);
        }
        self
    }

    /// Gives it a body, in pieces.
    #[must_use]
    pub(crate) fn body(self, body: Vec<Bytes>) -> Self {
        let length = HeaderValue::from(body.iter().map(Bytes::len).sum::<usize>());
        Self { body, ..self.with(header::CONTENT_LENGTH.as_str(), &length) }
    }

    /// What is to be written, one after the other.
    pub(super) fn into_pieces(mut self) -> VecDeque<Bytes> {
        self.head.extend_from_slice(b"\r\n");
        let body = self.body.into_iter().filter(|piece| !piece.is_empty());
        std::iter::once(self.head.into()).chain(body).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_in_one_way() {
        let to = Target::parse("http://a:81/v1/x?y").unwrap();
        let request = Request::new(&Method::POST, &to)
            .with("x-one", &HeaderValue::from_static("1"))
            .body(vec![Bytes::from_static(b"{"), Bytes::new(), Bytes::from_static(b"}")]);
        let pieces = request.into_pieces();
        let wanted = "POST /v1/x?y HTTP/1.1\r\nhost: a:81\r\nx-one: 1\r\ncontent-length: 2\r\n\r\n";
        assert_eq!(pieces, [wanted, "{", "}"]);
    }
}
