//! Random ids and secrets. The only place that asks the system for randomness.

use getrandom::Error;
use mcp_api::{LlmId, name::ID_LEN};
use std::fmt::Write as _;

/// The length of the public part of a token.
pub(crate) const TOKEN_ID_LEN: usize = 16;

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

/// Makes the id of a request that came without one.
pub(crate) fn request_id() -> Result<String, Error> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Makes what tells one change of rights from every other one.
pub(crate) fn stamp() -> Result<String, Error> {
    request_id()
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
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
