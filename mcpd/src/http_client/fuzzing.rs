//! An upstream's answer out of bytes in pieces, read as [`super::wire`] reads them: see [`crate::fuzzing`].

use super::{
    Head, Malformed,
    body::Then,
    head::{Finder, Parsed},
    wire::reads,
};

/// What was made of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What is kept of its head.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Whether its connection may rest, if the body ends as it should.
    pub is_kept: bool,
    /// Its body as far as it came.
    pub body: Vec<u8>,
    /// Where it stands after that.
    pub end: End,
}

/// Where a body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// More of it is to come.
    Open,
    /// It is over; says whether the bytes were so too.
    Over {
        /// Nothing came after it.
        is_exact: bool,
    },
    /// It cannot be read on.
    Wrong,
}

/// Reads pieces one after the other; nothing as long as the head is not all there.
pub fn answer(pieces: &[&[u8]]) -> Result<Option<Answer>, String> {
    read(pieces).map_err(|wrong| wrong.to_string())
}

fn read(pieces: &[&[u8]]) -> Result<Option<Answer>, Malformed> {
    let (mut kept, mut finder, mut passed) = (Vec::new(), Finder::default(), 0);
    let mut pieces = pieces.iter().filter(|piece| !piece.is_empty());
    let begun = pieces.find_map(|piece| reads(&mut kept, &mut finder, &mut passed, piece).transpose());
    let Some((Parsed { head, mut framing, is_kept }, mut piece)) = begun.transpose()? else {
        return Ok(None);
    };
    let mut body = Vec::new();
    let end = loop {
        body.extend_from_slice(&piece.data);
        match piece.then {
            Then::Over { is_exact } => break End::Over { is_exact: is_exact && pieces.next().is_none() },
            Then::Wrong(_) => break End::Wrong,
            Then::More => match pieces.next() {
                Some(more) => piece = framing.take(more),
                None => break End::Open,
            },
        }
    };
    let Head { status, headers } = head;
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    Ok(Some(Answer { status: status.as_u16(), headers, is_kept, body, end }))
}
