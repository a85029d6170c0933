//! Tokens that are JWTs of an issuer: what is read of them before anybody has looked at their signature. It only tells
//! the caller's own reports from those of others.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mcp_api::{Secret, failover_report};
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
}

/// Whose it says that it is. The next token of the same job says the same.
#[must_use]
pub fn owner(token: &Secret) -> Option<String> {
    let mut parts = token.expose().split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let Claims { iss, sub } = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some(failover_report::owner(&iss, &sub))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_says_whose_it_is_and_nothing_else_does() {
        let of =
            |claims: &str| owner(&Secret::new(format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))));
        let job = of(r#"{"iss":"https://ci.example","sub":"job","jti":"1"}"#);
        assert!(job.as_ref().is_some_and(|owner| owner.starts_with("jwt:") && owner.len() == 36));
        assert_eq!(job, of(r#"{"sub":"job","iss":"https://ci.example","jti":"2"}"#));
        assert_ne!(job, of(r#"{"iss":"https://ci.examplej","sub":"ob"}"#));
        assert_eq!(of(r#"{"iss":"https://ci.example"}"#), None);
        for other in ["mcpd_a_b", "a.b", "a.b.c", "a.e30.b.c"] {
            assert_eq!(owner(&Secret::new(other)), None, "{other}");
        }
    }
}
