//! The terms of a change: only if nobody changed the thing meanwhile (`If-Match`), or only to see what would come of
//! it (`?dryRun=server`). Terms are looked at after the caller's right, so that they tell nothing to who has none.

use crate::{etag::ETag, problem::Problem, store::Change};
use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use mcp_api::headers;
use url::form_urlencoded;

/// What a request asks for beside the change itself.
#[derive(Debug)]
pub(crate) struct Terms {
    expected: Option<Expected>,
    purpose: Purpose,
}

/// Which versions the change is meant for.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// `*`: whatever there is.
    Anything,
    /// What stands between the quotation marks of each strong tag. A weak one never fits.
    OneOf(Vec<String>),
}

/// What is to become of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It is made.
    Real,
    /// Everything is checked, nothing is written.
    Rehearsal,
}

impl Terms {
    /// Lets a change of what has this version pass.
    pub(crate) fn meet(&self, version: &ETag) -> Result<(), Problem> {
        match &self.expected {
            None | Some(Expected::Anything) => Ok(()),
            Some(Expected::OneOf(tags)) if tags.iter().any(|tag| version.is(tag)) => Ok(()),
            Some(Expected::OneOf(_)) => Err(Problem::PreconditionFailed),
        }
    }

    /// Lets something new pass: no version can be the expected one.
    pub(crate) fn meet_nothing(&self) -> Result<(), Problem> {
        if self.expected.is_none() { Ok(()) } else { Err(Problem::PreconditionFailed) }
    }

    /// Ends a change as it was asked for.
    pub(crate) async fn settle(&self, change: Change) -> Result<(), Problem> {
        match self.purpose {
            Purpose::Real => Ok(change.commit().await.map(drop)?),
            Purpose::Rehearsal => Ok(change.rehearse().await?),
        }
    }

    /// Says in the answer what was only a rehearsal.
    pub(crate) fn stamp(&self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        match self.purpose {
            Purpose::Real => {}
            Purpose::Rehearsal => {
                let name = HeaderName::from_static(headers::DRY_RUN);
                response.headers_mut().insert(name, HeaderValue::from_static("server"));
            }
        }
        response
    }
}

/// An answer about one thing, with the version that it has.
pub(crate) fn versioned(version: &ETag, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response.headers_mut().insert(header::ETAG, version.header());
    response
}

impl<S: Send + Sync> FromRequestParts<S> for Terms {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut purpose = Purpose::Real;
        for (key, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match (&*key, &*value) {
                ("dryRun", "server") => purpose = Purpose::Rehearsal,
                // Whoever misspells it must not get the real thing.
                _ => return Err(Problem::Invalid("This route takes no query but dryRun=server.".into())),
            }
        }
        Ok(Self { expected: expected(&parts.headers)?, purpose })
    }
}

/// A change without terms: one that asks for a rehearsal, or names a version of what has none, must not get the real
/// thing.
#[derive(Debug)]
pub(crate) struct NoTerms;

impl<S: Send + Sync> FromRequestParts<S> for NoTerms {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !parts.uri.query().unwrap_or_default().is_empty() {
            return Err(Problem::Invalid("This route takes no query.".into()));
        }
        if parts.headers.contains_key(header::IF_MATCH) {
            return Err(Problem::Invalid(
                "This route takes no `If-Match`: what it changes has no versions.".into(),
            ));
        }
        Ok(Self)
    }
}

fn expected(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let mut expected = None;
    for value in headers.get_all(header::IF_MATCH) {
        let value = value.to_str().ok().and_then(parse);
        let value = value.ok_or_else(|| Problem::Malformed("The header `If-Match` is malformed.".into()))?;
        expected = Some(match (expected, value) {
            (None, value) => value,
            (Some(Expected::OneOf(mut all)), Expected::OneOf(more)) => {
                all.extend(more);
                Expected::OneOf(all)
            }
            (Some(_), _) => return Err(Problem::Malformed("The header `If-Match` is malformed.".into())),
        });
    }
    Ok(expected)
}

/// `*`, or a list of tags such as `"a", W/"b"` (RFC 9110, section 13.1.1).
fn parse(value: &str) -> Option<Expected> {
    if value.trim() == "*" {
        return Some(Expected::Anything);
    }
    let (mut tags, mut rest) = (Vec::new(), value.trim());
    loop {
        let (is_weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if !is_weak {
            tags.push(opaque.to_owned());
        }
        match after.trim_start() {
            "" => return Some(Expected::OneOf(tags)),
            more => rest = more.strip_prefix(',')?.trim_start(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_read_as_the_standard_says() {
        let one_of = |tags: &[&str]| Some(Expected::OneOf(tags.iter().map(|&tag| tag.into()).collect()));
        for (text, meant) in [
            ("*", Some(Expected::Anything)),
            (" * ", Some(Expected::Anything)),
            ("\"a\"", one_of(&["a"])),
            ("\"a\", \"b\"", one_of(&["a", "b"])),
            ("\"a,b\" ,\"\"", one_of(&["a,b", ""])),
            ("W/\"a\"", one_of(&[])),
            ("W/\"a\", \"b\"", one_of(&["b"])),
            ("", None),
            ("a", None),
            ("\"a", None),
            ("\"a\" \"b\"", None),
            ("\"a\",", None),
            ("*, \"a\"", None),
            ("w/\"a\"", None),
        ] {
            assert_eq!(parse(text), meant, "{text:?}");
        }
    }
}
