//! A06: somebody guesses tokens. Too many failures are told 429, and nobody else notices.

use crate::cases::error_of;
use fakes::{Issuer, Mcpd, Response};
use mcp_api::paths;
use serde_json::json;

fn strict(per_minute: u32) -> Mcpd {
    Mcpd::builder().env("MCPD_FAILED_LOGINS_PER_MINUTE", per_minute.to_string()).start()
}

fn whoami(mcpd: &Mcpd, token: &str) -> Response {
    mcpd.request("GET", paths::WHOAMI, Some(token), &[], b"")
}

/// A token of this id with a secret that is none.
fn guess(id: &str, number: u32) -> String {
    format!("mcpd_{id}_{number:064x}")
}

#[test]
fn a06_too_many_guesses_from_one_address_are_told_so_and_lock_nobody_out() {
    let mcpd = strict(60);
    let dana = mcpd.user_with("dana", &[]);
    let statuses: Vec<u16> =
        (0..90).map(|number| whoami(&mcpd, &guess(&format!("{number:016}"), number)).status).collect();
    let (refused, limited) = statuses.split_at(60);
    assert!(refused.iter().all(|status| *status == 401), "{refused:?}");
    // One comes back each second.
    let late = limited.iter().filter(|status| **status == 401).count();
    assert!(late < 15 && limited.iter().all(|status| [401, 429].contains(status)), "{limited:?}");
    let answer = whoami(&mcpd, &guess("0000000000000000", 0));
    if answer.status == 429 {
        assert_eq!(error_of(&answer), (429, "rate_limited".into(), "quota".into()));
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
    // From the same address, and while it goes on.
    for _ in 0..20 {
        assert_eq!(whoami(&mcpd, &dana).status, 200);
        assert_ne!(whoami(&mcpd, &guess("0000000000000000", 1)).status, 200);
    }
    assert_eq!(whoami(&mcpd, mcpd.admin_token()).status, 200);
    // Who shows nothing guesses nothing.
    assert_eq!(mcpd.request("GET", paths::WHOAMI, None, &[], b"").status, 401);
}

#[test]
fn a06_guesses_at_one_token_are_limited_and_its_holder_is_let_in() {
    let mcpd = strict(60);
    let dana = mcpd.user_with("dana", &[]);
    let id = dana.split('_').nth(1).unwrap();
    let told =
        |id: &str| -> Vec<u16> { (0..12).map(|number| whoami(&mcpd, &guess(id, number)).status).collect() };
    let there = told(id);
    assert_eq!(there[..10], [401; 10]);
    assert!(there[10..].contains(&429), "{there:?}");
    assert_eq!(whoami(&mcpd, &dana).status, 200);
    // Nothing is told about whether there is such a token.
    let absent = told("0000000000000000");
    assert_eq!(absent[..10], [401; 10]);
    assert!(absent[10..].contains(&429), "{absent:?}");
}

#[test]
fn a06_forged_jwts_count_like_every_other_guess() {
    let issuer = Issuer::start();
    let file = issuer.config_file(json!({}));
    let mcpd = Mcpd::builder()
        .env("MCPD_CONFIG", file.to_str().unwrap())
        .env("MCPD_FAILED_LOGINS_PER_MINUTE", "5")
        .start();
    let good = issuer.token(json!({}));
    let expired = issuer.token(json!({ "exp": 1 }));
    let told: Vec<u16> = (0..8).map(|_| whoami(&mcpd, &expired).status).collect();
    assert_eq!((&told[..5], told[5..].contains(&429)), (&[401; 5][..], true), "{told:?}");
    assert_eq!(whoami(&mcpd, &good).status, 200);
}
