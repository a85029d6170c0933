//! Keys that sign: made anew each time, but for RSA, of which two lie here. They protect nothing.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use serde_json::{Value, json};
use std::sync::Arc;

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// `RS256`; always the same key.
    Rsa,
    /// `RS256` with another key.
    OtherRsa,
    /// `ES256`.
    P256,
    /// `EdDSA`.
    Ed25519,
}

/// A key with its id.
#[derive(Debug, Clone)]
pub struct SigningKey {
    id: String,
    pair: Arc<Pair>,
}

#[derive(Debug)]
enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Makes a key, or takes one of those for RSA.
    pub fn new(kind: KeyKind, id: &str) -> Self {
        let random = SystemRandom::new();
        let pair = match kind {
            KeyKind::Rsa => rsa(include_bytes!("rsa-1.pk8")),
            KeyKind::OtherRsa => rsa(include_bytes!("rsa-2.pk8")),
            KeyKind::P256 => {
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
                Pair::P256(EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap())
            }
            KeyKind::Ed25519 => {
                let made = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap())
            }
        };
        Self { id: id.to_owned(), pair: Arc::new(pair) }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The word for its algorithm in the header of a token.
    pub fn algorithm(&self) -> &'static str {
        match *self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// The public part, as an issuer publishes it.
    pub fn public(&self) -> Value {
        let mut jwk = match &*self.pair {
            Pair::Rsa(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": encoded(&n), "e": encoded(&e) })
            }
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref()) })
            }
        };
        jwk["kid"] = self.id.clone().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// Signs bytes.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(bytes).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims, whatever they say. Texts, so that they can be odd.
    pub fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encoded(header.as_bytes()), encoded(claims.as_bytes()));
        let signature = encoded(&self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn rsa(pkcs8: &[u8]) -> Pair {
    Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8).unwrap())
}

/// base64url without padding.
pub fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
