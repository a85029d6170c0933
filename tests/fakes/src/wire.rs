//! The bytes that peers send: HTTP answers, event streams, and what an OpenAI-compatible server puts into them.

use serde_json::{Value, json};

/// The end of a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The data of the event that ends a complete stream.
pub const DONE: &str = "[DONE]";
/// The id that all answers of the doubles carry.
const ID: &str = "chatcmpl-double";

/// The first line and the headers, with the empty line after them.
pub fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// A whole answer with its `Content-Length`, and `Connection: close` unless the headers say something of it: a double
/// that closes without a word would meet the next request of a client that pools.
pub fn http(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len().to_string();
    let mut all = headers.to_vec();
    all.push(("content-length", &length));
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection")) {
        all.push(("connection", "close"));
    }
    [&head(status, &all), body].concat()
}

/// A whole JSON answer, after which the connection closes.
pub fn json_answer(status: u16, body: &Value) -> Vec<u8> {
    http(status, &[("content-type", "application/json")], body.to_string())
}

/// The head of an event stream whose body is chunked.
pub fn sse_chunked_head() -> Vec<u8> {
    head(200, &[("content-type", "text/event-stream"), ("transfer-encoding", "chunked")])
}

/// The head of an event stream whose body ends with the connection.
pub fn sse_head() -> Vec<u8> {
    head(200, &[("content-type", "text/event-stream"), ("connection", "close")])
}

/// An event stream that ends with the connection: the head and one event for each text.
pub fn sse<T: AsRef<str>>(data: &[T]) -> Vec<u8> {
    data.iter().fold(sse_head(), |mut bytes, data| {
        bytes.extend(event(data.as_ref()));
        bytes
    })
}

/// An event stream in chunks, one event a chunk, with the last chunk.
pub fn sse_chunked<T: AsRef<str>>(data: &[T]) -> Vec<u8> {
    let mut bytes = sse_chunked_head();
    for data in data {
        bytes.extend(chunk(&event(data.as_ref())));
    }
    bytes.extend_from_slice(LAST_CHUNK);
    bytes
}

/// One event.
pub fn event(data: &str) -> Vec<u8> {
    format!("data: {data}\n\n").into_bytes()
}

/// One chunk of a chunked body.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// The data of the events of one complete streamed answer: role, words, finish reason, `[DONE]`.
pub fn answer(text: &str) -> Vec<String> {
    let mut events = vec![role()];
    events.extend(words(text).map(content));
    events.extend([finish("stop"), DONE.to_owned()]);
    events
}

/// The text in pieces of one word, each with the space before it.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.char_indices().skip(1).find(|(_, c)| *c == ' ').map_or(rest.len(), |(at, _)| at);
        let (word, tail) = rest.split_at(end);
        rest = tail;
        (!word.is_empty()).then_some(word)
    })
}

/// The first event of an answer: who speaks, and no content yet.
pub fn role() -> String {
    delta(&json!({"role": "assistant", "content": ""}), &Value::Null)
}

/// An event that carries a piece of the answer.
pub fn content(text: &str) -> String {
    delta(&json!({ "content": text }), &Value::Null)
}

/// The event that says why the answer ends.
pub fn finish(reason: &str) -> String {
    delta(&json!({}), &json!(reason))
}

/// The event with the usage, which comes after the finish reason if it was asked for.
pub fn usage(prompt: usize, completion: usize) -> String {
    json!({"id": ID, "object": "chat.completion.chunk", "created": 1, "model": "tiny", "choices": [],
        "usage": usage_object(prompt, completion)})
    .to_string()
}

/// A whole answer that was not streamed.
pub fn completion(text: &str, finish_reason: Option<&str>) -> Value {
    json!({"id": ID, "object": "chat.completion", "created": 1, "model": "tiny",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": usage_object(3, words(text).count())})
}

/// A whole answer of `/v1/completions`.
pub fn text_completion(text: &str) -> Value {
    json!({"id": "cmpl-double", "object": "text_completion", "created": 1, "model": "tiny",
        "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": "stop"}],
        "usage": usage_object(3, words(text).count())})
}

/// A whole answer of `/v1/embeddings`, to one text.
pub fn embedding(vector: &[f64]) -> Value {
    json!({"object": "list", "model": "tiny",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3}})
}

/// A whole answer of `/v1/responses`.
pub fn response(text: &str) -> Value {
    let content = json!([{"type": "output_text", "text": text, "annotations": []}]);
    let message = json!({"type": "message", "id": "msg_double", "role": "assistant", "status": "completed",
        "content": content});
    json!({"id": "resp_double", "object": "response", "created_at": 1, "status": "completed", "model": "tiny",
        "output": [message], "parallel_tool_calls": true, "tool_choice": "auto", "tools": []})
}

/// An error as an object, the way most servers send it.
pub fn error(message: &str, code: u16) -> Value {
    json!({"error": {"message": message, "type": "server_error", "param": null, "code": code}})
}

fn usage_object(prompt: usize, completion: usize) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

fn delta(delta: &Value, finish_reason: &Value) -> String {
    json!({"id": ID, "object": "chat.completion.chunk", "created": 1, "model": "tiny",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
    .to_string()
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Scripted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_text_give_the_text_again() {
        for text in ["", "one", " led by a space", "ten plain words.", "ä  ö", "ends "] {
            assert_eq!(words(text).collect::<String>(), text);
        }
        assert_eq!(words("ten plain words").collect::<Vec<_>>(), ["ten", " plain", " words"]);
    }
}
