//! What is wrong with an answer that is not HTTP/1.1 as it should be.

/// Why an answer is not read on. Nothing that comes after it on its connection is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the head of the answer is larger than {} KiB", super::head::HEAD_MAX >> 10)]
    TooLarge,
    #[error("the head of the answer is none of HTTP/1.1: {0}")]
    Head(httparse::Error),
    #[error("a line of the answer's head does not end in CR LF")]
    LineEnd,
    #[error("the answer gives its length twice, or in no clear way")]
    Length,
    #[error("the answer has a transfer encoding other than chunked")]
    Encoding,
    #[error("a chunk of the answer has no clear size")]
    Size,
    #[error("a chunk of the answer does not end where it says")]
    Chunk,
    #[error("the answer says too much beside its chunks")]
    TooMuch,
}
