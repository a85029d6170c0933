//! What a caller must be allowed for a call.

use mcp_api::{Verb, paths};
use reqwest::Method;

/// The right, in the words of `auth can-i`: `edit llm/chat-prod`. None for what everybody may ask.
pub(super) fn needed(method: &Method, path: &str) -> Option<String> {
    let verb = match *method {
        Method::GET | Method::HEAD => Verb::View,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Edit,
        Method::DELETE => Verb::Delete,
        _ => return None,
    };
    let below = |all: &str| path.strip_prefix(all).map(|rest| rest.rsplit('/').next().unwrap_or_default());
    let kinds = [
        (paths::LLMS, "llms", "llm"),
        (paths::RBACS, "rbac", "rbac"),
        (paths::SUBJECTS, "users", "user"),
        (paths::TOKENS, "tokens", "token"),
        (paths::AUDIT, "audit", ""),
    ];
    let (name, all, one) = kinds.into_iter().find_map(|(path, all, one)| Some((below(path)?, all, one)))?;
    Some(if name.is_empty() || one.is_empty() {
        format!("{} {all}", verb.as_str())
    } else {
        format!("{} {one}/{name}", verb.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_named_as_can_i_takes_it() {
        for (method, path, right) in [
            (Method::GET, "/api/v1/audit", Some("view audit")),
            (Method::GET, "/api/v1/audit/head", Some("view audit")),
            (Method::POST, "/api/v1/llms", Some("create llms")),
            (Method::PUT, "/api/v1/llms/chat-prod", Some("edit llm/chat-prod")),
            (Method::DELETE, "/api/v1/rbac/data-team", Some("delete rbac/data-team")),
            (Method::GET, "/api/v1/users/user/dana@example.com", Some("view user/dana@example.com")),
            (Method::POST, "/api/v1/tokens", Some("create tokens")),
            (Method::DELETE, "/api/v1/tokens/0123", Some("delete token/0123")),
            (Method::GET, "/api/v1/whoami", None),
        ] {
            assert_eq!(needed(&method, path).as_deref(), right, "{method} {path}");
        }
    }
}
