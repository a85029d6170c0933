//! From a bearer token to a [`Caller`]. There is one way in, and no default.

use crate::{
    app::App,
    bearer::{self, Bearer},
    policy::{On, Rights, Verdict, decide, missing_rights},
    problem::Problem,
    record::Record,
    store::{Moment, Snapshot, StoredToken, Who},
};
use axum::extract::FromRequestParts;
use http::{HeaderMap, Uri, header, request::Parts};
use jiff::Timestamp;
use mcp_api::{Resource, RoleBinding, Subject, Verb};
use std::sync::Arc;
use tokio::time::Instant;

/// Somebody who has shown a valid token, and the state that the request is decided on.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    token: StoredToken,
    moment: Moment,
    record: Arc<Record>,
}

impl Caller {
    pub(crate) fn subject(&self) -> &Subject {
        &self.token.subject
    }

    pub(crate) fn token(&self) -> &StoredToken {
        &self.token
    }

    /// Who this is, for the audit trail.
    pub(crate) fn who(&self) -> Who {
        Who { subject: self.token.subject.clone(), token_id: self.token.id.clone() }
    }

    /// The time at which the request is decided.
    pub(crate) fn now(&self) -> Timestamp {
        self.moment.now
    }

    /// When what it is decided on was asked for.
    pub(crate) fn asked(&self) -> Instant {
        self.moment.asked
    }

    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.moment.snapshot
    }

    /// What will be logged about this request.
    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    pub(crate) fn rights(&self) -> &Rights {
        self.moment.snapshot.rights(self.subject())
    }

    /// Lets the caller pass, or says "forbidden" in the same way whatever exists.
    pub(crate) fn must(&self, verb: Verb, on: On<'_>) -> Result<(), Problem> {
        match decide(self.rights(), verb, on) {
            Verdict::Allowed { binding } => {
                self.record.granted(binding);
                Ok(())
            }
            Verdict::Denied => Err(Problem::Forbidden),
        }
    }

    /// Hands out what was found under `name` to a caller that may do `verb` with it.
    ///
    /// Without the right the answer is the same whether or not something was found; only who may view all of the
    /// kind is told that there is nothing.
    pub(crate) fn reach<T>(
        &self,
        verb: Verb,
        kind: Resource,
        name: &str,
        found: Option<T>,
        noun: &'static str,
    ) -> Result<T, Problem> {
        match found {
            Some(thing) => self.must(verb, On::One(kind, &[name])).map(|()| thing),
            None if self.rights().allow(Verb::View, On::All(kind)) => Err(Problem::NotFound(noun)),
            None => Err(Problem::Forbidden),
        }
    }

    /// Lets the caller pass if it holds everything that it would give away. Names what it lacks, so this is for rights
    /// that the caller itself has named.
    pub(crate) fn must_hold<'a>(
        &self,
        granted: impl IntoIterator<Item = &'a RoleBinding>,
    ) -> Result<(), Problem> {
        let missing = missing_rights(self.rights(), granted);
        if missing.is_empty() {
            return Ok(());
        }
        let named = |what: &RoleBinding| {
            let name = what.name.as_ref().map_or("", |name| name.as_str());
            format!("{} on {} {name}", what.role, what.resource).trim_end().to_owned()
        };
        Err(Problem::Escalation(missing.into_iter().map(named).collect::<Vec<_>>().join(", ")))
    }

    /// The same caller in a later state, if the token is still valid there.
    pub(crate) fn renewed(self, moment: Moment) -> Result<Self, Problem> {
        let token = moment.snapshot.token(&self.token.id).filter(|token| token.is_valid(moment.now));
        let token = token.ok_or(Problem::Unauthenticated)?.clone();
        Ok(Self { token, moment, record: self.record })
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let record = parts.extensions.get::<Arc<Record>>().ok_or(Problem::Internal)?;
        let bearer = presented(&parts.headers, &parts.uri).ok_or(Problem::Unauthenticated)?;
        let moment = app.store.moment().await?;
        let token = moment.snapshot.token(bearer.id()).ok_or(Problem::Unauthenticated)?;
        // The hash first: who does not know the secret learns nothing about the token.
        if !token.hash.matches(&bearer.hash()) || !token.is_valid(moment.now) {
            return Err(Problem::Unauthenticated);
        }
        record.caller_is(&token.subject);
        Ok(Self { token: token.clone(), record: Arc::clone(record), moment })
    }
}

/// The one token of a request: exactly one `Authorization` header, of scheme `Bearer`, and none in the URL.
fn presented(headers: &HeaderMap, uri: &Uri) -> Option<Bearer> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    if uri.query().is_some_and(|query| query.contains(bearer::PREFIX)) {
        return None;
    }
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Bearer::parse(token)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> String {
        format!("mcpd_{}_{}", "a".repeat(16), "0".repeat(64))
    }

    fn headers(authorization: &[&String]) -> HeaderMap {
        authorization.iter().map(|value| (header::AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn i07_there_is_one_way_to_present_a_token() {
        let here = Uri::from_static("/");
        let good = format!("Bearer {}", token());
        assert!(presented(&headers(&[&good]), &here).is_some());
        for odd in [
            &[][..],
            &[&good, &good],
            &[&format!("Basic {}", token())],
            &[&format!("Bearer  {}", token())],
            &[&format!("Bearer {}, Bearer {}", token(), token())],
            &[&token()],
        ] {
            assert!(presented(&headers(odd), &here).is_none(), "{odd:?}");
        }
        let leaked: Uri = format!("/?access_token={}", token()).parse().unwrap();
        assert!(presented(&headers(&[&good]), &leaked).is_none());
    }
}
