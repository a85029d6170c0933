//! Takes a chunked body out of its chunks. Pure, and strict: sizes are hexadecimal digits, lines end in CR LF, and what
//! else can be said beside chunks is bounded and dropped.

use super::Malformed;
use memchr::memchr2;

/// As much may be said in extensions and trailers of one body, in bytes.
const ASIDE_MAX: usize = 16 << 10;

/// Where in its chunks a body is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Chunks {
    place: Place,
    aside: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the digits of a size.
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind a size, up to the end of its line.
    Extension(u64),
    /// Before the LF after a size.
    SizeLf(u64),
    /// So many bytes of a chunk are still to come.
    Data(u64),
    DataCr,
    DataLf,
    /// After the last chunk; says whether the line is still empty.
    Trailer {
        is_empty: bool,
    },
    TrailerLf {
        is_empty: bool,
    },
    Over,
}

impl Default for Place {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunks {
    /// Says whether the body is over.
    pub(super) fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// Adds to `body` what `bytes` hold of it, and gives back what comes after its end.
    pub(super) fn decode<'a>(
        &mut self,
        mut bytes: &'a [u8],
        body: &mut Vec<u8>,
    ) -> Result<&'a [u8], Malformed> {
        while let Some((&first, rest)) = bytes.split_first() {
            bytes = match self.place {
                Place::Over => break,
                Place::Data(left) => {
                    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let (data, rest) = bytes.split_at(here);
                    body.extend_from_slice(data);
                    let left = left - here as u64;
                    self.place = if left == 0 { Place::DataCr } else { Place::Data(left) };
                    rest
                }
                Place::Extension(size) => {
                    let (text, rest) = self.aside(bytes)?;
                    if text {
                        self.place = Place::SizeLf(size);
                    }
                    rest
                }
                Place::Trailer { is_empty } => {
                    let before = self.aside;
                    let (is_line, rest) = self.aside(bytes)?;
                    let is_empty = is_empty && self.aside == before;
                    self.place =
                        if is_line { Place::TrailerLf { is_empty } } else { Place::Trailer { is_empty } };
                    rest
                }
                Place::Size { .. }
                | Place::SizeLf(_)
                | Place::DataCr
                | Place::DataLf
                | Place::TrailerLf { .. } => {
                    self.place = self.place.after(first)?;
                    rest
                }
            };
        }
        Ok(bytes)
    }

    /// Skips the rest of a line as far as its CR; says whether that was there.
    fn aside<'a>(&mut self, bytes: &'a [u8]) -> Result<(bool, &'a [u8]), Malformed> {
        let end = memchr2(b'\r', b'\n', bytes);
        self.aside += end.unwrap_or(bytes.len());
        if self.aside > ASIDE_MAX {
            return Err(Malformed::TooMuch);
        }
        match end {
            None => Ok((false, &[])),
            Some(at) if bytes[at] == b'\r' => Ok((true, &bytes[at + 1..])),
            Some(_) => Err(Malformed::Chunk),
        }
    }
}

impl Place {
    /// Where one byte leads.
    fn after(self, byte: u8) -> Result<Self, Malformed> {
        match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') => Ok(Self::SizeLf(size)),
            (Self::Size { digits: 1.., size }, b';') => Ok(Self::Extension(size)),
            // The highest bit stays free.
            (Self::Size { digits: 0..15, .. }, _) => self.digit(byte).ok_or(Malformed::Size),
            (Self::SizeLf(0), b'\n') => Ok(Self::Trailer { is_empty: true }),
            (Self::SizeLf(size), b'\n') => Ok(Self::Data(size)),
            (Self::DataCr, b'\r') => Ok(Self::DataLf),
            (Self::DataLf, b'\n') => Ok(Self::default()),
            (Self::TrailerLf { is_empty: true }, b'\n') => Ok(Self::Over),
            (Self::TrailerLf { is_empty: false }, b'\n') => Ok(Self::Trailer { is_empty: true }),
            (Self::Size { .. }, _) => Err(Malformed::Size),
            _ => Err(Malformed::Chunk),
        }
    }

    fn digit(self, byte: u8) -> Option<Self> {
        let Self::Size { size, digits } = self else { return None };
        let digit = char::from(byte).to_digit(16)?;
        Some(Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The body, what is left after it, and whether it was over; or what was wrong.
    fn decoded<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<u8>, Result<(usize, bool), Malformed>) {
        let (mut chunks, mut body, mut left) = (Chunks::default(), Vec::new(), 0);
        for piece in pieces {
            match chunks.decode(piece, &mut body) {
                Ok(rest) => left += rest.len(),
                Err(wrong) => return (body, Err(wrong)),
            }
        }
        (body, Ok((left, chunks.is_over())))
    }

    fn one(text: &str) -> (String, Result<(usize, bool), Malformed>) {
        let (body, end) = decoded([text.as_bytes()]);
        (String::from_utf8(body).unwrap(), end)
    }

    #[test]
    fn chunks_are_put_together() {
        for (text, body, end) in [
            ("0\r\n\r\n", "", (0, true)),
            ("3\r\nabc\r\n0\r\n\r\n", "abc", (0, true)),
            ("03\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\nHTTP", "abc0123456789", (4, true)),
            ("1\r\na\r\n0\r\nDigest: 1\r\nX: 2\r\n\r\n", "a", (0, true)),
            ("3\r\nab", "ab", (0, false)),
            ("3\r\nabc\r\n0\r\n", "abc", (0, false)),
            ("", "", (0, false)),
        ] {
            assert_eq!(one(text), (body.to_owned(), Ok(end)), "{text:?}");
        }
    }

    #[test]
    fn odd_chunks_are_refused_after_what_was_right() {
        for (text, wrong) in [
            ("\r\n", Malformed::Size),
            ("x\r\n", Malformed::Size),
            (" 3\r\n", Malformed::Size),
            ("+3\r\n", Malformed::Size),
            ("-1\r\n", Malformed::Size),
            ("0x3\r\n", Malformed::Size),
            ("3 \r\n", Malformed::Size),
            ("3\nabc\n", Malformed::Size),
            (";x\r\n", Malformed::Size),
            ("fffffffffffffffff\r\n", Malformed::Size),
            ("8000000000000003\r\n", Malformed::Size),
            ("3\rabc", Malformed::Chunk),
            ("3;x\nabc", Malformed::Chunk),
            ("3\r\nabcd\r\n", Malformed::Chunk),
            ("3\r\nabc\n0\r\n", Malformed::Chunk),
            ("0\r\n\n", Malformed::Chunk),
            ("0\r\nX: 1\n\r\n", Malformed::Chunk),
        ] {
            let text = format!("2\r\nok\r\n{text}");
            let (body, end) = one(&text);
            assert!(body.starts_with("ok"), "{text:?}");
            assert_eq!(end, Err(wrong), "{text:?}");
        }
    }

    #[test]
    fn what_is_said_beside_chunks_is_bounded() {
        let extensions = format!("1;{}\r\na\r\n", "x".repeat(1000)).repeat(17);
        assert_eq!(one(&extensions).1, Err(Malformed::TooMuch));
        let trailers = format!("0\r\n{}", "X: 1\r\n".repeat(ASIDE_MAX));
        assert_eq!(one(&trailers).1, Err(Malformed::TooMuch));
        let endless = format!("0\r\n{}", "x".repeat(ASIDE_MAX + 1));
        assert_eq!(one(&endless).1, Err(Malformed::TooMuch));
    }

    #[test]
    fn what_is_said_beside_chunks_may_be_as_much_as_the_bound() {
        // With the semicolon read as part of the size's line, so many bytes of an extension, and of a trailer.
        let said = |extension: usize, trailer: usize| {
            let (extension, trailer) = ("x".repeat(extension), "y".repeat(trailer));
            one(&format!("1;{extension}\r\na\r\n0\r\n{trailer}\r\n\r\n")).1
        };
        assert_eq!(said(ASIDE_MAX - 1, 1), Ok((0, true)));
        assert_eq!(said(1, ASIDE_MAX - 1), Ok((0, true)));
        assert_eq!(said(ASIDE_MAX, 1), Err(Malformed::TooMuch));
        assert_eq!(said(1, ASIDE_MAX), Err(Malformed::TooMuch));
    }

    #[test]
    fn a_trailer_in_pieces_is_not_the_end() {
        let (body, end) = decoded([&b"0\r\nDigest"[..], b": 1", b"\r\n", b"\r", b"\nHTTP"]);
        assert_eq!((body, end), (Vec::new(), Ok((4, true))));
        assert_eq!(decoded([&b"0\r\nDigest"[..], b": 1", b"\r\n"]).1, Ok((0, false)));
        assert_eq!(decoded([&b"0\r\nDigest"[..], b"\r\n"]).1, Ok((0, false)));
    }

    #[test]
    fn a_size_has_up_to_fifteen_digits_of_which_each_counts() {
        for (size, expected) in [("f", 15), ("10", 16), ("1f", 31), ("000000000000021", 33)] {
            let text = format!("{size}\r\n{}\r\n0\r\n\r\n", "x".repeat(expected));
            assert_eq!(one(&text), ("x".repeat(expected), Ok((0, true))), "{size}");
        }
        assert_eq!(one("fffffffffffffff\r\nx"), ("x".into(), Ok((0, false))));
        assert_eq!(one("0000000000000001\r\n").1, Err(Malformed::Size));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            text in "(0|3|A|\r\n|\r|\n|abc|0123456789|;x|3\r\nabc\r\n|0\r\n\r\n| ){0,12}",
            cuts in prop::collection::vec(0..120_usize, 0..8),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            let pieces = cuts.into_iter().chain([bytes.len()]).map(|cut| {
                let piece = &bytes[from..cut];
                from = cut;
                piece
            });
            prop_assert_eq!(decoded(pieces), decoded([bytes]));
        }

        #[test]
        fn what_is_cut_into_chunks_comes_out_whole(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..6),
            read in 1..40_usize,
        ) {
            let mut text = Vec::new();
            for piece in &pieces {
                text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                text.extend_from_slice(piece);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decoded(text.chunks(read)), (pieces.concat(), Ok((0, true))));
        }
    }
}
