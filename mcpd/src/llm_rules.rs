//! What an LLM's description must be, and what a partial change makes of it. Pure.

use crate::problem::Problem;
use mcp_api::{ApiKeyRef, LlmPatch, LlmSpec};
use url::Url;

/// Checks what the grammar of [`LlmSpec`] leaves open.
pub(crate) fn check(spec: &LlmSpec) -> Result<(), Problem> {
    upstream_url(&spec.url)?;
    text("type", &spec.kind, 32)?;
    text("model", &spec.model, 256)?;
    if let Some(name) = &spec.display_name {
        text("displayName", name, 256)?;
    }
    match &spec.api_key_ref {
        None => Ok(()),
        Some(ApiKeyRef::Env(variable)) if is_variable(variable) => Ok(()),
        Some(ApiKeyRef::Env(_)) => Err(invalid("apiKeyRef.env must be the name of an environment variable.")),
        Some(ApiKeyRef::File(path)) if path.starts_with('/') && !path.contains('\0') => Ok(()),
        Some(ApiKeyRef::File(_)) => Err(invalid("apiKeyRef.file must be an absolute path.")),
    }
}

/// The key that an LLM would be given, or go on with elsewhere: to say so takes the right to use the key.
pub(crate) fn key_put_to_use<'a>(old: Option<&LlmSpec>, new: &'a LlmSpec) -> Option<&'a ApiKeyRef> {
    let stays =
        old.is_some_and(|old| old.api_key_ref == new.api_key_ref && origin(&old.url) == origin(&new.url));
    new.api_key_ref.as_ref().filter(|_| !stays)
}

/// What whoever changed an LLM should know if it has no key any more.
pub(crate) fn lost_key(old: &LlmSpec, new: &LlmSpec) -> Option<String> {
    let lost = old.api_key_ref.as_ref().filter(|_| new.api_key_ref.is_none())?;
    let which = match lost {
        ApiKeyRef::Env(variable) => format!("the environment variable {variable}"),
        ApiKeyRef::File(path) => format!("the file {path}"),
    };
    let why = if origin(&old.url) == origin(&new.url) { "" } else { "; its url leads elsewhere now" };
    Some(format!("The LLM no longer uses the key in {which}{why}."))
}

/// Applies a partial change. An upstream elsewhere does not get the key that was meant for the one before.
pub(crate) fn patched(old: &LlmSpec, patch: LlmPatch) -> LlmSpec {
    let url = patch.url.unwrap_or_else(|| old.url.clone());
    let kept_key = old.api_key_ref.clone().filter(|_| origin(&url) == origin(&old.url));
    LlmSpec {
        name: old.name.clone(),
        labels: patch.labels.unwrap_or_else(|| old.labels.clone()),
        display_name: patch.display_name.over(old.display_name.clone()),
        kind: patch.kind.unwrap_or_else(|| old.kind.clone()),
        model: patch.model.unwrap_or_else(|| old.model.clone()),
        api_key_ref: patch.api_key_ref.over(kept_key),
        enabled: patch.enabled.unwrap_or(old.enabled),
        failover: patch.failover.unwrap_or(old.failover),
        context_length: patch.context_length.over(old.context_length),
        url,
    }
}

/// Scheme, host and port; none for what is no URL.
fn origin(url: &str) -> Option<(String, String, Option<u16>)> {
    let url = Url::parse(url).ok()?;
    Some((url.scheme().to_owned(), url.host_str()?.to_owned(), url.port_or_known_default()))
}

fn upstream_url(text: &str) -> Result<(), Problem> {
    let url = Url::parse(text).map_err(|error| invalid(format!("url is not a URL: {error}.")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("url must begin with http:// or https:// and a host."));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("url must not hold a user or a password; use apiKeyRef."));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("url must not hold a query or a fragment."));
    }
    // One text, one meaning: what another parser could read differently is not taken.
    let base = text.trim_end_matches('/');
    if text.len() > 2048 || url.as_str().trim_end_matches('/') != base {
        return Err(invalid(format!("write url as {}", url.as_str().trim_end_matches('/'))));
    }
    Ok(())
}

fn text(field: &str, value: &str, max: usize) -> Result<(), Problem> {
    if value.trim().is_empty() || value.len() > max || value.chars().any(char::is_control) {
        return Err(invalid(format!("{field} must have 1 to {max} bytes and no control characters.")));
    }
    Ok(())
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::Invalid(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcp_api::Patched;

    fn spec() -> LlmSpec {
        serde_json::from_str(
            r#"{"name": "chat", "type": "openai", "url": "https://api.example/v1", "model": "m",
                "apiKeyRef": {"env": "KEY"}}"#,
        )
        .unwrap()
    }

    fn moved(url: &str) -> LlmSpec {
        patched(&spec(), LlmPatch { url: Some(url.into()), ..LlmPatch::default() })
    }

    #[test]
    fn k10_an_upstream_elsewhere_does_not_get_the_key() {
        for elsewhere in ["http://api.example/v1", "https://evil.example/v1", "https://api.example:8443/v1"] {
            assert_eq!(moved(elsewhere).api_key_ref, None, "{elsewhere}");
        }
        for same in ["https://api.example/v2", "https://api.example:443/v1"] {
            assert_eq!(moved(same).api_key_ref, spec().api_key_ref, "{same}");
        }
    }

    #[test]
    fn k10_a_key_is_put_to_use_when_it_is_new_or_would_go_elsewhere() {
        let with =
            |url: &str, key: Option<ApiKeyRef>| LlmSpec { url: url.into(), api_key_ref: key, ..spec() };
        let (here, env) = ("https://api.example/v1", |name: &str| Some(ApiKeyRef::Env(name.into())));
        for (old, new, puts_to_use) in [
            (None, with(here, env("KEY")), true),
            (None, with(here, None), false),
            (Some(with(here, None)), with(here, env("KEY")), true),
            (Some(with(here, env("OTHER"))), with(here, env("KEY")), true),
            (Some(with(here, Some(ApiKeyRef::File("/KEY".into())))), with(here, env("KEY")), true),
            (Some(with(here, env("KEY"))), with(here, env("KEY")), false),
            (Some(with(here, env("KEY"))), with("https://api.example/v2", env("KEY")), false),
            (Some(with(here, env("KEY"))), with("https://api.example:444/v1", env("KEY")), true),
            (Some(with(here, env("KEY"))), with("http://api.example/v1", env("KEY")), true),
            (Some(with(here, env("KEY"))), with("https://evil.example/v1", env("KEY")), true),
            (Some(with(here, env("KEY"))), with("https://evil.example/v1", None), false),
        ] {
            assert_eq!(key_put_to_use(old.as_ref(), &new).is_some(), puts_to_use, "{old:?} -> {new:?}");
            let loses =
                old.as_ref().is_some_and(|old| old.api_key_ref.is_some()) && new.api_key_ref.is_none();
            assert_eq!(old.and_then(|old| lost_key(&old, &new)).is_some(), loses);
        }
    }

    #[test]
    fn k10_a_key_named_in_the_same_change_goes_along() {
        let key = ApiKeyRef::File("/run/secrets/other".into());
        let named = Patched::Set(key.clone());
        let patch = LlmPatch { url: Some("http://b/v1".into()), api_key_ref: named, ..LlmPatch::default() };
        assert_eq!(patched(&spec(), patch).api_key_ref, Some(key));
    }

    #[test]
    fn x01_a_url_that_two_parsers_could_read_differently_is_refused() {
        for url in [
            "",
            "api.example",
            "ftp://api.example",
            "file:///etc/passwd",
            "http://",
            "http://user@api.example/v1",
            "http://user:pw@api.example/v1",
            "http://api.example/v1?x=1",
            "http://api.example/v1#x",
            "http://0x7f.1/v1",
            "http://127.1/v1",
            "http://api.example\\@evil/v1",
            "http:/api.example/v1",
            "HTTP://API.example/v1",
            "http://api.example/a/../v1",
            "http://api.example/v1\n",
            " http://api.example/v1",
        ] {
            assert!(check(&LlmSpec { url: url.into(), ..spec() }).is_err(), "{url:?} was taken");
        }
        for url in ["http://10.0.0.5:8000/v1", "https://api.example/v1/", "http://[::1]:8000"] {
            assert!(check(&LlmSpec { url: url.into(), ..spec() }).is_ok(), "{url:?} was refused");
        }
    }

    #[test]
    fn odd_key_references_are_refused() {
        for odd in
            [ApiKeyRef::Env(String::new()), ApiKeyRef::Env("A=B".into()), ApiKeyRef::File("key".into())]
        {
            assert!(check(&LlmSpec { api_key_ref: Some(odd.clone()), ..spec() }).is_err(), "{odd:?}");
        }
    }
}
