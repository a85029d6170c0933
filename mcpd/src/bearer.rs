//! Tokens as text: `mcpd_<id>_<secret>`. Knows their shape and their hash, not whose they are.

use crate::ids::{self, TOKEN_ID_LEN};
use mcp_api::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What every token starts with.
pub(crate) const PREFIX: &str = "mcpd_";
const SECRET_LEN: usize = 64;

/// A token that somebody presents, or that has just been made.
#[derive(Debug, Clone)]
pub(crate) struct Bearer {
    id: String,
    secret: Secret,
}

impl Bearer {
    /// Makes a new one from 256 random bits.
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self { id: ids::token_id()?, secret: Secret::new(ids::token_secret()?) })
    }

    /// Takes a text apart; none if it does not have exactly the shape of a token.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let id_fits = id.len() == TOKEN_ID_LEN && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'));
        let secret_fits =
            secret.len() == SECRET_LEN && secret.bytes().all(|b| matches!(b, b'a'..=b'f' | b'0'..=b'9'));
        (id_fits && secret_fits).then(|| Self { id: id.to_owned(), secret: Secret::new(secret) })
    }

    /// The public part.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What is stored of the secret part.
    pub(crate) fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.secret.expose()).into())
    }

    /// Says whether this is the secret that a hash is of. Takes the same time if there is no hash at all.
    pub(crate) fn is_of(&self, stored: Option<&TokenHash>) -> bool {
        let nobodys = TokenHash([0; 32]);
        let matches = self.hash().matches(stored.unwrap_or(&nobodys));
        matches & stored.is_some()
    }

    /// The whole token, to be shown once to the one it was made for.
    pub(crate) fn reveal(&self) -> Secret {
        Secret::new(format!("{PREFIX}{}_{}", self.id, self.secret.expose()))
    }
}

/// SHA-256 of a token's secret part. Equality takes the same time wherever two of them differ.
///
/// A fast hash is enough: the secret has 256 random bits and cannot be guessed from a dictionary.
#[derive(Clone)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    pub(crate) fn to_hex(&self) -> String {
        mcp_api::hex(&self.0)
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

#[cfg(test)]
mod timing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_being_written_and_read() {
        let made = Bearer::generate().unwrap();
        let read = Bearer::parse(made.reveal().expose()).unwrap();
        assert_eq!(made.id(), read.id());
        assert!(TokenHash::from_hex(&made.hash().to_hex()).unwrap().matches(&read.hash()));
        assert!(read.is_of(Some(&made.hash())) && !read.is_of(None));
        assert!(!read.is_of(Some(&Bearer::generate().unwrap().hash())));
    }

    #[test]
    fn nothing_but_the_exact_shape_is_a_token() {
        let good = Bearer::generate().unwrap().reveal();
        let good = good.expose();
        for odd in [
            String::new(),
            "mcpd__".into(),
            good.to_uppercase(),
            good[..good.len() - 1].into(),
            format!("{good}0"),
            format!(" {good}"),
            good.replacen("mcpd", "mcpx", 1),
            good.replacen('_', "__", 1),
            format!("mcpd_' OR '1'='1_{}", "0".repeat(64)),
        ] {
            assert!(Bearer::parse(&odd).is_none(), "{odd:?} was taken for a token");
        }
    }

    #[test]
    fn k03_a_token_does_not_print_itself() {
        let bearer = Bearer::generate().unwrap();
        assert!(!format!("{bearer:?}").contains(bearer.secret.expose()));
    }
}
