//! Random ids and secrets. The only place that asks the system for randomness.

use getrandom::Error;
use mcp_api::{LlmId, hex, name::ID_LEN};
use std::cell::RefCell;

/// The length of the public part of a token.
pub(crate) const TOKEN_ID_LEN: usize = 16;

/// The length of the id of a request, in bytes.
const REQUEST_LEN: usize = 12;
/// As many random bytes are asked for at once.
const KEPT_LEN: usize = 128 * REQUEST_LEN;

/// Makes the id of a new LLM: `c` and 24 random characters of base 36.
pub(crate) fn llm_id() -> Result<LlmId, Error> {
    // The grammar of ids takes every such text; the error arm is there for a change of the grammar.
    format!("c{}", base36(ID_LEN - 1)?).parse().map_err(|_| Error::UNEXPECTED)
}

/// Makes the public part of a token.
pub(crate) fn token_id() -> Result<String, Error> {
    base36(TOKEN_ID_LEN)
}

/// Makes the secret part of a token: 256 random bits as hexadecimal digits.
pub(crate) fn token_secret() -> Result<String, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Makes random bytes as hexadecimal digits, for the ids of traces and spans.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String, Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Makes the id of a request that came without one. The system is asked for many at once: it is no secret, and there is
/// one for each request.
pub(crate) fn request_id() -> Result<String, Error> {
    thread_local! {
        static KEPT: RefCell<Kept> = const { RefCell::new(Kept { bytes: [0; KEPT_LEN], used: KEPT_LEN }) };
    }
    KEPT.with_borrow_mut(|kept| {
        if kept.used + REQUEST_LEN > KEPT_LEN {
            getrandom::fill(&mut kept.bytes)?;
            kept.used = 0;
        }
        let id = hex(&kept.bytes[kept.used..kept.used + REQUEST_LEN]);
        kept.used += REQUEST_LEN;
        Ok(id)
    })
}

/// Random bytes for ids of requests, and how many of them were used.
struct Kept {
    bytes: [u8; KEPT_LEN],
    used: usize,
}

/// Makes what tells one change of rights from every other one.
pub(crate) fn stamp() -> Result<String, Error> {
    random_hex::<12>()
}

fn base36(len: usize) -> Result<String, Error> {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    /// The largest multiple of 36 in a byte: what lies above would make some characters likelier than others.
    const FAIR: u8 = 252;
    let mut text = String::with_capacity(len);
    while text.len() < len {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        text.extend(fair.take(len - text.len()).map(|byte| char::from(ALPHABET[usize::from(byte % 36)])));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_shape_and_differ() {
        let (one, other) = (llm_id().unwrap(), llm_id().unwrap());
        assert!(mcp_api::name::is_id_shaped(one.as_str()));
        assert_ne!(one, other);
        assert_eq!(token_id().unwrap().len(), TOKEN_ID_LEN);
        assert_eq!(token_secret().unwrap().len(), 64);
    }
}
