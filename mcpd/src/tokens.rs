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
    }
    caller.must_hold_unseen(caller.snapshot().rights(&subject).iter())?;
    let now = change.now();
    let bearer = Bearer::generate()?;
    let token = StoredToken {
        id: bearer.id().to_owned(),
        hash: bearer.hash(),
        subject,
        created_at: now,
        expires_at: wanted.expires_in_seconds.map(|seconds| expiry(now, seconds)).transpose()?,
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

fn expiry(now: Timestamp, seconds: u64) -> Result<Timestamp, Problem> {
    let lifetime = i64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(SignedDuration::from_secs);
    let end = lifetime.and_then(|lifetime| now.checked_add(lifetime).ok());
    end.ok_or_else(|| Problem::Invalid("expiresInSeconds must be a time to come.".into()))
}
