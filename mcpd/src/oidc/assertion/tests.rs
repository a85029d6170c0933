#![expect(clippy::needless_pass_by_value, reason = "values that are written where they are passed")]

use super::*;
use serde_json::json;

const NOW: i64 = 1_800_000_000;

fn issuer(more: Value) -> Issuer {
    let mut all = json!({ "name": "ci", "issuer": "https://ci.example", "audiences": ["mcpd", "other"] });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn read_by(issuer: &Issuer, claims: Value) -> Result<Assertion, Unfit> {
    let mut all = json!({ "iss": "https://ci.example", "aud": "mcpd", "sub": "job", "exp": NOW + 300 });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    // A claim that is to be missing.
    all.as_object_mut().unwrap().retain(|_, value| *value != json!("(none)"));
    let Value::Object(claims) = all else { unreachable!() };
    let spaces = [Space { kind: mcp_api::SubjectKind::ServiceAccount, prefix: "ci.other.".into() }];
    Assertion::read(&Signed { claims, digest: [7; 32] }, issuer, &spaces)
}

fn read(claims: Value) -> Result<Assertion, Unfit> {
    read_by(&issuer(json!({})), claims)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn the_audience_has_to_be_one_of_ours() {
    for good in [json!("mcpd"), json!("other"), json!(["x", "mcpd"])] {
        assert!(read(json!({ "aud": good })).is_ok(), "{good}");
    }
    for bad in [
        json!("(none)"),
        json!(null),
        json!(""),
        json!([]),
        json!("MCPD"),
        json!("mcpd "),
        json!("https://mcpd"),
        json!(["x"]),
        json!(["mcpd", 1]),
        json!([["mcpd"]]),
        json!({"mcpd": 1}),
        json!(1),
    ] {
        assert_eq!(read(json!({ "aud": bad })), Err(Unfit::Audience), "{bad}");
    }
}

#[test]
fn a_time_of_another_type_is_an_error_and_never_an_absent_one() {
    for claim in ["exp", "nbf", "iat"] {
        for bad in [
            json!("1800000000"),
            json!(null),
            json!([NOW]),
            json!({}),
            json!(true),
            json!(1e300),
            json!(-1e300),
        ] {
            assert_eq!(read(json!({ claim: bad })), Err(Unfit::Claim(claim.into())), "{claim} {bad}");
        }
    }
    assert_eq!(read(json!({ "exp": "(none)" })), Err(Unfit::Claim("exp".into())));
    assert_eq!(read(json!({ "exp": 1_800_000_000.9 })).unwrap().expires_at, at(NOW));
}

#[test]
fn a_token_counts_from_nbf_and_iat_to_exp_give_or_take_the_skew() {
    let token = read(json!({ "nbf": NOW, "iat": NOW - 100 })).unwrap();
    assert!(token.is_valid(at(NOW - 60)) && !token.is_valid(at(NOW - 61)));
    assert!(token.is_valid(at(NOW + 359)) && !token.is_valid(at(NOW + 360)));
    let late = read(json!({ "nbf": NOW - 100, "iat": NOW })).unwrap();
    assert!(late.is_valid(at(NOW - 60)) && !late.is_valid(at(NOW - 61)));
    let strict = issuer(json!({ "clockSkewSeconds": 0 }));
    let token = read_by(&strict, json!({ "nbf": NOW })).unwrap();
    assert!(token.is_valid(at(NOW)) && !token.is_valid(at(NOW - 1)));
    assert!(token.is_valid(at(NOW + 299)) && !token.is_valid(at(NOW + 300)));
}

#[test]
fn what_is_required_has_to_be_there() {
    let rules = issuer(json!({ "require": {
        "owner": "42", "ref": ["main", "dev"], "protected": true, "/k/ns": "prod", "/odd~1name": 1
    }}));
    let good = json!({
        "owner": "42", "ref": "dev", "protected": true, "k": { "ns": ["x", "prod"] }, "odd/name": 1
    });
    assert!(read_by(&rules, good.clone()).is_ok());
    for (claim, value) in [
        ("owner", json!(42)),
        ("owner", json!("421")),
        ("owner", json!("(none)")),
        ("ref", json!("mainline")),
        ("ref", json!(["main2"])),
        ("protected", json!("true")),
        ("protected", json!(false)),
        ("k", json!({ "ns": "dev" })),
        ("k", json!("prod")),
    ] {
        let mut bad = good.clone();
        bad[claim] = value.clone();
        let why = read_by(&rules, bad).unwrap_err();
        assert!(matches!(&why, Unfit::Required(name) if name.contains(claim)), "{claim} {value}: {why}");
    }
}

#[test]
fn names_are_those_of_this_issuer() {
    let rules = issuer(json!({
        "subject": { "claim": "/k8s.io/account", "kind": "User", "prefix": "k8s.", "strip": "system:" },
        "groups": [{ "claim": "teams" }, { "claim": "repo", "prefix": "repo." }],
    }));
    let said = json!({ "k8s.io": { "account": "system:a:b" }, "teams": ["x", "y/z", "a".repeat(200)], "repo": "o/r" });
    let read_it = |said| read_by(&rules, said).map(|it| it.subjects().map(shown).collect::<Vec<_>>());
    let all = read_it(said).unwrap();
    assert_eq!(all, ["User/k8s.a+3Ab", "Group/ci.x", "Group/ci.y+2Fz", "Group/repo.o+2Fr"]);
    for odd in [json!("a:b"), json!("system:"), json!(7), json!(["system:a"]), json!(null)] {
        assert!(read_it(json!({ "k8s.io": { "account": odd } })).is_err(), "{odd}");
    }
    let alone = read_it(json!({ "k8s.io": { "account": "system:a" }, "teams": ["x", 1], "repo": 7 }));
    assert_eq!(alone.unwrap(), ["User/k8s.a"]);
}

#[test]
fn a_name_of_another_issuer_is_not_given() {
    assert_eq!(read(json!({ "sub": "job" })).unwrap().subject.name.to_string(), "ci.job");
    assert_eq!(read(json!({ "sub": "other.job" })), Err(Unfit::Name("sub".into())));
    assert_eq!(read(json!({ "sub": "a".repeat(200) })), Err(Unfit::Name("sub".into())));
    assert_eq!(read(json!({ "sub": "(none)" })), Err(Unfit::Claim("sub".into())));
}

#[test]
fn x08_what_stands_in_the_audit_trail_is_bounded_and_plain() {
    assert_eq!(read(json!({ "jti": "a-1._B" })).unwrap().id, "ci:a-1._B");
    for odd in [json!("a\nb"), json!(""), json!("x".repeat(65)), json!(1), json!("(none)"), json!("a:b")] {
        assert_eq!(read(json!({ "jti": odd })).unwrap().id, format!("ci:{}", "07".repeat(16)), "{odd}");
    }
}

fn shown(subject: &Subject) -> String {
    format!("{}/{}", subject.kind, subject.name)
}
