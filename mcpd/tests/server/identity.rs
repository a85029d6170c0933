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

/// What an injection would be made of, for SQL, LIKE, JSON, headers and shells.
const PAYLOADS: &[&str] = &[
    "' OR '1'='1",
    "' OR 1=1 --",
    "\" OR \"\"=\"",
    "a' OR 1=1 --    ",
    "') OR ('1'='1",
    "' UNION SELECT hash FROM tokens --",
    "'; DROP TABLE tokens; --",
    "'; UPDATE tokens SET revoked_at = NULL; --",
    "1; SELECT pg_sleep(10)",
    "'||(SELECT hash FROM tokens LIMIT 1)||'",
    "%%%%%%%%%%%%%%%%",
    "________________",
    "%27%20OR%201=1",
    "\\' OR 1=1 --",
    "$1",
    "?1",
    ":name",
    "${jndi:ldap://127.0.0.1/x}",
    "{\"$ne\": null}",
    "NULL",
    "admin'--",
];

#[test]
fn a03_what_stands_in_a_header_a_path_or_a_query_is_never_sql() {
    let mcpd = Mcpd::start();
    mcpd.create_llm("chat", "http://127.0.0.1:9/v1");
    let (admin, secret) = (mcpd.admin_token(), "0".repeat(64));
    let id = admin.split('_').nth(1).unwrap();
    for payload in PAYLOADS {
        for token in [
            format!("mcpd_{payload}_{secret}"),
            format!("mcpd_{id}_{payload}"),
            format!("mcpd_{:.16}_{secret}", format!("{payload:16}")),
            (*payload).to_owned(),
        ] {
            refused(&mcpd, &[("authorization", &format!("Bearer {token}"))]);
        }
        let escaped: String = payload.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for base in [paths::LLMS, paths::RBACS, "/api/v1/users/user", paths::TOKENS] {
            let answer = mcpd.request("GET", &format!("{base}/{escaped}"), Some(admin), &[], b"");
            assert_eq!(answer.status, 404, "{base}/{payload}");
        }
        // As a search it finds nobody, or is no search.
        for key in ["user", "llm"] {
            let path = format!("{}?{key}={escaped}", paths::AUDIT);
            let answer = mcpd.request("GET", &path, Some(admin), &[], b"");
            let items = || answer.json::<serde_json::Value>()["items"].as_array().map(Vec::len);
            assert!(
                answer.status == 422 || (answer.status == 200 && items() == Some(0)),
                "{path}: {}",
                answer.text()
            );
        }
    }
    for segment in ["%25", "_", "ch_t", "ch%25", "chat'--", "*"] {
        let path = format!("/api/v1/llms/{segment}");
        assert_eq!(mcpd.request("GET", &path, Some(admin), &[], b"").status, 404, "{segment}");
    }
    assert_eq!(mcpd.request("GET", paths::WHOAMI, Some(admin), &[], b"").status, 200);
}

#[test]
fn a03_what_stands_in_a_text_is_kept_as_it_is() {
    let mcpd = Mcpd::start();
    for (number, payload) in PAYLOADS.iter().enumerate() {
        let name = format!("llm{number}");
        let spec = mcp_api::LlmSpec {
            display_name: Some((*payload).to_owned()),
            model: (*payload).to_owned(),
            ..Mcpd::llm_spec(&name, "http://127.0.0.1:9/v1")
        };
        mcpd.create_llm_from(&spec);
        let path = format!("{}/{name}", paths::LLMS);
        let shown: mcp_api::Llm = mcpd.request("GET", &path, Some(mcpd.admin_token()), &[], b"").json();
        assert_eq!((shown.display_name.as_deref(), &*shown.model), (Some(*payload), *payload));
        // `NULL` is a name like any other.
        let is_name = payload.parse::<mcp_api::SubjectName>().is_ok();
        let user = serde_json::json!({"kind": "User", "name": payload});
        let status = mcpd.api("POST", paths::SUBJECTS, mcpd.admin_token(), &user).status;
        assert_eq!(status, if is_name { 201 } else { 422 }, "{payload}");
    }
    let all: mcp_api::LlmList = mcpd.request("GET", paths::LLMS, Some(mcpd.admin_token()), &[], b"").json();
    assert_eq!(all.items.len(), PAYLOADS.len());
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

/// A cache that looks at a part of a token would take one for the other, whichever part that is.
#[test]
fn a05_no_part_of_a_good_token_makes_another_one_good() {
    let mcpd = Mcpd::start();
    let (ana, dana) = (mcpd.user_with("ana", &[]), mcpd.user_with("dana", &[]));
    let revoked = mcpd.token_for("dana");
    mcpd.revoke_token(&revoked);
    let good = |token: &str| whoami(&mcpd, &[("authorization", &format!("Bearer {token}"))]).status == 200;
    for at in "mcpd_".len() + 1..ana.len() {
        // Both have just been seen.
        assert!(good(&ana) && good(&dana));
        for other in [&dana, &revoked] {
            for mixed in
                [format!("{}{}", &ana[..at], &other[at..]), format!("{}{}", &other[..at], &ana[at..])]
            {
                // Where the rest is the same by chance it is the token itself.
                assert!(mixed == ana || mixed == **other || !good(&mixed), "parted at {at}");
            }
        }
    }
    assert!(!good(&revoked));
    mcpd.revoke_token(&ana);
    assert!(!good(&ana) && good(&dana));
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
