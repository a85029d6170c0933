//! What programs with the crate `async-openai` do, as they would against any server: nothing here knows of mcpd.
//!
//! ```sh
//! OPENAI_BASE_URL=http://127.0.0.1:3100/v1 OPENAI_API_KEY=mcpd_... openai-rust MODEL STORY...
//! ```
//!
//! Prints for each story one line of JSON: what came of it, or the error.

#![forbid(unsafe_code)]

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::OpenAIError,
    types::chat::{
        ChatCompletionMessageToolCalls, CreateChatCompletionRequest, CreateChatCompletionResponse,
    },
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::{error::Error, io::Read};

type Outcome = Result<Value, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("which model?")?;
    let program = Program { client: Client::new(), model };
    for story in arguments {
        let outcome = match program.play(&story).await {
            Ok(outcome) => outcome,
            Err(error) => told(&*error),
        };
        println!("{outcome}");
    }
    Ok(())
}

/// What a program can see of an error.
fn told(error: &(dyn Error + 'static)) -> Value {
    match error.downcast_ref() {
        Some(OpenAIError::ApiError(answer)) => {
            json!({"status": answer.status_code.as_u16(), "code": answer.api_error.code,
                "message": answer.api_error.message})
        }
        // An event of a stream that is no piece of an answer: the crate gives its text.
        Some(OpenAIError::JSONDeserialize(_, text)) => {
            let event: Value = serde_json::from_str(text).unwrap_or_default();
            json!({"code": event["error"]["code"], "message": event["error"]["message"]})
        }
        _ => json!({"error": error.to_string()}),
    }
}

struct Program {
    client: Client<OpenAIConfig>,
    model: String,
}

impl Program {
    async fn play(&self, story: &str) -> Outcome {
        match story {
            "chat" => Ok(json!({"text": self.ask(json!({})).await?.choices[0].message.content})),
            "stream" => self.stream().await,
            "tools" => self.tools().await,
            "schema" => self.schema().await,
            "embeddings" => self.embeddings().await,
            "models" => {
                let models = self.client.models().list().await?.data;
                Ok(json!({"ids": models.into_iter().map(|model| model.id).collect::<Vec<_>>()}))
            }
            "retrieve" => Ok(json!({"id": self.client.models().retrieve(&self.model).await?.id})),
            "leave" => self.leave().await,
            other => Err(format!("no story is called {other}").into()),
        }
    }

    fn request(&self, content: &str, more: Value) -> Result<CreateChatCompletionRequest, Box<dyn Error>> {
        let mut body = json!({"model": self.model, "messages": [{"role": "user", "content": content}]});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        Ok(serde_json::from_value(body)?)
    }

    async fn ask(&self, more: Value) -> Result<CreateChatCompletionResponse, Box<dyn Error>> {
        Ok(self.client.chat().create(self.request("hi", more)?).await?)
    }

    async fn stream(&self) -> Outcome {
        let mut chunks = self.client.chat().create_stream(self.request("hi", json!({}))?).await?;
        let mut text = String::new();
        while let Some(chunk) = chunks.next().await {
            text.extend(chunk?.choices.into_iter().filter_map(|choice| choice.delta.content));
        }
        Ok(json!({"text": text}))
    }

    async fn tools(&self) -> Outcome {
        let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let function = json!({"name": "get_weather", "parameters": parameters});
        let answer = self.ask(json!({"tools": [{"type": "function", "function": function}]})).await?;
        let calls = answer.choices.into_iter().filter_map(|choice| choice.message.tool_calls).flatten();
        let calls = calls.filter_map(|call| match call {
            ChatCompletionMessageToolCalls::Function(call) => Some(call.function),
            ChatCompletionMessageToolCalls::Custom(_) => None,
        });
        let call = calls.into_iter().next().ok_or("no call")?;
        let arguments: Value = serde_json::from_str(&call.arguments)?;
        Ok(json!({"name": call.name, "arguments": arguments}))
    }

    async fn schema(&self) -> Outcome {
        let schema = json!({"type": "object", "properties": {"answer": {"enum": ["yes"]}},
            "required": ["answer"], "additionalProperties": false});
        let format = json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": schema}});
        let answer = self.ask(json!({"response_format": format, "max_completion_tokens": 60})).await?;
        let text = answer.choices[0].message.content.as_deref().unwrap_or_default();
        Ok(serde_json::from_str(text)?)
    }

    async fn embeddings(&self) -> Outcome {
        let request = serde_json::from_value(json!({"model": self.model, "input": ["hi", "ho"]}))?;
        let vectors = self.client.embeddings().create(request).await?.data;
        Ok(json!({"vectors": vectors.len(), "long": vectors[0].embedding.len()}))
    }

    /// Leaves a stream that never ends, and goes on living until nobody writes to it any more.
    async fn leave(&self) -> Outcome {
        let mut chunks = self.client.chat().create_stream(self.request("[forever]", json!({}))?).await?;
        let mut text = String::new();
        while !text.contains("ock") {
            let chunk = chunks.next().await.ok_or("the stream ended")??;
            text.extend(chunk.choices.into_iter().filter_map(|choice| choice.delta.content));
        }
        println!("leaving");
        drop(chunks);
        // The connection is closed by a task, which has to get its turn.
        let wait = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        wait.await??;
        Ok(json!({}))
    }
}
