//! From a bearer token to a [`Caller`]. There is one way in, and no default.

use crate::{
    app::App,
    bearer::{self, Bearer},
    bodies::Holder,
    limits::Peer,
    login::{Login, Shown},
    oidc::Oidc,
    policy::{On, Rights, Verdict, decide, missing_rights},
    problem::Problem,
    record::Record,
    sabotage,
    store::{Moment, Snapshot, Who},
};
use axum::extract::FromRequestParts;
use http::{HeaderMap, Uri, header, request::Parts};
use jiff::Timestamp;
use mcp_api::{Resource, RoleBinding, Secret, Subject, Verb};
use std::{borrow::Cow, sync::Arc};
use tokio::time::Instant;

/// Somebody who has shown a valid token, and the state that the request is decided on.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    login: Login,
    /// What an issuer's word adds up to; none if the snapshot has it as it is.
    joined: Option<Arc<Rights>>,
    moment: Moment,
    record: Arc<Record>,
}

impl Caller {
    fn new(login: Login, moment: Moment, record: Arc<Record>) -> Self {
        let joined = match login.rights(&moment.snapshot) {
            Cow::Borrowed(_) => None,
            Cow::Owned(joined) => Some(Arc::new(joined)),
        };
        Self { login, joined, moment, record }
    }

    pub(crate) fn subject(&self) -> &Subject {
        self.login.subject()
    }

    /// What it has shown.
    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    /// Who this is, for the audit trail.
    pub(crate) fn who(&self) -> Who {
        self.login.who()
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
        match &self.joined {
            Some(joined) => joined,
            None => self.moment.snapshot.rights(self.subject()),
        }
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
        if missing.is_empty() || sabotage::ESCALATION {
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
        let login = self.login.renewed(&moment).ok_or(Problem::Unauthenticated)?;
        Ok(Self::new(login, moment, self.record))
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let record = parts.extensions.get::<Arc<Record>>().cloned().ok_or(Problem::Internal)?;
        let shown = presented(&parts.headers, &parts.uri);
        let logged_in = match &shown {
            Some(shown) => app.log_in(shown, &record).await,
            None => Err(Problem::Unauthenticated),
        };
        let (login, moment) = match logged_in {
            // Who shows nothing at all guesses nothing.
            Err(Problem::Unauthenticated) if parts.headers.contains_key(header::AUTHORIZATION) => {
                let peer = parts.extensions.get::<Peer>().copied();
                let problem = app.attempts.failed(peer, shown.as_ref().and_then(Shown::token_id));
                if matches!(problem, Problem::TooManyLogins(_)) {
                    app.metrics.login_failures.count(["limited"]);
                }
                return Err(problem);
            }
            logged_in => logged_in?,
        };
        record.caller_is(login.subject());
        parts.extensions.insert(Holder(login.holder()));
        Ok(Self::new(login, moment, record))
    }
}

/// The one token of a request: exactly one `Authorization` header, of scheme `Bearer`, and none in the URL.
fn presented(headers: &HeaderMap, uri: &Uri) -> Option<Shown> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?;
    if values.next().is_some() && !sabotage::FIRST_TOKEN_WINS {
        return None;
    }
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let query = uri.query().unwrap_or_default();
    if query.contains(bearer::PREFIX) || query.contains(token) {
        return None;
    }
    if token.starts_with(bearer::PREFIX) {
        return Bearer::parse(token).map(Shown::Token);
    }
    Oidc::is_jwt(token).then(|| Shown::Jwt(Secret::new(token)))
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
        let jwt = "Bearer a.b.c".to_owned();
        assert!(matches!(presented(&headers(&[&jwt]), &here), Some(Shown::Jwt(_))));
        for odd in [&[&jwt, &jwt][..], &[&jwt, &good], &[&"bearer a.b".into()], &[&"Basic a.b.c".into()]] {
            assert!(presented(&headers(odd), &here).is_none(), "{odd:?}");
        }
        let leaked: Uri = "/?access_token=a.b.c".parse().unwrap();
        assert!(presented(&headers(&[&jwt]), &leaked).is_none());
    }
}
