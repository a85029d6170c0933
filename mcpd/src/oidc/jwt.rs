//! A JWT as text: taken apart, and its signature held against one key. Knows no issuer, no clock and no network.
//!
//! The rules are those of RFC 7515 (JWS), 7519 (JWT) and 8725 (what has gone wrong elsewhere): the compact form only,
//! algorithms of an own list, never `none` and never a shared key, no key out of the token itself.

use super::jwk::Key;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mcp_api::{Secret, strict_json};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The longest token that is looked at, in bytes.
pub(super) const SIZE_MAX: usize = 16 << 10;

/// The ways of signing that are taken. All of them have a public key; there is no other kind here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The algorithm of a word. Words are compared as they are: `NONE` is no way around `none`.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            // RFC 9864 has the second one.
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// Why a text is no token that could be looked at further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it is longer than any token should be")]
    TooLong,
    #[error("it does not have three parts in base64url")]
    Parts,
    #[error("its header is not a JSON object in which every key is there once")]
    Header,
    #[error("its claims are not a JSON object in which every key is there once")]
    Claims,
    #[error("it is not signed by RS256, ES256 or EdDSA")]
    Algorithm,
    #[error("its type is not that of an identity or of an access token")]
    Type,
    #[error("it asks for an extension that must be understood, and there is none that is")]
    Critical,
}

/// A token that has been taken apart. Nothing in it is true before [`Jwt::signed_by`] says so.
#[derive(Clone)]
pub(super) struct Jwt<'a> {
    pub(super) algorithm: Algorithm,
    /// Which key is said to have signed it.
    pub(super) key_id: Option<String>,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl<'a> Jwt<'a> {
    /// Takes a text apart.
    pub(super) fn parse(text: &'a Secret) -> Result<Self, Malformed> {
        let text = text.expose();
        if text.len() > SIZE_MAX {
            return Err(Malformed::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Malformed::Parts)?;
        let (header, claims) = signed.split_once('.').ok_or(Malformed::Parts)?;
        // A fourth part would be within the claims, and a dot is no base64url.
        let [header, claims, signature] = [header, claims, signature].map(decoded);
        let header = object(&header?).ok_or(Malformed::Header)?;
        let (claims, signature) = (claims?, signature?);
        if header.contains_key("crit") {
            return Err(Malformed::Critical);
        }
        if !header.get("typ").is_none_or(is_type) {
            return Err(Malformed::Type);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_word);
        let algorithm = algorithm.ok_or(Malformed::Algorithm)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(Malformed::Header),
        };
        let claims = object(&claims).ok_or(Malformed::Claims)?;
        Ok(Self { algorithm, key_id, signed, signature, claims })
    }

    /// Who is said to have made it: which keys to ask for. Nothing else may be decided by it.
    pub(super) fn unverified_issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// What it says, if this key has signed it.
    pub(super) fn signed_by(self, key: &Key) -> Option<Signed> {
        key.has_signed(self.algorithm, self.signed.as_bytes(), &self.signature)
            .then(|| Signed { claims: self.claims, digest: Sha256::digest(self.signed).into() })
    }
}

/// What a token says whose signature is good.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(super) claims: Map<String, Value>,
    /// Tells it from other ones; says nothing about it.
    pub(super) digest: [u8; 32],
}

/// Strict: no padding, no characters of the other alphabet, no bits left over.
fn decoded(part: &str) -> Result<Vec<u8>, Malformed> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed::Parts)?;
    if bytes.is_empty() { Err(Malformed::Parts) } else { Ok(bytes) }
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(bytes).ok()?;
    match strict_json::from_str(text).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// Tokens for other purposes, such as a logout, say so in their type (RFC 8725, section 3.11).
fn is_type(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let text = text.to_ascii_lowercase();
    matches!(text.strip_prefix("application/").unwrap_or(&text), "jwt" | "at+jwt")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(text: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    fn parse(header: &str, claims: &str) -> Result<(), Malformed> {
        let text = format!("{}.{}.{}", encoded(header), encoded(claims), encoded("signature"));
        Jwt::parse(&Secret::new(text)).map(drop)
    }

    #[test]
    fn a_token_has_three_parts_and_a_header_that_is_known() {
        let claims = r#"{"iss":"https://a"}"#;
        for header in [
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"ES256","kid":"1","typ":"JWT"}"#,
            r#"{"alg":"EdDSA","typ":"application/at+jwt"}"#,
            r#"{"alg":"RS256","x5t":"x","jku":"https://evil"}"#,
        ] {
            assert_eq!(parse(header, claims), Ok(()), "{header}");
        }
        for (header, why) in [
            (r#"{"alg":"none"}"#, Malformed::Algorithm),
            (r#"{"alg":"None"}"#, Malformed::Algorithm),
            (r#"{"alg":""}"#, Malformed::Algorithm),
            (r#"{"alg":null}"#, Malformed::Algorithm),
            (r#"{"alg":["RS256"]}"#, Malformed::Algorithm),
            (r#"{"alg":"HS256"}"#, Malformed::Algorithm),
            (r#"{"alg":"rs256"}"#, Malformed::Algorithm),
            (r#"{"alg":"RS1"}"#, Malformed::Algorithm),
            ("{}", Malformed::Algorithm),
            (r#"{"alg":"RS256","alg":"none"}"#, Malformed::Header),
            (r#"{"alg":"RS256","\u0061lg":"none"}"#, Malformed::Header),
            (r#"{"alg":"RS256","kid":1}"#, Malformed::Header),
            (r#"{"alg":"RS256","kid":null}"#, Malformed::Header),
            (r#"["RS256"]"#, Malformed::Header),
            (r#"{"alg":"RS256"} {}"#, Malformed::Header),
            (r#"{"alg":"RS256","crit":["exp"],"exp":1}"#, Malformed::Critical),
            (r#"{"alg":"RS256","crit":[]}"#, Malformed::Critical),
            (r#"{"alg":"RS256","typ":"logout+jwt"}"#, Malformed::Type),
            (r#"{"alg":"RS256","typ":null}"#, Malformed::Type),
        ] {
            assert_eq!(parse(header, claims), Err(why), "{header}");
        }
        for claims in ["[]", "1", "", r#"{"iss":"a","iss":"b"}"#, r#"{"a":{"b":1,"b":2}}"#, "{", "\u{feff}{}"]
        {
            let why = if claims.is_empty() { Malformed::Parts } else { Malformed::Claims };
            assert_eq!(parse(r#"{"alg":"RS256"}"#, claims), Err(why), "{claims}");
        }
    }

    #[test]
    fn only_the_compact_form_in_strict_base64url_is_taken() {
        let (header, claims) = (encoded(r#"{"alg":"RS256"}"#), encoded(r#"{"iss":"https://a"}"#));
        let of = |text: String| Jwt::parse(&Secret::new(text)).map(drop);
        assert_eq!(of(format!("{header}.{claims}.AAAA")), Ok(()));
        for odd in [
            String::new(),
            ".".into(),
            "..".into(),
            header.clone(),
            format!("{header}.{claims}"),
            format!("{header}.{claims}."),
            format!("{header}..AAAA"),
            format!(".{claims}.AAAA"),
            format!("{header}.{claims}.AAAA.AAAA"),
            format!("{header}.{claims}.AAAA.AAAA.AAAA"),
            format!("{header}.{claims}.AAA="),
            format!("{header}.{claims}.AB+/"),
            format!("{header}.{claims}.AB"),
            format!("{header}.{claims}. AAAA"),
            format!("{header}.{claims}.AAAA\n"),
            format!("{{\"payload\":\"{claims}\"}}"),
        ] {
            assert_eq!(of(odd.clone()), Err(Malformed::Parts), "{odd:?}");
        }
        assert_eq!(of("a".repeat(SIZE_MAX + 1)), Err(Malformed::TooLong));
        let deep = encoded(&format!(r#"{{"a":{}"#, "[".repeat(8000)));
        assert_eq!(of(format!("{header}.{deep}.AAAA")), Err(Malformed::Claims));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9._=-]{0,80}|\\PC{0,40}") {
            let _ = Jwt::parse(&Secret::new(text));
        }
    }
}
