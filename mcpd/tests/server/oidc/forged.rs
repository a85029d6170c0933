//! What is no good token, one thing wrong at a time.

use super::{believing, status, whoami};
use fakes::{Evild, Issuer, KeyKind, Mcpd, SigningKey, encoded};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// HMAC-SHA-256 (RFC 2104): what somebody does who takes a public key for a shared one.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    let key = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block[..key.len()].copy_from_slice(&key);
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

fn refused(mcpd: &Mcpd, token: &str, what: &str) {
    let answer = whoami(mcpd, token);
    assert_eq!((answer.status, answer.header("mcpd-error-code")), (401, Some("unauthenticated")), "{what}");
}

/// The header that the issuer writes, with other keys.
fn header(issuer: &Issuer, more: Value) -> String {
    let key = issuer.key();
    let mut header = json!({ "alg": key.algorithm(), "kid": key.id(), "typ": "JWT" });
    let Value::Object(more) = more else { panic!("an object") };
    header.as_object_mut().unwrap().extend(more);
    header.to_string()
}

#[test]
fn a04_a_signature_by_anything_but_the_issuers_key_is_none() {
    for kind in [KeyKind::Rsa, KeyKind::P256, KeyKind::Ed25519] {
        let issuer = Issuer::with(kind);
        let mcpd = believing(&issuer, json!({}));
        let good = issuer.token(json!({}));
        assert_eq!(status(&mcpd, &good), 200);
        let claims = issuer.claims(json!({})).to_string();
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let of = |header: &str, signature: &[u8]| {
            format!("{}.{}.{}", encoded(header.as_bytes()), encoded(claims.as_bytes()), encoded(signature))
        };
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            let header = header(&issuer, json!({ "alg": alg }));
            refused(&mcpd, &of(&header, b"x"), alg);
            refused(&mcpd, of(&header, b"").as_str(), alg);
        }
        // The public key as a shared one, in the forms in which a library could hold it.
        let public = issuer.key().public();
        let raw = |field: &str| public[field].as_str().unwrap_or_default().as_bytes().to_vec();
        for secret in [public.to_string().into_bytes(), raw("n"), raw("x"), Vec::new()] {
            let text = of(&header(&issuer, json!({ "alg": "HS256" })), b"");
            let text = text.trim_end_matches('.');
            refused(&mcpd, &format!("{text}.{}", encoded(&hmac(&secret, text.as_bytes()))), "HS256");
        }
        // A key of their own: under the issuer's id, in the header, behind a URL.
        let own = SigningKey::new(if kind == KeyKind::Rsa { KeyKind::OtherRsa } else { kind }, "first");
        let evil = Evild::start([vec![fakes::Step::ReadRequest]]);
        for more in [
            json!({}),
            json!({ "jwk": own.public() }),
            json!({ "jku": format!("{}/keys", evil.url()) }),
            json!({ "x5u": format!("{}/chain", evil.url()) }),
            json!({ "x5c": ["AAAA"] }),
            json!({ "kid": "../../../../dev/null" }),
            json!({ "kid": "first' OR '1'='1" }),
            json!({ "kid": "" }),
            json!({ "kid": null }),
            json!({ "kid": ["first"] }),
            json!({ "kid": evil.url() }),
        ] {
            refused(&mcpd, &own.token(&header(&issuer, more.clone()), &claims), &more.to_string());
        }
        assert_eq!(evil.connections(), 0, "nobody goes where a token says");
        // Another algorithm than the key's, with whatever the key has signed.
        for alg in ["RS256", "ES256", "EdDSA", "PS256", "RS384", "RS512", "ES384", "ES512", "ES256K", "HS512"]
        {
            if alg != issuer.key().algorithm() {
                refused(&mcpd, &issuer.key().token(&header(&issuer, json!({ "alg": alg })), &claims), alg);
            }
        }
        // Changed, cut, stretched.
        let other = encoded(issuer.claims(json!({ "sub": "admin" })).to_string().as_bytes());
        let (head, _) = signed.split_once('.').unwrap();
        refused(&mcpd, &format!("{head}.{other}.{signature}"), "other claims");
        refused(&mcpd, &format!("{signed}."), "no signature");
        refused(&mcpd, signed, "two parts");
        refused(&mcpd, &good[..good.len() - 2], "cut");
        refused(&mcpd, &format!("{good}A"), "longer");
        refused(&mcpd, &format!("{good}.{signature}"), "four parts");
        refused(&mcpd, &format!("{signed}.{}", encoded(&[0; 64])), "zeros (CVE-2022-21449)");
        refused(&mcpd, &format!("{signed}.{}", encoded(&[0; 256])), "zeros");
        for field in [
            json!({ "crit": ["exp"] }),
            json!({ "crit": ["b64"], "b64": false }),
            json!({ "typ": "logout+jwt" }),
        ] {
            refused(&mcpd, &issuer.key().token(&header(&issuer, field.clone()), &claims), &field.to_string());
        }
        assert_eq!(status(&mcpd, &good), 200);
    }
}

#[test]
fn a04_claims_that_are_not_for_us_now_are_refused() {
    let issuer = Issuer::start();
    let mcpd = believing(&issuer, json!({ "require": { "owner": "42" } }));
    let good = json!({ "owner": "42" });
    let now = issuer.claims(json!({}))["iat"].as_i64().unwrap();
    assert_eq!(status(&mcpd, &issuer.token(good.clone())), 200);
    for claims in [
        json!({ "aud": null }),
        json!({ "aud": "https://mcpd.example/" }),
        json!({ "aud": "https://MCPD.example" }),
        json!({ "aud": ["https://other.example"] }),
        json!({ "aud": [] }),
        json!({ "iss": null }),
        json!({ "iss": format!("{}/", issuer.url()) }),
        json!({ "iss": issuer.url().to_uppercase() }),
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": [issuer.url()] }),
        json!({ "exp": null }),
        json!({ "exp": now - 61 }),
        json!({ "exp": "9999999999" }),
        json!({ "exp": 1e300 }),
        json!({ "exp": -1 }),
        json!({ "nbf": now + 120 }),
        json!({ "nbf": "0" }),
        json!({ "nbf": [0] }),
        json!({ "iat": now + 120 }),
        json!({ "iat": {} }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": ["job"] }),
        json!({ "sub": 7 }),
        json!({ "sub": "x".repeat(200) }),
        json!({ "owner": null }),
        json!({ "owner": 42 }),
        json!({ "owner": "43" }),
    ] {
        let mut all = good.clone();
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        refused(&mcpd, &issuer.token(all), &claims.to_string());
    }
    // Within the skew.
    for claims in [json!({ "exp": now - 30 }), json!({ "nbf": now + 30 }), json!({ "iat": now + 30 })] {
        let mut all = good.clone();
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        assert_eq!(status(&mcpd, &issuer.token(all)), 200, "{claims}");
    }
}

#[test]
fn a04_a_token_says_everything_once() {
    let issuer = Issuer::start();
    let mcpd = believing(&issuer, json!({}));
    let (key, claims) = (issuer.key(), issuer.claims(json!({})).to_string());
    let header = header(&issuer, json!({}));
    let doubled = |text: &str, more: &str| format!("{},{more}}}", text.trim_end_matches('}'));
    assert_eq!(status(&mcpd, &key.token(&header, &doubled(&claims, "\"x\":1"))), 200);
    for more in ["\"sub\":\"admin\"", "\"aud\":\"x\"", "\"\\u0073ub\":\"admin\"", "\"y\":{\"a\":1,\"a\":2}"] {
        refused(&mcpd, &key.token(&header, &doubled(&claims, more)), more);
    }
    for more in ["\"alg\":\"none\"", "\"alg\":\"ES256\"", "\"kid\":\"first\""] {
        refused(&mcpd, &key.token(&doubled(&header, more), &claims), more);
    }
}

#[test]
fn x05_a_huge_token_costs_nothing() {
    let issuer = Issuer::start();
    let mcpd = believing(&issuer, json!({}));
    let fits = issuer.token(json!({ "x": "x".repeat(10 << 10) }));
    assert_eq!(status(&mcpd, &fits), 200);
    refused(&mcpd, &issuer.token(json!({ "x": "x".repeat(12 << 10) })), "over 16 KiB");
    let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    let claims = format!("{{\"x\":{deep}}}");
    refused(&mcpd, &issuer.key().token(&header(&issuer, json!({})), &claims), "deep");
    refused(&mcpd, &"a.".repeat(8000), "dots");
}

#[test]
fn without_an_issuer_no_jwt_is_taken() {
    let issuer = Issuer::start();
    let mcpd = Mcpd::start();
    refused(&mcpd, &issuer.token(json!({})), "nobody is believed");
    assert!(issuer.asked().is_empty());
}
