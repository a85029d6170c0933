//! LLMs in the database.

use super::{Change, StoreError, time, word};
use jiff::Timestamp;
use mcp_api::{ApiKeyRef, FailoverPolicy, Llm, LlmId, LlmName, LlmSpec, Verb};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{AnyConnection, FromRow};

/// An LLM as it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLlm {
    pub(crate) id: LlmId,
    pub(crate) spec: LlmSpec,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl StoredLlm {
    /// Every name by which a binding can mean it.
    pub(crate) fn aliases(&self) -> [&str; 2] {
        [self.spec.name.as_str(), self.id.as_str()]
    }

    /// What a caller sees of it. The key is a reference and stays one.
    pub(crate) fn shown_with(&self, verbs: Vec<Verb>) -> Llm {
        let spec = self.spec.clone();
        Llm {
            id: self.id.clone(),
            name: spec.name,
            labels: spec.labels,
            display_name: spec.display_name,
            kind: spec.kind,
            url: spec.url,
            urls: spec.urls,
            model: spec.model,
            api_key_ref: spec.api_key_ref,
            enabled: spec.enabled,
            failover: spec.failover,
            context_length: spec.context_length,
            timeouts: spec.timeouts,
            limits: spec.limits,
            verbs,
            warnings: Vec::new(),
            created_at: self.created_at.to_string(),
            updated_at: self.updated_at.to_string(),
        }
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    display_name: Option<String>,
    kind: String,
    url: String,
    model: String,
    key_env: Option<String>,
    key_file: Option<String>,
    enabled: i64,
    failover: String,
    context_length: Option<i64>,
    labels: String,
    /// JSON, or nothing where there is nothing to say; the same for the next two.
    urls: Option<String>,
    timeouts: Option<String>,
    limits: Option<String>,
    created_at: i64,
    updated_at: i64,
}

pub(super) async fn load(connection: &mut AnyConnection) -> Result<Vec<StoredLlm>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, display_name, kind, url, model, key_env, key_file, enabled, failover, context_length, \
         labels, urls, timeouts, limits, created_at, updated_at FROM llms",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(StoredLlm::try_from).collect()
}

impl TryFrom<Row> for StoredLlm {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        let context_length = row.context_length.map(u32::try_from).transpose();
        Ok(Self {
            id: word::<LlmId>(&row.id, "id")?,
            spec: LlmSpec {
                name: word::<LlmName>(&row.name, "name")?,
                labels: word(&row.labels, "labels")?,
                display_name: row.display_name,
                kind: row.kind,
                url: row.url,
                urls: parsed(row.urls.as_deref(), "nodes")?,
                model: row.model,
                api_key_ref: row.key_env.map(ApiKeyRef::Env).or(row.key_file.map(ApiKeyRef::File)),
                enabled: row.enabled == 1,
                failover: word::<FailoverPolicy>(&row.failover, "failover policy")?,
                context_length: context_length
                    .map_err(|_| StoreError::Unreadable("a context length out of range".into()))?,
                timeouts: parsed(row.timeouts.as_deref(), "timeouts")?,
                limits: parsed(row.limits.as_deref(), "limits")?,
            },
            created_at: time(row.created_at)?,
            updated_at: time(row.updated_at)?,
        })
    }
}

impl Change {
    pub(crate) async fn insert_llm(&mut self, llm: &StoredLlm) -> Result<(), StoreError> {
        let (key_env, key_file) = key_columns(&llm.spec);
        let query = sqlx::query(
            "INSERT INTO llms (id, name, display_name, kind, url, model, key_env, key_file, enabled, failover, \
             context_length, created_at, updated_at, labels, urls, timeouts, limits) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        )
        .bind(llm.id.as_str())
        .bind(llm.spec.name.as_str())
        .bind(&llm.spec.display_name)
        .bind(&llm.spec.kind)
        .bind(&llm.spec.url)
        .bind(&llm.spec.model)
        .bind(key_env)
        .bind(key_file)
        .bind(i64::from(llm.spec.enabled))
        .bind(llm.spec.failover.to_string())
        .bind(llm.spec.context_length.map(i64::from))
        .bind(llm.created_at.as_millisecond())
        .bind(llm.updated_at.as_millisecond())
        .bind(llm.spec.labels.to_string())
        .bind(written(&llm.spec.urls))
        .bind(written(&llm.spec.timeouts))
        .bind(written(&llm.spec.limits));
        self.execute_one(query, "an LLM").await
    }

    /// Writes everything but the id, the name and the time of creation.
    pub(crate) async fn update_llm(&mut self, llm: &StoredLlm) -> Result<(), StoreError> {
        let (key_env, key_file) = key_columns(&llm.spec);
        let query = sqlx::query(
            "UPDATE llms SET display_name = $2, kind = $3, url = $4, model = $5, key_env = $6, key_file = $7, \
             enabled = $8, failover = $9, context_length = $10, updated_at = $11, labels = $12, urls = $13, \
             timeouts = $14, limits = $15 WHERE id = $1",
        )
        .bind(llm.id.as_str())
        .bind(&llm.spec.display_name)
        .bind(&llm.spec.kind)
        .bind(&llm.spec.url)
        .bind(&llm.spec.model)
        .bind(key_env)
        .bind(key_file)
        .bind(i64::from(llm.spec.enabled))
        .bind(llm.spec.failover.to_string())
        .bind(llm.spec.context_length.map(i64::from))
        .bind(llm.updated_at.as_millisecond())
        .bind(llm.spec.labels.to_string())
        .bind(written(&llm.spec.urls))
        .bind(written(&llm.spec.timeouts))
        .bind(written(&llm.spec.limits));
        self.execute_one(query, "an LLM").await
    }

    pub(crate) async fn delete_llm(&mut self, id: &LlmId) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM llms WHERE id = $1").bind(id.as_str());
        self.execute_one(query, "an LLM").await
    }
}

/// What a column of JSON holds.
fn parsed<T: DeserializeOwned + Default>(json: Option<&str>, what: &str) -> Result<T, StoreError> {
    let value = json.map_or_else(|| Ok(T::default()), serde_json::from_str);
    value.map_err(|_| StoreError::Unreadable(format!("{what} of an LLM that are no JSON of ours")))
}

/// As JSON; none for what says nothing.
fn written<T: Serialize + Default + PartialEq>(value: &T) -> Option<String> {
    // Wire types of our own always serialise.
    (*value != T::default()).then(|| serde_json::to_string(value).ok()).flatten()
}

fn key_columns(spec: &LlmSpec) -> (Option<&str>, Option<&str>) {
    match &spec.api_key_ref {
        None => (None, None),
        Some(ApiKeyRef::Env(variable)) => (Some(variable), None),
        Some(ApiKeyRef::File(path)) => (None, Some(path)),
    }
}
