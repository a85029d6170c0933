//! A request as it is written: its head in bytes, made once, and its body beside it, never copied.

use super::Target;
use axum::body::Bytes;
use http::{HeaderValue, Method, header};

/// One request. It is shown to nobody: there may be a key in it.
#[derive(Clone)]
pub(crate) struct Request {
    head: Vec<u8>,
    body: Bytes,
}

impl Request {
    /// Begins a request for what is at a target.
    pub(crate) fn new(method: &Method, to: &Target) -> Self {
        let mut head = Vec::with_capacity(512);
        for part in [method.as_str(), " ", to.path(), " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        Self { head, body: Bytes::new() }.with(header::HOST.as_str(), to.authority())
    }

    /// Adds a header. A value holds no end of a line, which is what its type is for; names are ours.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: &HeaderValue) -> Self {
        for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            self.head.extend_from_slice(part);
        }
        self
    }

    /// Gives it a body.
    #[must_use]
    pub(crate) fn body(self, body: Bytes) -> Self {
        let length = HeaderValue::from(body.len());
        Self { body, ..self.with(header::CONTENT_LENGTH.as_str(), &length) }
    }

    /// What is to be written, one after the other.
    pub(super) fn into_parts(mut self) -> (Vec<u8>, Bytes) {
        self.head.extend_from_slice(b"\r\n");
        (self.head, self.body)
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
            .body(Bytes::from_static(b"{}"));
        let (head, body) = request.into_parts();
        let wanted = "POST /v1/x?y HTTP/1.1\r\nhost: a:81\r\nx-one: 1\r\ncontent-length: 2\r\n\r\n";
        assert_eq!((std::str::from_utf8(&head).unwrap(), &*body), (wanted, &b"{}"[..]));
    }
}
