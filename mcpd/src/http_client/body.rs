//! Where the body of an answer ends, and what of the bytes that one read brought belongs to it. Pure.

use super::{Malformed, chunks::Chunks};
use axum::body::Bytes;

/// How much of a body is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// What its chunks say.
    Chunked(Chunks),
    /// Everything until the other side closes.
    UntilClosed,
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// All that it holds of the body, in one.
    pub(super) data: Bytes,
    pub(super) then: Then,
}

/// What comes after a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// More of the body.
    More,
    /// Nothing; says whether the bytes ended with the body.
    Over { is_exact: bool },
    /// Nothing that could be read.
    Wrong(Malformed),
}

impl Framing {
    /// How much is to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClosed => None,
        }
    }

    /// Takes what belongs to the body out of the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Piece {
        match self {
            Self::UntilClosed => Piece { data: Bytes::copy_from_slice(bytes), then: Then::More },
            Self::Length(left) => {
                let here = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= here as u64;
                let is_exact = here == bytes.len();
                let then = if *left == 0 { Then::Over { is_exact } } else { Then::More };
                Piece { data: Bytes::copy_from_slice(&bytes[..here]), then }
            }
            Self::Chunked(chunks) => {
                let mut data = Vec::with_capacity(bytes.len());
                let then = match chunks.decode(bytes, &mut data) {
                    Ok(rest) if chunks.is_over() => Then::Over { is_exact: rest.is_empty() },
                    Ok(_) => Then::More,
                    Err(wrong) => Then::Wrong(wrong),
                };
                Piece { data: data.into(), then }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(data: &'static str, then: Then) -> Piece {
        Piece { data: Bytes::from_static(data.as_bytes()), then }
    }

    #[test]
    fn all_that_came_together_is_one_piece() {
        let mut chunked = Framing::Chunked(Chunks::default());
        assert_eq!(chunked.take(b"1\r\na\r\n2\r\nbc\r\n3\r\nd"), piece("abcd", Then::More));
        assert_eq!(chunked.take(b"ef\r\n0\r\n\r\n"), piece("ef", Then::Over { is_exact: true }));
    }

    #[test]
    fn what_comes_after_the_end_is_none_of_it() {
        assert_eq!(Framing::Length(2).take(b"abc"), piece("ab", Then::Over { is_exact: false }));
        assert_eq!(Framing::Length(4).take(b"abc"), piece("abc", Then::More));
        let mut chunked = Framing::Chunked(Chunks::default());
        assert_eq!(chunked.take(b"1\r\na\r\n0\r\n\r\nHTTP/1.1"), piece("a", Then::Over { is_exact: false }));
        assert_eq!(Framing::UntilClosed.take(b"abc"), piece("abc", Then::More));
    }

    #[test]
    fn a_body_of_known_length_is_over_at_its_last_byte() {
        let mut body = Framing::Length(7);
        for (bytes, then, left) in [
            (&b"abc"[..], Then::More, 4),
            (b"", Then::More, 4),
            (b"de", Then::More, 2),
            (b"fg", Then::Over { is_exact: true }, 0),
        ] {
            assert_eq!(body.left(), Some(left + bytes.len() as u64));
            assert_eq!(body.take(bytes), Piece { data: Bytes::from_static(bytes), then });
            assert_eq!(body.left(), Some(left));
        }
        assert_eq!(Framing::Chunked(Chunks::default()).left(), None);
        assert_eq!(Framing::UntilClosed.left(), None);
    }

    #[test]
    fn what_was_right_before_something_wrong_is_kept() {
        let mut chunked = Framing::Chunked(Chunks::default());
        assert_eq!(chunked.take(b"1\r\na\r\nx"), piece("a", Then::Wrong(Malformed::Size)));
    }
}
