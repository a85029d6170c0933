//! What is done beside a prompt and an answer, as pieces of work: see [`crate::costs`].

use super::{Endpoint, Prompt, marker::Marker};
use crate::{costs::Work, usage::Beside};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use mcp_api::LlmSpec;

/// As much as one read of a socket often brings.
const READ: usize = 16 << 10;

/// Reads a prompt of so many bytes and writes it for an upstream.
pub fn prompt(bytes: usize) -> anyhow::Result<Work> {
    let words = "and \\\"so\\\" on, ".repeat(bytes / 14);
    let body = format!(
        r#"{{"model":"llm","stream":true,"messages":[{{"role":"user","content":"{words}"}}],"temperature":0}}"#
    );
    let body = Bytes::from(body);
    let llm: LlmSpec =
        serde_json::from_str(r#"{"name":"llm","type":"openai","url":"http://a","model":"m"}"#)?;
    Ok(Box::new(move || {
        let read = Prompt::read(&body);
        read.map_or(0, |prompt| prompt.for_upstream(&llm).iter().map(Bytes::len).sum())
    }))
}

/// Looks beside an answer of so many tokens that arrive in a burst.
pub fn stream(tokens: usize) -> anyhow::Result<Work> {
    let answer = answer(tokens);
    Ok(Box::new(move || beside(answer.as_bytes().chunks(READ))))
}

/// The same with tokens that arrive one by one.
pub fn stream_token_by_token(tokens: usize) -> anyhow::Result<Work> {
    let answer = answer(tokens);
    Ok(Box::new(move || beside(answer.as_bytes().split_inclusive(|byte| *byte == b'\n'))))
}

fn answer(tokens: usize) -> String {
    let token = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
                 \"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":9}}\n\n";
    format!("{}{usage}data: [DONE]\n\n", token.repeat(tokens))
}

fn beside<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> usize {
    let stream = HeaderValue::from_static("text/event-stream");
    let mut usage = Beside::new(&HeaderMap::from_iter([(header::CONTENT_TYPE, stream)]));
    let mut marker = Marker::new(Endpoint::Chat.ending());
    for piece in pieces {
        marker.see(piece);
        usage.sees(piece);
    }
    usize::from(marker.is_done()) + usize::from(usage.usage().is_some())
}
