//! An upstream that costs as little as can be: it speaks the `OpenAI` chat API, and its answers are made before the
//! clock runs. What it answers with is said by the model's name, so that one stub serves every scenario.
//!
//! No double of an engine: it generates nothing and checks nothing. See `tests/fakes` for those.

use anyhow::{Context, bail};
use memchr::memmem;
use std::{
    collections::HashMap,
    fmt::Write as _,
    net::SocketAddr,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::sleep,
};

/// As many connections may wait to be taken: ten thousand streams come within a second.
const BACKLOG: u32 = 16_384;

/// What the stub answers: `tokens=16,delay=5ms,...`, as a model's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Model {
    /// How many tokens a stream has.
    pub(crate) tokens: u32,
    /// How long to wait before the first byte.
    pub(crate) latency: Duration,
    /// How long to wait between two tokens; none means that all are written at once.
    pub(crate) delay: Duration,
    /// The length of the text of an answer that is no stream, in bytes.
    pub(crate) size: usize,
    /// The status of a failure in place of an answer; 0 for none.
    pub(crate) status: u16,
}

impl Model {
    /// A short answer, at once.
    pub(crate) const PLAIN: Self =
        Self { tokens: 16, latency: Duration::ZERO, delay: Duration::ZERO, size: 200, status: 0 };
}

impl std::fmt::Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tokens, latency, delay, size, status } = self;
        write!(f, "t{tokens}-l{}-d{}-s{size}-e{status}", latency.as_micros(), delay.as_micros())
    }
}

impl FromStr for Model {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut model = Self::PLAIN;
        for part in text.split('-') {
            let (key, number) = part.split_at_checked(1).context("a part is empty")?;
            let number: u64 = number.parse().with_context(|| format!("{part:?} in the model {text:?}"))?;
            match key {
                "t" => model.tokens = u32::try_from(number)?,
                "l" => model.latency = Duration::from_micros(number),
                "d" => model.delay = Duration::from_micros(number),
                "s" => model.size = usize::try_from(number)?,
                "e" => model.status = u16::try_from(number)?,
                _ => bail!("{key:?} in the model {text:?}; there are t, l, d, s and e"),
            }
        }
        Ok(model)
    }
}

/// The answers of one model, as bytes that only have to be sent.
#[derive(Debug)]
struct Answers {
    model: Model,
    whole: Vec<u8>,
    stream_head: Vec<u8>,
    /// A chunk for each token, each with its event.
    tokens: Vec<Vec<u8>>,
    end: Vec<u8>,
}

impl Answers {
    fn of(model: Model) -> Self {
        let text = "x".repeat(model.size);
        let body = format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"{model}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}}}"#
        );
        let status = if model.status == 0 { 200 } else { model.status };
        let whole = format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream_head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let event = |delta: &str, reason: &str| {
            chunk(&format!(
                "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"{model}\",\
                 \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n"
            ))
        };
        let tokens = (0..model.tokens).map(|n| event(&format!("{{\"content\":\" {n}\"}}"), "null"));
        let mut end = event("{}", "\"stop\"");
        end.extend(chunk("data: [DONE]\n\n"));
        end.extend(b"0\r\n\r\n");
        Self { model, whole: whole.into(), stream_head: stream_head.into(), tokens: tokens.collect(), end }
    }
}

fn chunk(data: &str) -> Vec<u8> {
    let mut chunk = String::new();
    // Writing to a string does not fail.
    let _ = write!(chunk, "{:x}\r\n{data}\r\n", data.len());
    chunk.into_bytes()
}

/// Answers until the process ends.
pub(crate) async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(listen).with_context(|| format!("listening on {listen}"))?;
    let listener = socket.listen(BACKLOG)?;
    let known = Arc::new(Known::default());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let known = Arc::clone(&known);
        // A client that goes away, or that talks nonsense, loses its connection and nothing else.
        tokio::spawn(async move { drop(attend(stream, &known).await) });
    }
}

/// The answers that were made so far.
#[derive(Debug, Default)]
struct Known(Mutex<HashMap<String, Arc<Answers>>>);

impl Known {
    fn answers(&self, name: &str) -> anyhow::Result<Arc<Answers>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answers) = known.get(name) {
            return Ok(Arc::clone(answers));
        }
        let answers = Arc::new(Answers::of(name.parse()?));
        known.insert(name.to_owned(), Arc::clone(&answers));
        Ok(answers)
    }
}

async fn attend(mut stream: TcpStream, known: &Known) -> anyhow::Result<()> {
    let mut read = Vec::with_capacity(16 << 10);
    let mut last: Option<(String, Arc<Answers>)> = None;
    loop {
        let Some(head) = head(&mut stream, &mut read).await? else { return Ok(()) };
        read.reserve(head.body);
        while read.len() < head.len + head.body {
            anyhow::ensure!(stream.read_buf(&mut read).await? > 0, "the prompt ends early");
        }
        let body = &read[head.len..head.len + head.body];
        if head.is_post {
            let name = text_of(body, b"\"model\"").context("no model")?;
            let answers = match &last {
                Some((known, answers)) if known == name => Arc::clone(answers),
                _ => known.answers(name)?,
            };
            let is_stream = memmem::find(body, b"\"stream\":true").is_some()
                || memmem::find(body, b"\"stream\": true").is_some();
            last = Some((name.to_owned(), Arc::clone(&answers)));
            answer(&mut stream, &answers, is_stream).await?;
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{\"object\":\"list\",\"data\":[]}").await?;
        }
        read.drain(..head.len + head.body);
    }
}

async fn answer(stream: &mut TcpStream, answers: &Answers, is_stream: bool) -> anyhow::Result<()> {
    if !answers.model.latency.is_zero() {
        sleep(answers.model.latency).await;
    }
    if !is_stream || answers.model.status != 0 {
        stream.write_all(&answers.whole).await?;
        return Ok(());
    }
    if answers.model.delay.is_zero() {
        // As a busy engine does: several events at a time, each its own chunk.
        let mut all = answers.stream_head.clone();
        for token in &answers.tokens {
            all.extend_from_slice(token);
            if all.len() >= 16 << 10 {
                stream.write_all(&all).await?;
                all.clear();
            }
        }
        all.extend_from_slice(&answers.end);
        stream.write_all(&all).await?;
        return Ok(());
    }
    stream.write_all(&answers.stream_head).await?;
    for token in &answers.tokens {
        stream.write_all(token).await?;
        sleep(answers.model.delay).await;
    }
    stream.write_all(&answers.end).await?;
    Ok(())
}

struct Head {
    len: usize,
    body: usize,
    is_post: bool,
}

/// Reads the head of a request; nothing if the client has gone.
async fn head(stream: &mut TcpStream, read: &mut Vec<u8>) -> anyhow::Result<Option<Head>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(len) = request.parse(read)? {
            let is_post = request.method == Some("POST");
            let mut length = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case("content-length"));
            let body = match length.next() {
                Some(length) => std::str::from_utf8(length.value)?.parse()?,
                None => 0,
            };
            return Ok(Some(Head { len, body, is_post }));
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

/// The text after a key, wherever in the body: these prompts hold the key once.
fn text_of<'a>(body: &'a [u8], key: &[u8]) -> Option<&'a str> {
    let rest = &body[memmem::rfind(body, key)? + key.len()..];
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_its_name() {
        let model = Model {
            tokens: 7,
            delay: Duration::from_millis(5),
            size: 3,
            latency: Duration::from_micros(9),
            status: 503,
        };
        assert_eq!(model.to_string().parse::<Model>().unwrap(), model);
        assert!("t1-q3".parse::<Model>().is_err());
    }

    #[test]
    fn the_model_is_found_in_a_prompt() {
        assert_eq!(text_of(br#"{"messages":[],"model" : "t1-d2"}"#, b"\"model\""), Some("t1-d2"));
        assert_eq!(text_of(b"{}", b"\"model\""), None);
    }
}
