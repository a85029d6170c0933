//! An LLM as the registry knows it.

use crate::{FailoverPolicy, Labels, Limits, LlmId, LlmName, Timeouts, Verb};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Where the server reads the upstream's key. The key itself is never stored and never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum ApiKeyRef {
    /// The name of an environment variable of the server.
    Env(String),
    /// The absolute path of a file that the server can read.
    File(String),
}

fn enabled() -> bool {
    true
}

/// What is left out is not an empty text: it stands elsewhere.
fn without_default(schema: &mut Schema) {
    schema.remove("default");
}

/// What an administrator says about an LLM: the body of `POST` and `PUT`, and the document `kind: Llm`.
///
/// What is read has one form: `url` is always there and the first of `urls`, and `urls` is empty unless there are
/// several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", remote = "Self")]
#[schemars(extend("anyOf" = [{"required": ["url"]}, {"required": ["urls"]}]))]
pub struct LlmSpec {
    /// Its name, unique among the LLMs and not of the shape of an id. It cannot be changed.
    pub name: LlmName,
    /// Words by which you find it again, as with `get -l` and `apply --prune -l`. They grant nothing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What the upstream speaks, such as `openai`, `vllm` or `ollama`; all of them the `OpenAI` chat API.
    #[serde(rename = "type")]
    pub kind: String,
    /// The upstream's base, such as `http://10.0.0.5:8000/v1`. Another scheme, host or port drops the key reference,
    /// unless it is named anew by somebody who may use the key. With `urls` it is the first of them, or left out.
    #[serde(default)]
    #[schemars(transform = without_default)]
    pub url: String,
    /// The bases of several nodes that serve the same model: each request goes to the one with the least to do, and to
    /// another one if that fails before its answer has begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The upstream's name for the model.
    pub model: String,
    /// Where the server reads the upstream's key. The key itself is never stored and never shown. To set it needs
    /// `run` on the resource `secrets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_ref: Option<ApiKeyRef>,
    /// Whether anybody can run it.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Whether a local provider may stand in when the server's way to the LLM is down.
    #[serde(default)]
    pub failover: FailoverPolicy,
    /// The context window, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
    /// How long the upstream may take, where it is not as long as for all LLMs of the server.
    #[serde(default, skip_serializing_if = "Timeouts::is_none")]
    pub timeouts: Timeouts,
    /// How much may be asked of it: more is a 429 of origin `quota`.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

impl LlmSpec {
    /// The bases of all nodes, the first one first.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        if self.urls.is_empty() { std::slice::from_ref(&self.url) } else { &self.urls }
    }

    /// Says in one form which nodes there are. An error is what whoever wrote it should hear.
    pub fn with_nodes(self, url: Option<String>, urls: Vec<String>) -> Result<Self, &'static str> {
        match (url, urls.as_slice()) {
            (None, []) => Err("`url` or `urls` is needed"),
            (Some(url), []) => Ok(Self { url, urls: Vec::new(), ..self }),
            (Some(url), [first, ..]) if url != *first => {
                Err("`url` must be the first of `urls`, or be left out beside it")
            }
            (_, [only]) => Ok(Self { url: only.clone(), urls: Vec::new(), ..self }),
            (_, [first, ..]) => Ok(Self { url: first.clone(), urls, ..self }),
        }
    }
}

// By `remote = "Self"` the derived ones are functions of the type, and these the traits.
impl<'de> Deserialize<'de> for LlmSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut read = Self::deserialize(deserializer)?;
        let (url, urls) = (std::mem::take(&mut read.url), std::mem::take(&mut read.urls));
        read.with_nodes(Some(url).filter(|url| !url.is_empty()), urls).map_err(D::Error::custom)
    }
}

impl Serialize for LlmSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// An LLM as the server shows it to one caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Llm {
    /// Given by the server, never re-used.
    pub id: LlmId,
    /// Its name, unique among the LLMs.
    pub name: LlmName,
    /// Words by which it is found again.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What the upstream speaks.
    #[serde(rename = "type")]
    pub kind: String,
    /// The upstream's base; of several, the first.
    pub url: String,
    /// The bases of all nodes, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The upstream's name for the model.
    pub model: String,
    /// Where the server reads the upstream's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_ref: Option<ApiKeyRef>,
    /// Whether anybody can run it.
    pub enabled: bool,
    /// Whether a local provider may stand in.
    pub failover: FailoverPolicy,
    /// The context window, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
    /// How long the upstream may take, where it is not as long as for all LLMs of the server.
    #[serde(default, skip_serializing_if = "Timeouts::is_none")]
    pub timeouts: Timeouts,
    /// How much may be asked of it: more is a 429 of origin `quota`.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// What this caller may do with it.
    #[serde(default)]
    pub verbs: Vec<Verb>,
    /// After a change only: what whoever made it should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub updated_at: String,
}

impl From<Llm> for LlmSpec {
    /// What an administrator would say to have it so.
    fn from(llm: Llm) -> Self {
        Self {
            name: llm.name,
            labels: llm.labels,
            display_name: llm.display_name,
            kind: llm.kind,
            url: llm.url,
            urls: llm.urls,
            model: llm.model,
            api_key_ref: llm.api_key_ref,
            enabled: llm.enabled,
            failover: llm.failover,
            context_length: llm.context_length,
            timeouts: llm.timeouts,
            limits: llm.limits,
        }
    }
}

/// The answer of the list: only what the caller may view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LlmList {
    /// In the order of their names.
    pub items: Vec<Llm>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(nodes: &Value) -> Result<LlmSpec, String> {
        let mut document = json!({"name": "chat", "type": "vllm", "model": "m"});
        document.as_object_mut().unwrap().extend(nodes.as_object().unwrap().clone());
        serde_json::from_value(document).map_err(|error| error.to_string())
    }

    #[test]
    fn nodes_have_one_form() {
        for (written, read_as) in [
            (json!({"url": "http://a"}), json!({"url": "http://a"})),
            (json!({"urls": ["http://a"]}), json!({"url": "http://a"})),
            (json!({"url": "http://a", "urls": ["http://a"]}), json!({"url": "http://a"})),
            (json!({"url": "http://a", "urls": []}), json!({"url": "http://a"})),
            (
                json!({"urls": ["http://a", "http://b"]}),
                json!({"url": "http://a", "urls": ["http://a", "http://b"]}),
            ),
        ] {
            let spec = read(&written).unwrap();
            let shown = serde_json::to_value(&spec).unwrap();
            assert_eq!(
                (&shown["url"], shown.get("urls")),
                (&read_as["url"], read_as.get("urls")),
                "{written}"
            );
            assert_eq!(read(&read_as), Ok(spec.clone()), "what is shown can be written");
            assert_eq!(spec.nodes()[0], spec.url);
        }
        assert!(read(&json!({})).unwrap_err().contains("`url` or `urls` is needed"));
        assert!(read(&json!({"url": ""})).is_err());
        let odd = read(&json!({"url": "http://b", "urls": ["http://a", "http://b"]}));
        assert!(odd.unwrap_err().contains("must be the first of `urls`"));
    }
}
