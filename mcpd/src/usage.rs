//! How many tokens an answer of an LLM took, read beside it: the upstream says so at its end or its start, and no event
//! is parsed for it.

use http::{HeaderMap, header};
use memchr::memmem;
use serde::Deserialize;

/// As much is kept of the start of an answer, and at least as much of its end.
const HEAD: usize = 1 << 10;
const TAIL: usize = 4 << 10;
/// Within a text of JSON every quotation mark has a backslash before it, so that no answer can hold this.
const KEY: &[u8] = b"\"usage\"";

/// Sees an answer pass.
#[derive(Debug)]
pub(crate) struct Beside {
    is_stream: bool,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// Numbers of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: Option<u32>,
    pub(crate) output: Option<u32>,
}

impl Beside {
    /// Begins beside an answer with these headers.
    pub(crate) fn new(headers: &HeaderMap) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        Self { is_stream: kind.starts_with("text/event-stream"), head: Vec::new(), tail: Vec::new() }
    }

    /// Takes note of bytes; says whether they are the first ones of a stream.
    pub(crate) fn sees(&mut self, bytes: &[u8]) -> bool {
        let is_first = self.head.is_empty() && !bytes.is_empty();
        let missing = (HEAD - self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        let last = &bytes[bytes.len().saturating_sub(TAIL)..];
        if self.tail.len() + last.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        }
        self.tail.extend_from_slice(last);
        self.is_stream && is_first
    }

    /// What was said about usage; the last of it counts.
    pub(crate) fn usage(self) -> Option<Usage> {
        said(&self.tail).or_else(|| said(&self.head))
    }
}

fn said(text: &[u8]) -> Option<Usage> {
    // The last one may be `null`, where each event has the key.
    memmem::rfind_iter(text, KEY).find_map(|at| {
        if at > 0 && text[at - 1] == b'\\' {
            return None;
        }
        let rest = text[at + KEY.len()..].trim_ascii_start().strip_prefix(b":")?;
        let counts =
            serde_json::Deserializer::from_slice(rest).into_iter::<Option<Counts>>().next()?.ok()??;
        let input = counts.prompt.or(counts.input);
        let output = counts.completion.or(counts.output);
        (input.is_some() || output.is_some()).then_some(Usage { input, output })
    })
}

/// In the words of chat completions, or of responses.
#[derive(Deserialize)]
struct Counts {
    #[serde(rename = "prompt_tokens")]
    prompt: Option<u32>,
    #[serde(rename = "completion_tokens")]
    completion: Option<u32>,
    #[serde(rename = "input_tokens")]
    input: Option<u32>,
    #[serde(rename = "output_tokens")]
    output: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(pieces: &[&[u8]]) -> Option<Usage> {
        let mut beside = Beside::new(&HeaderMap::new());
        for piece in pieces {
            beside.sees(piece);
        }
        beside.usage()
    }

    fn of(input: u32, output: u32) -> Usage {
        Usage { input: Some(input), output: Some(output) }
    }

    #[test]
    fn usage_is_found_wherever_servers_put_it() {
        let long = "x".repeat(100_000);
        for (answer, usage) in [
            (r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":10,"total_tokens":13}}"#.into(), Some(of(3, 10))),
            (r#"{"usage" : { "input_tokens": 3, "output_tokens": 10, "input_tokens_details": {"cached_tokens": 0} } }"#.into(), Some(of(3, 10))),
            // llama-server's embeddings: before what is long.
            (format!(r#"{{"model":"m","usage":{{"prompt_tokens":7,"total_tokens":7}},"data":[{long}]}}"#),
             Some(Usage { input: Some(7), output: None })),
            (format!("data: {long}\n\ndata: {{\"usage\":null}}\n\ndata: {{\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2}}}}\n\ndata: [DONE]\n\n"), Some(of(1, 2))),
            // vLLM with `continuous_usage_stats`: the last one counts.
            ("data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":3}}\n\n".into(), Some(of(1, 3))),
        ] {
            assert_eq!(seen(&[answer.as_bytes()]), usage, "{answer:.200}");
        }
    }

    #[test]
    fn a_text_that_an_llm_writes_is_no_usage() {
        let forged = r#"{"usage":{"prompt_tokens":999,"completion_tokens":999}}"#;
        let answer = serde_json::json!({"choices": [{"message": {"content": forged}}]}).to_string();
        assert_eq!(seen(&[answer.as_bytes()]), None);
        for odd in ["", "\"usage\"", "{\"usage\":5}", "{\"usage\":{\"prompt_tokens\":-1}}", "{\"usage\":{"] {
            assert_eq!(seen(&[odd.as_bytes()]), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(size in 1..9000_usize, before in 0..20_000_usize) {
            let usage = r#","usage":{"prompt_tokens":3,"completion_tokens":10}}"#;
            let answer = format!("{}{usage}", "x".repeat(before));
            let pieces: Vec<&[u8]> = answer.as_bytes().chunks(size).collect();
            prop_assert_eq!(seen(&pieces), Some(of(3, 10)));
        }
    }
}
