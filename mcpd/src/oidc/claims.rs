//! What is known of claims before any token comes: what they are called, which of them their holders choose for
//! themselves, and which say at a public issuer whose token it is.

use serde_json::{Map, Value};
use url::Url;

/// Claims that say whatever somebody likes to be called. Of `email` see [`is_email`].
const CHOSEN: [&str; 14] = [
    "preferred_username",
    "nickname",
    "upn",
    "unique_name",
    "username",
    "user_name",
    "user_login",
    "login",
    "actor",
    "display_name",
    "displayname",
    "given_name",
    "family_name",
    "middle_name",
];

/// Issuers that anybody can have a token of, as the beginning of their URL, and claims of which one says whose it is.
const PUBLIC: [(&str, &[&str]); 12] = [
    (
        "token.actions.githubusercontent.com",
        &[
            "repository_owner_id",
            "repository_id",
            "repository_owner",
            "repository",
            "enterprise_id",
            "enterprise",
            "workflow_ref",
            "sub",
        ],
    ),
    ("gitlab.com", &["namespace_id", "project_id", "namespace_path", "project_path", "sub"]),
    ("accounts.google.com", &["hd", "sub", "email"]),
    ("agent.buildkite.com", &["organization_slug", "organization_id", "pipeline_id", "sub"]),
    ("oidc.circleci.com", &["oidc.circleci.com/project-id", "oidc.circleci.com/vcs-origin", "sub"]),
    (
        "app.terraform.io",
        &[
            "terraform_organization_id",
            "terraform_organization_name",
            "terraform_project_id",
            "terraform_workspace_id",
            "sub",
        ],
    ),
    ("oidc.vercel.com", &["owner_id", "owner", "project_id", "sub"]),
    ("oidc.codefresh.io", &["account_id", "sub"]),
    ("api.pulumi.com/oidc", &["organization", "org", "sub"]),
    ("appleid.apple.com", &["sub"]),
    ("oauth2.sigstore.dev/auth", &["sub", "email"]),
    // The tenant of everybody's own accounts.
    ("login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad", &["sub", "oid"]),
];

/// The steps to a claim: one, or several if the name is a JSON pointer (RFC 6901).
fn path(claim: &str) -> Vec<String> {
    match claim.strip_prefix('/') {
        None => vec![claim.to_owned()],
        Some(path) => path.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect(),
    }
}

/// The claim of this name.
pub(super) fn find<'a>(claims: &'a Map<String, Value>, claim: &str) -> Option<&'a Value> {
    let path = path(claim);
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, step| match value {
        Value::Object(object) => object.get(step),
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Says whether two names are names of one claim.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    path(one) == path(other)
}

/// Says whether it is an address, which its holder may have made up unless the issuer says that it has looked.
pub(super) fn is_email(claim: &str) -> bool {
    path(claim)
        .iter()
        .any(|step| matches!(&*step.to_ascii_lowercase(), "email" | "emails" | "mail" | "user_email"))
}

/// Says whether its holder chooses what it says, so that it cannot make them somebody whom others know.
pub(super) fn is_chosen(claim: &str) -> bool {
    let path = path(claim);
    // Deeper down it is the name of a thing: of a service account, of a pod.
    let is_name = path.len() == 1 && path[0].eq_ignore_ascii_case("name");
    is_name || path.iter().any(|step| CHOSEN.contains(&&*step.to_ascii_lowercase()))
}

/// The claims of which one must be required, if anybody can have a token of this issuer.
pub(super) fn telling(issuer: &str) -> Option<&'static [&'static str]> {
    let url = Url::parse(issuer).ok()?;
    let place = format!("{}{}", url.host_str()?, url.path());
    let is_at = |public: &str| {
        place.strip_prefix(public).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    PUBLIC.iter().find(|(public, _)| is_at(public)).map(|(_, telling)| *telling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_found_by_its_name_and_by_its_path() {
        let Value::Object(claims) = serde_json::json!({
            "a": "1", "b": { "c": ["2", { "~/": "3" }] }, "/": "4", "x/y": "5", "": "6",
        }) else {
            panic!("an object")
        };
        for (claim, found) in [
            ("a", Some("1")),
            ("/a", Some("1")),
            ("/b/c/0", Some("2")),
            ("/b/c/1/~0~1", Some("3")),
            ("/~1", Some("4")),
            ("x/y", Some("5")),
            ("/x~1y", Some("5")),
            ("/", Some("6")),
            ("/x/y", None),
            ("/a/b", None),
            ("/b/c/2", None),
            ("c", None),
        ] {
            assert_eq!(find(&claims, claim).and_then(Value::as_str), found, "{claim}");
        }
    }

    #[test]
    fn a_public_issuer_is_known_by_where_it_is() {
        for public in ["https://gitlab.com", "https://gitlab.com/", "https://GITLAB.com:443/x"] {
            assert!(telling(public).is_some(), "{public}");
        }
        let tenant = "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0";
        for other in ["https://gitlab.com.example", "https://gitlab.example/gitlab.com", tenant] {
            assert!(telling(other).is_none(), "{other}");
        }
    }
}
