//! The public keys of an issuer (RFC 7517), and what each of them has signed. What cannot be used is left out: an issuer
//! may publish keys for other purposes, and of kinds that are not known here.

use super::jwt::Algorithm;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

/// The most keys that are kept of one issuer.
const KEYS_MAX: usize = 64;

/// Why a text holds no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a JSON Web Key Set of at most {KEYS_MAX} keys")]
pub(crate) struct NotAKeySet;

/// One key. It verifies by the one algorithm that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    id: Option<String>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Key {
    pub(super) fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Says whether this key has signed these bytes, by this algorithm and no other.
    pub(super) fn has_signed(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if algorithm != self.algorithm() {
            return false;
        }
        let verified =
            match &self.material {
                // Takes no modulus below 2048 bits.
                Material::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }
                    .verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature),
                Material::P256(point) => {
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
                }
                Material::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(signed, signature),
            };
        verified.is_ok()
    }
}

/// The keys of one issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys(Vec<Key>);

impl Keys {
    /// Reads a key set.
    pub(super) fn parse(text: &[u8]) -> Result<Self, NotAKeySet> {
        let Set { keys } = serde_json::from_slice(text).map_err(|_| NotAKeySet)?;
        if keys.len() > KEYS_MAX {
            return Err(NotAKeySet);
        }
        Ok(Self(keys.into_iter().filter_map(|key| Jwk::deserialize(key).ok()?.key()).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The one key that a token can have been signed by. None if two could have: none of them is tried then.
    pub(super) fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Option<&Key> {
        let fits = |key: &&Key| key.algorithm() == algorithm && (id.is_none() || key.id.as_deref() == id);
        let mut fitting = self.0.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key),
            (None | Some(_), _) => None,
        }
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// A key as it is published. A field of another type than it should have makes it unusable.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    /// The private part: whoever publishes it has no key any more.
    #[serde(default)]
    d: Option<Value>,
}

impl Jwk {
    fn key(self) -> Option<Key> {
        let for_signatures = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        if !for_signatures || self.d.is_some() {
            return None;
        }
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => {
                // The verifier wants no leading zeros, which some issuers write.
                let modulus = without_zeros(&bytes(self.n.as_ref())?);
                let exponent = without_zeros(&bytes(self.e.as_ref())?);
                // As much as the verifier takes.
                let fits = (2048 / 8..=8192 / 8).contains(&modulus.len()) && !exponent.is_empty();
                fits.then_some(Material::Rsa { modulus, exponent })?
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(self.x.as_ref())?, bytes(self.y.as_ref())?);
                let fits = x.len() == 32 && y.len() == 32;
                fits.then(|| Material::P256([&[4][..], &x, &y].concat()))?
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes(self.x.as_ref())?;
                (x.len() == 32).then_some(Material::Ed25519(x))?
            }
            _ => return None,
        };
        let key = Key { id: self.kid, material };
        let said = self.alg.as_deref().map(Algorithm::from_word);
        said.is_none_or(|alg| alg == Some(key.algorithm())).then_some(key)
    }
}

fn bytes(text: Option<&String>) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text?).ok()
}

fn without_zeros(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ed(extra: &str) -> String {
        let x = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"a"{extra}}}"#)
    }

    fn keys(text: &str) -> Keys {
        Keys::parse(format!(r#"{{"keys":[{text}]}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_used_for_what_its_owner_says_it_is_for() {
        for good in
            ["", r#","use":"sig""#, r#","alg":"EdDSA""#, r#","key_ops":["verify"]"#, r#","x5c":["?"]"#]
        {
            assert_eq!(keys(&ed(good)).len(), 1, "{good}");
        }
        for bad in [
            r#","use":"enc""#,
            r#","alg":"RS256""#,
            r#","alg":"none""#,
            r#","alg":"HS256""#,
            r#","key_ops":["encrypt"]"#,
            r#","key_ops":[]"#,
            r#","use":1"#,
            r#","d":"AAAA""#,
        ] {
            assert_eq!(keys(&ed(bad)).len(), 0, "{bad}");
        }
    }

    #[test]
    fn what_is_no_public_key_of_a_known_kind_is_left_out() {
        let (small, short) =
            (BASE64_URL_SAFE_NO_PAD.encode([0xff; 128]), BASE64_URL_SAFE_NO_PAD.encode([7; 31]));
        for odd in [
            r#"{"kty":"oct","k":"AAAA","kid":"a"}"#.to_owned(),
            format!(r#"{{"kty":"RSA","n":"{small}","e":"AQAB"}}"#),
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{short}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{short}","y":"{short}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-384","x":"{short}","y":"{short}"}}"#),
            r#"{"kty":"RSA"}"#.into(),
            "1".into(),
            "{}".into(),
        ] {
            assert_eq!(keys(&format!("{odd},{}", ed(""))).len(), 1, "{odd}");
        }
        for odd in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
            assert_eq!(Keys::parse(odd.as_bytes()), Err(NotAKeySet), "{odd}");
        }
        let many = vec![ed(""); KEYS_MAX + 1].join(",");
        assert_eq!(Keys::parse(format!(r#"{{"keys":[{many}]}}"#).as_bytes()), Err(NotAKeySet));
    }

    #[test]
    fn which_key_is_meant_is_never_guessed() {
        let one = keys(&ed(""));
        assert!(
            one.find(Algorithm::EdDsa, Some("a")).is_some() && one.find(Algorithm::EdDsa, None).is_some()
        );
        assert!(
            one.find(Algorithm::EdDsa, Some("b")).is_none() && one.find(Algorithm::EdDsa, Some("")).is_none()
        );
        assert!(one.find(Algorithm::Rs256, Some("a")).is_none());
        let two = keys(&format!("{},{}", ed(""), ed("")));
        assert!(
            two.find(Algorithm::EdDsa, Some("a")).is_none() && two.find(Algorithm::EdDsa, None).is_none()
        );
    }
}
