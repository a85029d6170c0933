//! What is asked: messages and parameters, and the body that goes to one endpoint.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The fields of the chat API that a local provider may receive. Everything else stays at home.
const LOCAL_FIELDS: &[&str] = &[
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
];

/// The fields by which a caller limits an answer.
const LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];
/// The limit of an answer for which the caller sets none, in tokens.
const ANSWER_MAX: u32 = 16_384;

/// One message of a conversation. Content parts, tool calls and names pass through untouched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Message {
    /// A message of plain text.
    #[must_use]
    pub fn text(role: &str, content: &str) -> Self {
        let mut rest = Map::new();
        rest.insert("content".into(), content.into());
        Self { role: role.into(), rest }
    }
}

/// A conversation and how to go on with it.
#[derive(Debug, Clone, Default)]
pub struct ChatRequest {
    /// The conversation.
    pub messages: Vec<Message>,
    /// Further fields of the body, such as `temperature`.
    pub params: Map<String, Value>,
    /// Whether the answer comes in pieces.
    pub stream: bool,
}

/// Fields that the program sets itself, so that `--param` cannot.
pub const RESERVED: &[&str] = &["model", "messages", "stream", "stream_options"];

impl ChatRequest {
    /// The body for an endpoint that knows the model as `model`.
    #[must_use]
    pub fn body(&self, model: Option<&str>) -> Value {
        let mut body = Map::new();
        body.extend(model.map(|model| ("model".into(), model.into())));
        body.insert("messages".into(), json!(self.messages));
        body.extend(self.params.clone());
        body.insert("stream".into(), self.stream.into());
        if self.stream {
            body.insert("stream_options".into(), json!({ "include_usage": true }));
        }
        Value::Object(body)
    }

    /// The same request with only the fields that a local provider may receive.
    #[must_use]
    pub fn for_local(&self) -> Self {
        let mut request = self.clone();
        request.params.retain(|key, _| LOCAL_FIELDS.contains(&key.as_str()));
        request
    }

    /// The model was told what it may call.
    pub fn offers_tools(&self) -> bool {
        ["tools", "functions"].iter().any(|key| self.params.contains_key(*key))
    }

    /// The further fields that a local provider does not receive.
    pub fn kept_from_local(&self) -> impl Iterator<Item = &str> {
        self.params.keys().map(String::as_str).filter(|key| !LOCAL_FIELDS.contains(key))
    }

    /// The same request with a limit for the answer, if it has none: without one vLLM goes on to the end of its
    /// context. `context` is the size of that in tokens, question and answer together; vLLM refuses a limit that goes
    /// beyond it.
    #[must_use]
    pub fn limited(mut self, context: Option<u32>) -> Self {
        if LIMITS.iter().any(|key| self.params.contains_key(*key)) {
            return self;
        }
        let room = context.map_or(ANSWER_MAX, |context| {
            // Three bytes a token is a high guess of the question for text and for code; the rest is for the template.
            let bytes = json!(self.messages).to_string().len();
            let question = u32::try_from(bytes / 3).unwrap_or(u32::MAX).saturating_add(64);
            context.saturating_sub(question).max(context / 16).max(1)
        });
        self.params.insert("max_tokens".into(), room.min(ANSWER_MAX).into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_provider_gets_fields_of_the_chat_api_only() {
        let mut request = ChatRequest {
            messages: vec![Message::text("user", "hi")],
            stream: true,
            ..ChatRequest::default()
        };
        for key in ["temperature", "user", "metadata", "organization", "guided_json", "store"] {
            request.params.insert(key.into(), 1.into());
        }
        let body = request.for_local().body(Some("tiny"));
        let keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["model", "messages", "temperature", "stream", "stream_options"]);
        assert_eq!(body["model"], "tiny");
        assert!(LOCAL_FIELDS.is_sorted() && LOCAL_FIELDS.contains(&"messages"));
    }

    #[test]
    fn an_answer_without_a_limit_gets_one_that_fits_the_context() {
        let question = |content: &str| ChatRequest {
            messages: vec![Message::text("user", content)],
            ..ChatRequest::default()
        };
        let limit = |request: ChatRequest, context| request.limited(context).params["max_tokens"].clone();
        assert_eq!(limit(question("hi"), None), ANSWER_MAX);
        assert_eq!(limit(question("hi"), Some(131_072)), ANSWER_MAX);
        let room = limit(question("hi"), Some(2048)).as_u64().unwrap();
        assert!((1900..2048).contains(&room), "{room}");
        // A question that may fill the context leaves room for some words; the engine knows better.
        assert_eq!(limit(question(&"x".repeat(9000)), Some(2048)), 128);
        for key in LIMITS {
            let mut request = question("hi");
            request.params.insert(key.into(), 7.into());
            assert_eq!(request.clone().limited(Some(2048)).params, request.params);
        }
    }
}
