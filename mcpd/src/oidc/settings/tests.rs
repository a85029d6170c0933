use super::*;

fn issuers(yaml: &str) -> Result<Vec<Space>, String> {
    let issuers: Vec<Issuer> = serde_yaml::from_str(yaml).map_err(|error| error.to_string())?;
    check(&issuers).map_err(|error| error.to_string())
}

const PLAIN: &str = "{ name: ci, issuer: 'https://ci.example', audiences: [mcpd]";

#[test]
fn an_issuer_needs_three_words_and_gets_a_space_of_its_own() {
    let spaces = issuers(&format!("[{PLAIN}, groups: {{ claim: teams }} }}]")).unwrap();
    let kinds: Vec<_> = spaces.iter().map(|space| (space.kind.as_str(), &*space.prefix)).collect();
    // Kinds are told apart, so both can be `ci.`.
    assert_eq!(kinds, [("ServiceAccount", "ci."), ("Group", "ci.")]);
    for missing in ["name", "issuer", "audiences"] {
        let yaml = PLAIN.replace(&format!("{missing}:"), "strip:");
        assert!(issuers(&format!("[{yaml} }}]")).is_err(), "{missing}");
    }
}

#[test]
fn what_would_let_the_wrong_ones_in_is_refused() {
    for (more, said) in [
        ("issuer: 'http://ci.example'", "https"),
        ("issuer: 'https://u:p@ci.example'", "must not hold"),
        ("issuer: 'https://ci.example/#x'", "must not hold"),
        ("issuer: 'file:///etc/passwd'", "https"),
        ("issuer: ci", "no URL"),
        ("issuer: 'http://127.0.0.1.evil.example'", "https"),
        ("jwksUrl: 'http://10.0.0.1/keys'", "jwksUrl must be"),
        ("bearerFile: /token", "jwksUrl"),
        ("audiences: []", "audiences"),
        ("audiences: ['']", "audiences"),
        ("name: 'Ci'", "name"),
        ("name: 'a.b'", "name"),
        ("subject: { kind: Group }", "subject.kind"),
        ("subject: { prefix: 'a/' }", "prefix"),
        ("subject: { claim: email }", "email_verified"),
        ("subject: { claim: email }, require: { email_verified: [true, false] }", "email_verified"),
        ("require: { ref: [] }", "require"),
        ("require: { ref: { a: 1 } }", "require"),
        ("require: { ref: null }", "require"),
        ("tokenMaxSeconds: 0", "at least 1"),
        ("registered: maybe", "unknown variant"),
        ("name: jwt", "another one"),
        ("clockSkewSeconds: 601", "at most 600"),
        ("keys: { keepSeconds: 1 }", "keepSeconds"),
        ("keys: { minRefreshSeconds: 0 }", "at least 1"),
        ("groups: [{ claim: a }, { claim: b }]", "twice"),
        ("issuer: 'https://gitlab.com'", "anybody can have a token"),
        ("issuer: 'https://token.actions.githubusercontent.com'", "anybody can have a token"),
        ("audience: x", "unknown field `audience`"),
        ("subject: { clam: x }", "unknown field `clam`"),
        ("groups: [{ claim: a, kind: User }]", "unknown field `kind`"),
    ] {
        let key = more.split(':').next().unwrap();
        let base = match key {
            "issuer" => "{ name: ci, audiences: [mcpd]",
            "audiences" => "{ name: ci, issuer: 'https://ci.example'",
            "name" => "{ issuer: 'https://ci.example', audiences: [mcpd]",
            _ => PLAIN,
        };
        let error = issuers(&format!("[{base}, {more} }}]")).unwrap_err();
        assert!(error.contains(said), "{more}: {error}");
    }
}

#[test]
fn what_is_meant_is_taken() {
    for more in [
        "issuer: 'http://127.0.0.1:8080/realm'",
        "issuer: 'http://[::1]:8080'",
        "issuer: 'http://localhost:8080'",
        "issuer: 'https://gitlab.com', require: { namespace_id: '42' }",
        "issuer: 'https://ci.example', subject: { claim: email, kind: User, prefix: '' }, \
         require: { email_verified: true }",
        "issuer: 'https://ci.example', groups: [{ claim: a }, { claim: b, prefix: 'ci.b.' }]",
        "issuer: 'https://ci.example', jwksUrl: 'https://k/keys', bearerFile: /token, keys: { maxAgeSeconds: 60 }",
    ] {
        issuers(&format!("[{{ name: ci, audiences: [mcpd], {more} }}]")).unwrap();
    }
}

#[test]
fn two_issuers_never_share_a_name() {
    let two = |more: &str| issuers(&format!("[{PLAIN} }}, {{ audiences: [mcpd], {more} }}]"));
    two("name: other, issuer: 'https://other.example'").unwrap();
    for (more, said) in [
        ("name: ci, issuer: 'https://other.example'", "name is there twice"),
        ("name: other, issuer: 'https://ci.example'", "same issuer"),
        ("name: other, issuer: 'https://other.example', subject: { prefix: ci. }", "prefix twice"),
    ] {
        let error = two(more).unwrap_err();
        assert!(error.contains(said), "{more}: {error}");
    }
}

#[test]
fn what_the_page_shows_can_be_taken() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/oidc.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```yaml\noidc:\n").skip(1).map(|block| block.split("```").next().unwrap());
    let names: Vec<String> = blocks
        .map(|block| {
            let found: Vec<Issuer> =
                serde_yaml::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"));
            check(&found).unwrap();
            found[0].name.clone()
        })
        .collect();
    assert_eq!(names, ["github", "gitlab", "k8s", "corp"]);
}
