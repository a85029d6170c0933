//! What an LLM's description must be, and what a partial change makes of it. Pure.

use crate::{problem::Problem, sabotage};
use mcp_api::{ApiKeyRef, LlmPatch, LlmSpec, Patched};
use std::collections::BTreeSet;
use url::Url;

/// No LLM has more nodes.
const NODES_MAX: usize = 32;
/// No limit of an LLM is longer, in seconds: a day.
const SECONDS_MAX: u32 = 86_400;

/// Checks what the grammar of [`LlmSpec`] leaves open.
pub(crate) fn check(spec: &LlmSpec) -> Result<(), Problem> {
    nodes(spec.nodes())?;
    timeouts(spec)?;
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
    let stays = old.is_some_and(|old| old.api_key_ref == new.api_key_ref && is_within(new, old));
    new.api_key_ref.as_ref().filter(|_| !stays)
}

/// What whoever changed an LLM should know if it has no key any more.
pub(crate) fn lost_key(old: &LlmSpec, new: &LlmSpec) -> Option<String> {
    let lost = old.api_key_ref.as_ref().filter(|_| new.api_key_ref.is_none())?;
    let which = match lost {
        ApiKeyRef::Env(variable) => format!("the environment variable {variable}"),
        ApiKeyRef::File(path) => format!("the file {path}"),
    };
    let why = if is_within(new, old) { "" } else { "; its url leads elsewhere now" };
    Some(format!("The LLM no longer uses the key in {which}{why}."))
}

/// Applies a partial change. An upstream elsewhere does not get the key that was meant for the one before.
pub(crate) fn patched(old: &LlmSpec, patch: LlmPatch) -> Result<LlmSpec, Problem> {
    let (timeouts, limits) = (patch.timeouts_over(old.timeouts), patch.limits_over(old.limits));
    let (url, urls) = match (patch.url, patch.urls) {
        (None, Patched::Kept) => (None, old.nodes().to_vec()),
        (None, Patched::Cleared) => (Some(old.url.clone()), Vec::new()),
        (url, Patched::Kept | Patched::Cleared) => (url, Vec::new()),
        (url, Patched::Set(urls)) => (url, urls),
    };
    let moved = old.clone().with_nodes(url, urls);
    let moved = moved.map_err(|reason| invalid(format!("The body is not taken: {reason}.")))?;
    let kept_key = old.api_key_ref.clone().filter(|_| is_within(&moved, old));
    Ok(LlmSpec {
        name: old.name.clone(),
        labels: patch.labels.unwrap_or_else(|| old.labels.clone()),
        display_name: patch.display_name.over(old.display_name.clone()),
        kind: patch.kind.unwrap_or_else(|| old.kind.clone()),
        url: moved.url,
        urls: moved.urls,
        model: patch.model.unwrap_or_else(|| old.model.clone()),
        api_key_ref: patch.api_key_ref.over(kept_key),
        enabled: patch.enabled.unwrap_or(old.enabled),
        failover: patch.failover.unwrap_or(old.failover),
        context_length: patch.context_length.over(old.context_length),
        timeouts,
        limits,
    })
}

/// Says whether all that is sent to one goes to scheme, host and port of a node that the other has, too.
fn is_within(new: &LlmSpec, old: &LlmSpec) -> bool {
    let origins = |spec: &LlmSpec| spec.nodes().iter().map(|url| origin(url)).collect::<BTreeSet<_>>();
    origins(new).is_subset(&origins(old)) || sabotage::KEY_FOLLOWS_URL
}

/// Scheme, host and port; none for what is no URL.
fn origin(url: &str) -> Option<(String, String, Option<u16>)> {
    let url = Url::parse(url).ok()?;
    Some((url.scheme().to_owned(), url.host_str()?.to_owned(), url.port_or_known_default()))
}

fn nodes(urls: &[String]) -> Result<(), Problem> {
    if urls.len() > NODES_MAX {
        return Err(invalid(format!("urls must have at most {NODES_MAX} nodes.")));
    }
    urls.iter().try_for_each(|url| upstream_url(url))?;
    let mut seen = BTreeSet::new();
    match urls.iter().find(|url| !seen.insert(url.trim_end_matches('/'))) {
        Some(twice) => Err(invalid(format!("urls has {twice} twice."))),
        None => Ok(()),
    }
}

fn timeouts(spec: &LlmSpec) -> Result<(), Problem> {
    let all = [spec.timeouts.connect_seconds, spec.timeouts.first_byte_seconds, spec.timeouts.idle_seconds];
    if all.into_iter().flatten().any(|seconds| seconds.get() > SECONDS_MAX) {
        return Err(invalid(format!("timeouts must be at most {SECONDS_MAX} seconds.")));
    }
    Ok(())
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
    use mcp_api::{LimitsPatch, TimeoutsPatch, TokenLimitsPatch};
    use std::num::NonZeroU32;

    fn spec() -> LlmSpec {
        serde_json::from_str(
            r#"{"name": "chat", "type": "openai", "url": "https://api.example/v1", "model": "m",
                "apiKeyRef": {"env": "KEY"}}"#,
        )
        .unwrap()
    }

    fn moved(url: &str) -> LlmSpec {
        patched(&spec(), LlmPatch { url: Some(url.into()), ..LlmPatch::default() }).unwrap()
    }

    fn several(urls: &[&str]) -> LlmSpec {
        spec().with_nodes(None, urls.iter().map(|&url| url.into()).collect()).unwrap()
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
        assert_eq!(patched(&spec(), patch).unwrap().api_key_ref, Some(key));
    }

    #[test]
    fn k10_the_key_goes_to_the_nodes_that_it_was_meant_for() {
        let (a, b, evil) = ("https://a/v1", "https://b/v1", "https://evil/v1");
        for (old, new, keeps) in [
            (&[a, b][..], &[b, a][..], true),
            (&[a, b], &[a], true),
            (&[a, b], &["https://b/v2"], true),
            (&[a], &[a, b], false),
            (&[a, b], &[a, evil], false),
            (&[a, b], &[evil], false),
        ] {
            let (old, new) = (several(old), several(new));
            let patch = LlmPatch { urls: Patched::Set(new.nodes().to_vec()), ..LlmPatch::default() };
            assert_eq!(patched(&old, patch).unwrap().api_key_ref.is_some(), keeps, "{old:?} {new:?}");
            assert_eq!(key_put_to_use(Some(&old), &new).is_none(), keeps, "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_patch_says_which_nodes_there_are_then() {
        let nodes =
            |patch| patched(&several(&["http://a", "http://b"]), patch).map(|spec| spec.nodes().to_vec());
        let of = |urls: &[&str]| urls.iter().map(|&url| url.to_owned()).collect::<Vec<_>>();
        let (url, none) = (|url: &str| Some(url.to_owned()), LlmPatch::default);
        assert_eq!(nodes(none()).unwrap(), ["http://a", "http://b"]);
        assert_eq!(nodes(LlmPatch { url: url("http://c"), ..none() }).unwrap(), ["http://c"]);
        assert_eq!(nodes(LlmPatch { urls: Patched::Cleared, ..none() }).unwrap(), ["http://a"]);
        let set = Patched::Set(of(&["http://c", "http://d"]));
        assert_eq!(nodes(LlmPatch { urls: set.clone(), ..none() }).unwrap(), ["http://c", "http://d"]);
        assert!(nodes(LlmPatch { urls: set, url: url("http://a"), ..none() }).is_err());
        assert!(nodes(LlmPatch { urls: Patched::Set(Vec::new()), ..none() }).is_err());
    }

    #[test]
    fn a_patch_goes_into_what_has_parts() {
        let seconds = NonZeroU32::new;
        let first = LlmPatch {
            timeouts: Patched::Set(TimeoutsPatch {
                connect_seconds: Patched::Set(NonZeroU32::MIN),
                idle_seconds: Patched::Set(NonZeroU32::MIN),
                ..TimeoutsPatch::default()
            }),
            limits: Patched::Set(LimitsPatch {
                concurrent: Patched::Set(NonZeroU32::MIN),
                per_token: Patched::Set(TokenLimitsPatch {
                    requests_per_minute: Patched::Set(NonZeroU32::MIN),
                    ..TokenLimitsPatch::default()
                }),
                ..LimitsPatch::default()
            }),
            ..LlmPatch::default()
        };
        let one = patched(&spec(), first).unwrap();
        let second: LlmPatch = serde_json::from_str(
            r#"{"timeouts": {"idleSeconds": null, "firstByteSeconds": 2}, "limits": {"perToken": {"concurrent": 3}}}"#,
        )
        .unwrap();
        let two = patched(&one, second).unwrap();
        let timeouts = two.timeouts;
        let all = (timeouts.connect_seconds, timeouts.first_byte_seconds, timeouts.idle_seconds);
        assert_eq!(all, (seconds(1), seconds(2), None));
        assert_eq!((two.limits.concurrent, two.limits.requests_per_minute), (seconds(1), None));
        let per_token = two.limits.per_token;
        assert_eq!((per_token.concurrent, per_token.requests_per_minute), (seconds(3), seconds(1)));
        let none: LlmPatch =
            serde_json::from_str(r#"{"timeouts": null, "limits": {"perToken": null}}"#).unwrap();
        let three = patched(&two, none).unwrap();
        assert!(three.timeouts.is_none());
        assert_eq!(serde_json::to_string(&three.limits).unwrap(), r#"{"concurrent":1}"#);
    }

    #[test]
    fn odd_nodes_and_times_are_refused() {
        let many: Vec<_> = (0..=NODES_MAX).map(|n| format!("http://a:{}/v1", 1000 + n)).collect();
        for odd in [
            spec().with_nodes(None, many).unwrap(),
            several(&["http://a/v1", "http://a/v1/"]),
            several(&["http://a/v1", "http://0x7f.1/v1"]),
            serde_json::from_str(
                r#"{"name": "c", "type": "openai", "url": "http://a", "model": "m",
                    "timeouts": {"idleSeconds": 86401}}"#,
            )
            .unwrap(),
        ] {
            assert!(check(&odd).is_err(), "{odd:?}");
        }
        assert!(check(&several(&["http://a/v1", "http://a/v2", "https://a/v1"])).is_ok());
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
