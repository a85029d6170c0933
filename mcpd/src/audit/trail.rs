//! `GET /api/v1/audit`: the trail for those who may read all of it. There is no reading of a part by right.

use crate::{app::App, caller::Caller, policy::On, problem::Problem, store::Search};
use axum::{Json, extract::State};
use http::Uri;
use mcp_api::{AuditHead, AuditPage, Resource, Verb, audit::PAGE_MAX};
use std::{collections::BTreeSet, str::FromStr, sync::Arc};

/// A page of entries, the oldest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<AuditPage>, Problem> {
    caller.must(Verb::View, On::All(Resource::Audit))?;
    let search = search(uri.query().unwrap_or_default())?;
    let (items, next) = app.store.ledger().page(&search).await?;
    Ok(Json(AuditPage { items, next }))
}

/// Where the trail ends.
pub(crate) async fn head(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<AuditHead>, Problem> {
    caller.must(Verb::View, On::All(Resource::Audit))?;
    Ok(Json(app.store.ledger().head().await?))
}

/// Reads the query. A word that is not known, or comes twice, could change the meaning of the others.
fn search(query: &str) -> Result<Search, Problem> {
    let mut search = Search { limit: PAGE_MAX, ..Search::default() };
    let mut seen = BTreeSet::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if !seen.insert(key.clone()) {
            return Err(Problem::Invalid(format!("`{key}` is given twice.")));
        }
        match &*key {
            "after" => search.after = parsed(&key, &value)?,
            "limit" => search.limit = parsed::<u32>(&key, &value)?.clamp(1, PAGE_MAX),
            "since" => search.since = Some(parsed(&key, &value)?),
            "until" => search.until = Some(parsed(&key, &value)?),
            "event" => search.event = Some(parsed(&key, &value)?),
            "user" => search.subject = Some(named(&key, &value)?),
            "llm" => search.llm = Some(named(&key, &value)?),
            _ => {
                let known = "since, until, user, llm, event, after and limit";
                return Err(Problem::Invalid(format!("`{key}` is not known here; there are {known}.")));
            }
        }
    }
    Ok(search)
}

fn parsed<T: FromStr>(key: &str, value: &str) -> Result<T, Problem> {
    let kind = match key {
        "since" | "until" => "a time such as 2026-01-31T12:00:00Z",
        "event" => "one of change, probe, inference, cut and failover",
        _ => "a number",
    };
    value.parse().map_err(|_| Problem::Invalid(format!("`{key}` must be {kind}.")))
}

/// A name to look for. One with a control character is refused: no name has one, and PostgreSQL can hold no NUL.
fn named(key: &str, value: &str) -> Result<String, Problem> {
    if value.is_empty() {
        return Err(Problem::Invalid(format!("`{key}` is empty.")));
    }
    if value.contains(char::is_control) {
        return Err(Problem::Invalid(format!("`{key}` holds a control character, as no name does.")));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a03_a_query_is_taken_as_a_whole_or_not_at_all() {
        let found =
            search("since=2026-01-31T12:00:00Z&user=a%2Bb%40c&event=probe&after=7&limit=9999").unwrap();
        assert_eq!((found.subject.as_deref(), found.after, found.limit), (Some("a+b@c"), 7, PAGE_MAX));
        for odd in [
            "user=",
            "user=a&user=b",
            "user=a%00",
            "llm=%0A",
            "users=a",
            "after=-1",
            "since=yesterday",
            "event=%25",
            "%FF=1",
            "x",
        ] {
            assert!(matches!(search(odd), Err(Problem::Invalid(_))), "{odd}");
        }
    }
}
