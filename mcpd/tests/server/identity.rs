//! Who is let in, and by what.

use crate::cases::{expired_token, user};
use fakes::{Mcpd, Response};
use mcp_api::paths;

fn whoami(mcpd: &Mcpd, headers: &[(&str, &str)]) -> Response {
    mcpd.request("GET", paths::WHOAMI, None, headers, b"")
}

fn refused(mcpd: &Mcpd, headers: &[(&str, &str)]) {
    let answer = whoami(mcpd, headers);
    let error = crate::cases::error_of(&answer);
    assert_eq!(error, (401, "unauthenticated".into(), "policy".into()), "{headers:?}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[test]
fn i07_there_is_exactly_one_way_to_authenticate() {
    let mcpd = Mcpd::start();
    let token = mcpd.admin_token();
    let bearer = format!("Bearer {token}");
    assert_eq!(whoami(&mcpd, &[("authorization", &bearer)]).status, 200);
    assert_eq!(whoami(&mcpd, &[("authorization", &bearer), ("x-api-key", "other")]).status, 200);
    refused(&mcpd, &[]);
    refused(&mcpd, &[("x-api-key", token)]);
    refused(&mcpd, &[("cookie", &format!("token={token}"))]);
    refused(&mcpd, &[("proxy-authorization", &bearer)]);
    refused(&mcpd, &[("authorization", &bearer), ("authorization", &bearer)]);
    refused(&mcpd, &[("authorization", &bearer), ("Authorization", "Bearer x")]);
    for value in [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        token.to_owned(),
        format!("Basic {token}"),
        format!("Token {token}"),
        format!("Bearer {token} {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer \"{token}\""),
    ] {
        refused(&mcpd, &[("authorization", &value)]);
    }
    for query in ["access_token", "token", "api_key"] {
        let path = format!("{}?{query}={token}", paths::WHOAMI);
        assert_eq!(mcpd.request("GET", &path, None, &[], b"").status, 401, "{query}");
        assert_eq!(mcpd.request("GET", &path, Some(token), &[], b"").status, 401, "{query} and a header");
    }
}

#[test]
fn a03_what_stands_in_a_header_or_a_path_is_never_sql() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let secret = "0".repeat(64);
    for payload in
        ["' OR '1'='1", "a' OR 1=1 --    ", "%%%%%%%%%%%%%%%%", "________________", "'; DROP TABLE tokens"]
    {
        refused(&mcpd, &[("authorization", &format!("Bearer mcpd_{payload}_{secret}"))]);
        refused(&mcpd, &[("authorization", &format!("Bearer {payload}"))]);
    }
    for segment in ["'%20OR%20'1'='1", "%25", "_", "ch_t", "chat'--", "*"] {
        let path = format!("/api/v1/llms/{segment}");
        assert_eq!(mcpd.request("GET", &path, Some(mcpd.admin_token()), &[], b"").status, 404, "{segment}");
    }
    assert_eq!(mcpd.request("GET", paths::WHOAMI, Some(mcpd.admin_token()), &[], b"").status, 200);
}

#[test]
fn a04_a_failed_login_never_becomes_somebody() {
    let mut mcpd = Mcpd::start();
    mcpd.create_user("dana");
    let expired = expired_token(&mut mcpd, "dana");
    let revoked = mcpd.token_for("dana");
    mcpd.revoke_token(&revoked);
    let gone = mcpd.user_with("rob", &[]);
    mcpd.delete_user("rob");
    mcpd.create_user("rob");
    for token in [&expired, &revoked, &gone] {
        refused(&mcpd, &[("authorization", &format!("Bearer {token}"))]);
        refused(&mcpd, &[("authorization", &format!("Bearer {token}")), ("x-api-key", mcpd.admin_token())]);
    }
    let live = mcpd.token_of(user("dana"), Some(3600));
    assert_eq!(mcpd.request("GET", paths::WHOAMI, Some(&live), &[], b"").status, 200);
}

#[test]
fn a05_a_token_counts_as_a_whole() {
    let mcpd = Mcpd::start();
    let (ana, dana) = (mcpd.user_with("ana", &[]), mcpd.user_with("dana", &[]));
    let (id_of, secret_of) = (|t: &str| t[..22].to_owned(), |t: &str| t[22..].to_owned());
    refused(&mcpd, &[("authorization", &format!("Bearer {}{}", id_of(&ana), secret_of(&dana)))]);
    // The last digit is as good as the first one.
    for at in [22, 50, 85] {
        let mut forged = ana.clone().into_bytes();
        forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
        refused(&mcpd, &[("authorization", &format!("Bearer {}", String::from_utf8(forged).unwrap()))]);
    }
    refused(&mcpd, &[("authorization", &format!("Bearer {}", &ana[..60]))]);
    refused(&mcpd, &[("authorization", &format!("Bearer {}", ana.to_uppercase()))]);
}

#[test]
fn a_revocation_holds_from_the_next_request_on_and_over_a_crash() {
    let mut mcpd = Mcpd::start();
    let dana = mcpd.user_with("dana", &[]);
    let whoami = |mcpd: &Mcpd| mcpd.request("GET", paths::WHOAMI, Some(&dana), &[], b"").status;
    assert_eq!(whoami(&mcpd), 200);
    mcpd.revoke_token(&dana);
    assert_eq!(whoami(&mcpd), 401);
    mcpd.kill();
    mcpd.restart();
    assert_eq!(whoami(&mcpd), 401);
}

#[test]
fn a_request_id_is_kept_if_it_is_one() {
    let mcpd = Mcpd::start();
    let id = |given: &str| {
        let answer = mcpd.request("GET", "/nope", None, &[("x-request-id", given)], b"");
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(id("Abc-1._"), "Abc-1._");
    for odd in ["", "a b", "a\"b", "a;b", &"a".repeat(129)] {
        assert_ne!(id(odd), odd);
    }
}
