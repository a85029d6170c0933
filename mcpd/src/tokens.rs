//! Tokens: list, show, create, revoke. The secret part is seen once, in the answer that creates it.

use crate::{
    app::App, bearer::Bearer, body::Document, caller::Caller, policy::On, problem::Problem,
    store::StoredToken, terms::NoTerms,
};
use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use mcp_api::{NewToken, Resource, SubjectKind, TokenCreated, TokenInfo, Verb, identity::Items};
use std::sync::Arc;

pub(crate) async fn list(caller: Caller) -> Json<Items<TokenInfo>> {
    let viewable = |token: &&StoredToken| {
        caller.rights().allow(Verb::View, On::One(Resource::Tokens, &[token.id.as_str()]))
    };
    let tokens = caller.snapshot().tokens().filter(viewable);
    Json(Items { items: tokens.map(StoredToken::shown).collect() })
}

pub(crate) async fn show(caller: Caller, Path(id): Path<String>) -> Result<Json<TokenInfo>, Problem> {
    Ok(Json(find(&caller, Verb::View, &id)?.shown()))
}

/// Who holds a token holds its subject's rights, so only somebody who has them already can make one; and those that the
/// subject is given later, so it takes the right to edit the subject, unless it is one's own.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    _: NoTerms,
    Document(wanted): Document<NewToken>,
) -> Result<(StatusCode, Json<TokenCreated>), Problem> {
    let (caller, mut change) = app.change(caller).await?;
    caller.must(Verb::Create, On::All(Resource::Tokens))?;
    let subject = wanted.subject;
    if subject.kind == SubjectKind::Group {
        return Err(Problem::Invalid(
            "A token belongs to a User or a ServiceAccount, not to a Group.".into(),
        ));
    }
    if subject != *caller.subject() {
        let found = caller.snapshot().subject(&subject);
        let found = caller.reach(Verb::Edit, Resource::Users, subject.name.as_str(), found, "subject");
        found.map_err(|problem| match problem {
            Problem::NotFound(_) => {
                Problem::Invalid(format!("There is no {} {}.", subject.kind, subject.name))
            }
            other => other,
        })?;
    } else if caller.snapshot().subject(&subject).is_none() {
        let why = "You have logged in by an issuer, and are not registered here: a token needs somebody to belong to.";
        return Err(Problem::Invalid(why.into()));
    }
    caller.must_hold_unseen(caller.snapshot().rights(&subject).iter())?;
    let now = change.now();
    let bearer = Bearer::generate()?;
    let token = StoredToken {
        id: bearer.id().to_owned(),
        hash: bearer.hash(),
        subject,
        created_at: now,
        expires_at: end(now, wanted.expires_in_seconds, caller.login().token_max())?,
        revoked_at: None,
    };
    change.insert_token(&token).await?;
    change.commit().await?;
    let created = TokenCreated { info: token.shown(), token: bearer.reveal().expose().to_owned() };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Ends a token; ending it twice is no error.
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    caller: Caller,
    _: NoTerms,
    Path(id): Path<String>,
) -> Result<Json<TokenInfo>, Problem> {
    let (caller, mut change) = app.change(caller).await?;
    let mut token = find(&caller, Verb::Delete, &id)?.clone();
    if token.revoked_at.is_none() {
        let now = change.now();
        token.revoked_at = Some(now);
        change.revoke_token(&id, now).await?;
        change.commit().await?;
    }
    Ok(Json(token.shown()))
}

fn find<'a>(caller: &'a Caller, verb: Verb, id: &str) -> Result<&'a StoredToken, Problem> {
    caller.reach(verb, Resource::Tokens, id, caller.snapshot().token(id), "token")
}

/// When a token ends that is made with one of which none may come that lasts longer than `max`: what an issuer has signed for
/// minutes is no reason to believe its holder for ever.
fn end(
    now: Timestamp,
    wanted: Option<u64>,
    max: Option<SignedDuration>,
) -> Result<Option<Timestamp>, Problem> {
    let end = wanted.map(|seconds| expiry(now, seconds)).transpose()?;
    match max {
        Some(max) if end.is_none_or(|end| end.duration_since(now) > max) => {
            let seconds = max.as_secs();
            Err(Problem::Invalid(format!(
                "You have logged in by an issuer: expiresInSeconds must be there, and at most {seconds}."
            )))
        }
        _ => Ok(end),
    }
}

fn expiry(now: Timestamp, seconds: u64) -> Result<Timestamp, Problem> {
    if seconds == 0 {
        return Err(Problem::Invalid("expiresInSeconds must be at least 1.".into()));
    }
    let lifetime = i64::try_from(seconds).ok().map(SignedDuration::from_secs);
    lifetime.and_then(|lifetime| now.checked_add(lifetime).ok()).ok_or_else(|| {
        let last = Timestamp::MAX.strftime("%Y-%m-%d");
        let told = "is too long: no token ends after";
        Problem::Invalid(format!(
            "expiresInSeconds {told} {last}; without it, a token does not end by itself."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a08_a_token_that_a_jwt_makes_ends() {
        let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let max = Some(SignedDuration::from_secs(60));
        assert_eq!(end(now, None, None).unwrap(), None);
        assert!(end(now, Some(61), None).unwrap().is_some() && end(now, Some(60), max).unwrap().is_some());
        assert!(end(now, None, max).is_err() && end(now, Some(61), max).is_err());
    }

    #[test]
    fn a_token_ends_in_time_to_come_and_before_time_ends() {
        let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let told = |seconds| match expiry(now, seconds) {
            Err(Problem::Invalid(told)) => told,
            other => panic!("{other:?}"),
        };
        assert_eq!(expiry(now, 60).unwrap(), "2030-01-01T00:01:00Z".parse().unwrap());
        assert_eq!(told(0), "expiresInSeconds must be at least 1.");
        for seconds in [99_999_999 * 86_400, u64::MAX] {
            assert!(told(seconds).contains("too long: no token ends after 9999-12-30;"), "{}", told(seconds));
        }
    }
}
