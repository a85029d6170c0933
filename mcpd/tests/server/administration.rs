//! Administration: versions, rehearsals, labels, names that are used again, and keys that not everybody may use.

mod keys;
mod names;
mod patches;
mod rehearsals;
mod rights;
mod versions;

use fakes::{Mcpd, Response};
use mcp_api::paths;
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection};

/// One thing of each kind that documents describe: where it is made, where it is, and what it is.
pub(crate) struct Thing {
    pub(crate) all: &'static str,
    pub(crate) one: &'static str,
    pub(crate) body: Value,
    /// The same with another label.
    pub(crate) other: Value,
}

/// An LLM, a role binding, a user, a service account and a group, all of the name `thing`.
pub(crate) fn things() -> Vec<Thing> {
    let llm = json!({"name": "thing", "type": "openai", "url": "http://127.0.0.1:9/v1", "model": "m"});
    let rbac = json!({"name": "thing", "subjects": [{"kind": "User", "name": "thing"}],
        "roleBindings": [{"role": "view", "resource": "llms"}]});
    let subject = |kind: &str| json!({"kind": kind, "name": "thing"});
    let group = json!({"kind": "Group", "name": "thing", "members": [{"kind": "User", "name": "admin"}]});
    let thing = |all, one, body: Value| {
        let mut other = body.clone();
        other["labels"] = json!({"team": "data"});
        Thing { all, one, body, other }
    };
    vec![
        thing(paths::SUBJECTS, "/api/v1/users/user/thing", subject("User")),
        thing(paths::SUBJECTS, "/api/v1/users/serviceaccount/thing", subject("ServiceAccount")),
        thing(paths::SUBJECTS, "/api/v1/users/group/thing", group),
        thing(paths::LLMS, "/api/v1/llms/thing", llm),
        thing(paths::RBACS, "/api/v1/rbac/thing", rbac),
    ]
}

/// Sends a request of the administrator with one more header, if there is one.
pub(crate) fn send(mcpd: &Mcpd, method: &str, path: &str, body: &Value, if_match: Option<&str>) -> Response {
    send_as(mcpd, mcpd.admin_token(), method, path, body, if_match)
}

/// The same, which must succeed.
pub(crate) fn done(mcpd: &Mcpd, method: &str, path: &str, body: &Value, if_match: Option<&str>) {
    let _done = send(mcpd, method, path, body, if_match).expect_success(&format!("{method} {path}"));
}

/// The same of anybody.
pub(crate) fn send_as(
    mcpd: &Mcpd,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
    if_match: Option<&str>,
) -> Response {
    let headers: Vec<_> = if_match.map(|tag| ("if-match", tag)).into_iter().collect();
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    mcpd.request(method, path, Some(token), &headers, &body)
}

pub(crate) fn etag(answer: &Response) -> String {
    answer.header("etag").unwrap_or_else(|| panic!("no ETag on a {}", answer.status)).to_owned()
}

/// How many changes there were, by the database itself.
pub(crate) fn epoch(mcpd: &Mcpd) -> i64 {
    sqlx::any::install_default_drivers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = AnyConnection::connect(&mcpd.database_url()).await.unwrap();
        let epoch = sqlx::query_scalar("SELECT epoch FROM authz").fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        epoch
    })
}

/// Everything that can be seen of a server but for the times of requests.
pub(crate) fn everything(mcpd: &Mcpd) -> Vec<Value> {
    let list = |path| mcpd.request("GET", path, Some(mcpd.admin_token()), &[], b"").json();
    [paths::LLMS, paths::RBACS, paths::SUBJECTS, paths::TOKENS].map(list).to_vec()
}
