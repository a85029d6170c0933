//! What several of these tests need: prompts, tokens that are no longer good, and what the log says.

use fakes::{Grant, Mcpd, Response};
use mcp_api::{Subject, SubjectKind};
use serde_json::{Value, json};
use std::time::Duration;

/// Long enough to mean "never" on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const CHAT: &str = "/api/v1/llms/chat";
pub(crate) const INFER: &str = "/api/v1/llms/chat/infer";
pub(crate) const NONCE: &str = "00112233445566778899aabbccddeeff";
/// What a user of the LLM `chat` holds.
pub(crate) const USES_CHAT: &[Grant<'_>] = &[("view", "llms", Some("chat")), ("run", "llms", Some("chat"))];

/// More rounds and longer waits, for whoever has the time: `MCPCTL_TEST_FULL=1`.
pub(crate) fn is_full_run() -> bool {
    std::env::var_os("MCPCTL_TEST_FULL").is_some_and(|value| !value.is_empty())
}

/// A prompt, with more keys if need be.
pub(crate) fn prompt(more: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    merge(&mut body, more);
    body
}

/// A prompt whose answer never ends.
pub(crate) fn endless() -> Value {
    json!({"stream": true, "messages": [{"role": "user", "content": "[forever]"}]})
}

fn merge(into: &mut Value, more: Value) {
    let (Value::Object(into), Value::Object(more)) = (into, more) else { panic!("two objects") };
    into.extend(more);
}

/// Probes an LLM and gives the answer.
pub(crate) fn probe(mcpd: &Mcpd, path: &str, token: &str) -> Response {
    mcpd.request("HEAD", path, Some(token), &[("mcpd-probe", &format!("run; nonce={NONCE}"))], b"")
}

pub(crate) fn user(name: &str) -> Subject {
    Subject { kind: SubjectKind::User, name: name.parse().unwrap() }
}

/// Status, `Mcpd-Error-Code` and `Mcpd-Error-Origin`, after a look at the body: the three say the same.
pub(crate) fn error_of(answer: &Response) -> (u16, String, String) {
    let (code, origin) = (answer.header("mcpd-error-code"), answer.header("mcpd-error-origin"));
    let (code, origin) = (code.unwrap_or("-").to_owned(), origin.unwrap_or("-").to_owned());
    let body: mcp_api::ErrorBody = answer.json();
    assert_eq!((body.error.code.as_str(), body.error.origin.as_str()), (&*code, &*origin));
    assert_eq!(Some(&*body.error.request_id), answer.header("x-request-id"));
    (answer.status, code, origin)
}

/// The log line of one request, once it is there.
pub(crate) fn log_line(mcpd: &Mcpd, request_id: &str) -> Value {
    let mut found = None;
    fakes::wait_until(LIMIT, "the log line of the request", || {
        let logs = mcpd.logs();
        let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found =
            lines.into_iter().find(|line| line["message"] == "request" && line["request_id"] == request_id);
        found.is_some()
    });
    found.unwrap()
}

/// Makes a token of somebody and lets it expire: the server is stopped, the row is changed, the server starts again.
pub(crate) fn expired_token(mcpd: &mut Mcpd, of_user: &str) -> String {
    let token = mcpd.token_of(user(of_user), Some(3600));
    mcpd.stop();
    sql(mcpd, "UPDATE tokens SET expires_at = 1 WHERE expires_at IS NOT NULL");
    mcpd.restart();
    token
}

/// Changes the database of a server that has stopped.
pub(crate) fn sql(mcpd: &Mcpd, statement: &'static str) {
    with_database(mcpd, statement, || {});
}

/// Does `meanwhile` after a statement, on a connection that stays open until then.
pub(crate) fn with_database(mcpd: &Mcpd, statement: &'static str, meanwhile: impl FnOnce()) {
    use sqlx::Connection;
    sqlx::any::install_default_drivers();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut connection = sqlx::AnyConnection::connect(&mcpd.database_url()).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        meanwhile();
        connection.close().await.unwrap();
    });
}

/// How often something is repeated that finds more the more often it is: `most` where nothing is to be spared
/// (`MCPCTL_TEST_FULL`), a quarter of the usual number where each change waits for a server's disk.
pub(crate) fn times(usual: u32, most: u32) -> u32 {
    let on_server = std::env::var("MCPCTL_TEST_DATABASE").is_ok_and(|database| database == "postgres");
    match (std::env::var_os("MCPCTL_TEST_FULL").is_some(), on_server) {
        (true, _) => most,
        (false, true) => usual / 4,
        (false, false) => usual,
    }
}
