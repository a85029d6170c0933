//! A double for an OpenAI-compatible model server: an upstream of mcpd, or a local provider.
//!
//! It answers `/v1/chat/completions` (streamed or not), `/v1/completions`, `/v1/embeddings` and `/v1/responses` (never
//! streamed), `/v1/models` and `/health` with known words, counts the chats that it got, and fails them on command. It is no model and checks no request: what a real engine refuses, it takes.
//!
//! A prompt that contains `[forever]` is answered with ticks until the client goes.

use crate::{
    Gate, Request, Script, Step,
    evild::play,
    server::{End, Server},
    wire,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The words of every answer unless others are set: those of the tiny model that the real engines serve.
const TEXT: &str = "The tiny model answers with exactly these ten plain words.";
/// The pause between two ticks of an endless answer.
const TICK: Duration = Duration::from_millis(2);

/// How the chat route fails. Counts of events are those with content; the one with the role comes before them.
#[derive(Debug, Clone, Default)]
pub enum Fault {
    /// It does not.
    #[default]
    None,
    /// Closes after so many events, without an end of the body.
    CutAfter(usize),
    /// Resets the connection after so many events.
    ResetAfter(usize),
    /// Says nothing more after so many events, and keeps the connection.
    HangAfter(usize),
    /// Waits for the gate before the first byte of the answer, and then answers well.
    WaitAt(Gate),
    /// Sends an error as an event after so many events.
    ErrorAfter {
        /// How many events with content come before it.
        events: usize,
        /// The whole data of the event: see [`wire::error`](crate::wire::error); some servers send a plain string.
        error: Value,
        /// Whether `[DONE]` follows all the same, as vLLM does.
        done: bool,
    },
    /// Ends the stream properly but without `[DONE]`.
    NoDone,
    /// Never says why the answer ends.
    NoFinishReason,
    /// Ends with another reason than `stop`, such as `length`.
    FinishReason(String),
    /// Waits so long before each event.
    Drip(Duration),
    /// Answers with this status and this body as JSON.
    Status(u16, Value),
    /// Rejects the key, and repeats it in the error, as some servers do.
    EchoKey,
    /// Answers 200 with a page for people.
    Html,
    /// Sends so many bytes in one line without an end.
    HugeLine(usize),
    /// Answers with exactly these bytes and closes. Let them say `connection: close` if the client pools.
    Raw(Vec<u8>),
    /// Says with 503 on every route that the model is still loading.
    Loading,
}

/// What an [`Engine`] is to be.
#[derive(Debug, Clone)]
pub struct EngineBuilder {
    text: String,
    model: String,
    key: Option<String>,
    fault: Fault,
}

impl EngineBuilder {
    /// The words of every answer.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// The one model that it lists.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// The bearer without which it answers 401.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How it fails from the start.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// Starts it.
    pub fn start(self) -> Engine {
        let manner = Arc::new(Mutex::new(self));
        let current = Arc::clone(&manner);
        let server = Server::start(
            None,
            Arc::new(move |connection| {
                while let Some(request) = connection.read_request()? {
                    let manner = current.lock().unwrap().clone();
                    let played = play(connection, &manner.script(&request));
                    if let Some(end) = played.inspect_err(|_| connection.note_cancel())? {
                        return Ok(end);
                    }
                }
                Ok(End::Politely)
            }),
        );
        Engine { server, manner }
    }
}

/// The double. Ends when it is dropped.
pub struct Engine {
    server: Server,
    manner: Arc<Mutex<EngineBuilder>>,
}

impl Engine {
    /// One that answers well.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// For words, a key and faults.
    pub fn builder() -> EngineBuilder {
        EngineBuilder { text: TEXT.to_owned(), model: "tiny".to_owned(), key: None, fault: Fault::None }
    }

    /// One that fails from the start.
    pub fn failing(fault: Fault) -> Self {
        Self::builder().fault(fault).start()
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The base of its API, `http://127.0.0.1:PORT/v1`: what an LLM's or a provider's `url` says.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr())
    }

    /// Changes how it fails, from the next request on.
    pub fn set_fault(&self, fault: Fault) {
        self.manner.lock().unwrap().fault = fault;
    }

    /// Changes the words of its answers, from the next request on.
    pub fn set_text(&self, text: impl Into<String>) {
        self.manner.lock().unwrap().text = text.into();
    }

    /// Ends all connections; from then on its port refuses. What was counted stays.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Listens again on the same port.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// How many chat requests came, whole ones only.
    pub fn requests(&self) -> usize {
        self.chats().len()
    }

    /// The chat requests, in the order of their connections.
    pub fn chats(&self) -> Vec<Request> {
        self.server.look(|all| all.iter().flat_map(|c| &c.requests).filter(|r| is_chat(r)).cloned().collect())
    }

    /// The bodies of the chat requests.
    pub fn bodies(&self) -> Vec<Value> {
        self.chats().iter().map(Request::json).collect()
    }

    /// How many connections there were, with or without a request.
    pub fn connections(&self) -> usize {
        self.server.look(<[_]>::len)
    }

    /// How many bytes came, of all routes and of broken requests too.
    pub fn bytes_received(&self) -> usize {
        self.received().len()
    }

    /// Every byte that came, one connection after another.
    pub fn received(&self) -> Vec<u8> {
        self.server.look(|all| all.iter().flat_map(|c| c.received.clone()).collect())
    }

    /// Waits until `n` whole chat requests came, and gives the n-th.
    pub fn wait_for_request(&self, n: usize, limit: Duration) -> Request {
        self.server.wait(limit, &format!("chat request number {n}"), |all| {
            all.iter().flat_map(|c| &c.requests).filter(|r| is_chat(r)).nth(n.checked_sub(1)?).cloned()
        })
    }

    /// Waits until a client went away in the middle of an answer, and says when the first did.
    pub fn wait_for_cancel(&self, limit: Duration) -> Instant {
        self.server
            .wait(limit, "client that left in the middle", |all| all.iter().filter_map(|c| c.cancelled).min())
    }

    /// How many clients went away in the middle of an answer.
    pub fn cancels(&self) -> usize {
        self.server.look(|all| all.iter().filter(|c| c.cancelled.is_some()).count())
    }
}

fn is_chat(request: &Request) -> bool {
    request.target.ends_with("/chat/completions")
}

impl EngineBuilder {
    /// What is done to answer one request. Nothing here touches the connection.
    pub(crate) fn script(&self, request: &Request) -> Script {
        if let Fault::Loading = self.fault {
            return vec![json_answer(503, &wire::error("Loading model", 503))];
        }
        match (request.method.as_str(), request.target.as_str()) {
            ("GET", "/health") => vec![json_answer(200, &json!({"status": "ok"}))],
            // An error that is a string, not an object: vLLM's way.
            _ if !self.admits(request) => vec![json_answer(401, &json!({"error": "Unauthorized"}))],
            ("GET", "/v1/models") => {
                vec![json_answer(
                    200,
                    &json!({"object": "list", "data": [{"id": self.model, "object": "model"}]}),
                )]
            }
            ("POST", "/v1/chat/completions") => self.chat(request),
            ("POST", "/v1/completions") => vec![json_answer(200, &wire::text_completion(&self.text))],
            ("POST", "/v1/embeddings") => vec![json_answer(200, &wire::embedding(&[0.5, -0.25]))],
            ("POST", "/v1/responses") => vec![json_answer(200, &wire::response(&self.text))],
            _ => vec![json_answer(404, &json!({"detail": "Not Found"}))],
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        !matches!(self.fault, Fault::Loading)
    }

    /// Whether it has the model of a request; one that names none is content with any.
    pub(crate) fn serves(&self, model: &Value) -> bool {
        model.is_null() || *model == self.model.as_str()
    }

    pub(crate) fn admits(&self, request: &Request) -> bool {
        self.key.as_ref().is_none_or(|key| request.header("authorization") == Some(&format!("Bearer {key}")))
    }

    fn chat(&self, request: &Request) -> Script {
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return vec![json_answer(400, &wire::error("not JSON", 400))];
        };
        match &self.fault {
            Fault::Status(status, error) => vec![json_answer(*status, error)],
            Fault::EchoKey => {
                let key = request.header("authorization").unwrap_or_default().trim_start_matches("Bearer ");
                vec![json_answer(401, &wire::error(&format!("Incorrect API key provided: {key}"), 401))]
            }
            Fault::Html => {
                let headers = [("content-type", "text/html"), ("connection", "keep-alive")];
                vec![Step::Send(wire::http(200, &headers, "<html><h1>Back soon</h1></html>"))]
            }
            Fault::Raw(bytes) => vec![Step::Send(bytes.clone()), Step::Close],
            Fault::WaitAt(gate) => [vec![Step::WaitAt(gate.clone())], self.answer(&body)].concat(),
            _ => self.answer(&body),
        }
    }

    fn answer(&self, body: &Value) -> Script {
        if body["stream"] == true { self.streamed(body) } else { self.at_once(body) }
    }

    fn streamed(&self, body: &Value) -> Script {
        let mut script = vec![Step::Send(wire::sse_chunked_head()), send_event(&wire::role())];
        if is_endless(body) {
            let tick = |text| [send_event(&wire::content(text)), Step::Pause(TICK)];
            script.push(Step::Repeat([tick(" tick"), tick(" tock")].concat()));
            return script;
        }
        let words: Vec<String> = wire::words(&self.text).map(wire::content).collect();
        let (before, ending) = self.ending(words.len());
        for word in &words[..before.min(words.len())] {
            if let Fault::Drip(pause) = self.fault {
                script.push(Step::Pause(pause));
            }
            script.push(send_event(word));
        }
        match ending {
            Some(ending) => script.extend(ending),
            None => script.extend(self.proper_ending(body, words.len())),
        }
        script
    }

    /// After how many words the stream takes another turn, and which.
    fn ending(&self, words: usize) -> (usize, Option<Script>) {
        match &self.fault {
            Fault::CutAfter(n) => (*n, Some(vec![Step::Close])),
            Fault::ResetAfter(n) => (*n, Some(vec![Step::Reset])),
            Fault::HangAfter(n) => (*n, Some(vec![Step::Stall])),
            Fault::HugeLine(size) => {
                (0, Some(vec![Step::Send(wire::chunk(&vec![b'x'; *size])), Step::Stall]))
            }
            Fault::ErrorAfter { events, error, done } => {
                let mut ending = vec![send_event(&error.to_string())];
                ending.extend(done.then(|| send_event(wire::DONE)));
                ending.push(Step::Send(wire::LAST_CHUNK.to_vec()));
                (*events, Some(ending))
            }
            _ => (words, None),
        }
    }

    fn proper_ending(&self, body: &Value, words: usize) -> Script {
        let mut ending = Vec::new();
        ending.extend(self.finish_reason().map(|reason| send_event(&wire::finish(reason))));
        ending.extend(
            (body["stream_options"]["include_usage"] == true).then(|| send_event(&wire::usage(3, words))),
        );
        ending.extend((!matches!(self.fault, Fault::NoDone)).then(|| send_event(wire::DONE)));
        ending.push(Step::Send(wire::LAST_CHUNK.to_vec()));
        ending
    }

    fn at_once(&self, body: &Value) -> Script {
        let whole = kept_open(200, &wire::completion(&self.text, self.finish_reason()));
        let half = Step::Send(whole[..whole.len() - self.text.len()].to_vec());
        match &self.fault {
            _ if is_endless(body) => vec![Step::Stall],
            Fault::CutAfter(_) => vec![half, Step::Close],
            Fault::ResetAfter(_) => vec![half, Step::Reset],
            Fault::HangAfter(0) => vec![Step::Stall],
            Fault::HangAfter(_) | Fault::HugeLine(_) => vec![half, Step::Stall],
            Fault::ErrorAfter { error, .. } => vec![json_answer(500, error)],
            Fault::Drip(pause) => vec![Step::Drip { bytes: whole, size: 64, pause: *pause }],
            _ => vec![Step::Send(whole)],
        }
    }

    fn finish_reason(&self) -> Option<&str> {
        match &self.fault {
            Fault::NoFinishReason => None,
            Fault::FinishReason(reason) => Some(reason),
            _ => Some("stop"),
        }
    }
}

fn is_endless(body: &Value) -> bool {
    body["messages"].to_string().contains("[forever]")
}

fn json_answer(status: u16, body: &Value) -> Step {
    Step::Send(kept_open(status, body))
}

/// An answer after which the connection takes the next request, as with every real engine.
fn kept_open(status: u16, body: &Value) -> Vec<u8> {
    let headers = [("content-type", "application/json"), ("connection", "keep-alive")];
    wire::http(status, &headers, body.to_string())
}

fn send_event(data: &str) -> Step {
    Step::Send(wire::chunk(&wire::event(data)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exchange, Response, http::request_bytes};
    use std::{
        io::{self, ErrorKind},
        process::Command,
    };

    const SOON: Duration = Duration::from_secs(10);
    /// Role, ten words, finish reason, `[DONE]`.
    const WHOLE: usize = 13;

    fn open(engine: &Engine, prompt: &str, stream: bool, headers: &[(&str, &str)]) -> io::Result<Exchange> {
        let body =
            json!({"model": "tiny", "stream": stream, "messages": [{"role": "user", "content": prompt}]});
        let path = "/v1/chat/completions";
        Exchange::open(
            engine.addr(),
            &request_bytes("POST", path, engine.addr(), headers, body.to_string().as_bytes()),
        )
    }

    fn stream(fault: Fault) -> Response {
        open(&Engine::failing(fault), "hi", true, &[]).unwrap().finish()
    }

    fn words_in(events: &[String]) -> String {
        let word = |event: &String| {
            let event: Value = serde_json::from_str(event).ok()?;
            event["choices"][0]["delta"]["content"].as_str().map(ToOwned::to_owned)
        };
        events.iter().filter_map(word).collect()
    }

    #[test]
    fn a_whole_stream_has_words_a_reason_and_an_end() {
        let engine = Engine::start();
        let answer = open(&engine, "hi", true, &[]).unwrap().finish();
        let events = answer.events();
        assert!(answer.complete && events.len() == WHOLE, "{events:?}");
        assert_eq!(words_in(&events), TEXT);
        assert!(events[WHOLE - 2].contains(r#""finish_reason":"stop""#) && events[WHOLE - 1] == "[DONE]");
        assert_eq!((engine.requests(), engine.connections(), engine.cancels()), (1, 1, 0));
        assert_eq!(engine.bodies()[0]["messages"][0]["content"], "hi");
        assert!(engine.bytes_received() > engine.chats()[0].body.len());
    }

    #[test]
    fn an_answer_that_is_not_streamed_is_whole_too() {
        let answer: Value = open(&Engine::start(), "hi", false, &[]).unwrap().finish().json();
        assert_eq!(answer["choices"][0]["message"]["content"], TEXT);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    }

    #[test]
    fn a_cut_stream_has_just_the_words_before_the_cut() {
        for n in 0..=10 {
            let answer = stream(Fault::CutAfter(n));
            assert!(!answer.complete);
            let expected: String = wire::words(TEXT).take(n).collect();
            assert_eq!(words_in(&answer.events()), expected);
        }
    }

    #[test]
    fn a_reset_is_seen_as_one() {
        let engine = Engine::failing(Fault::ResetAfter(0));
        let mut exchange = open(&engine, "hi", true, &[]);
        let error = loop {
            match exchange.as_mut().map(Exchange::next_piece) {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => panic!("a proper end"),
                Ok(Err(error)) => break error.kind(),
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(error, ErrorKind::ConnectionReset);
    }

    #[test]
    fn endings_that_are_wrong_are_wrong_in_one_way_only() {
        let no_done = stream(Fault::NoDone).events();
        assert!(no_done.len() == WHOLE - 1 && no_done[WHOLE - 2].contains("stop"));
        let no_reason = stream(Fault::NoFinishReason).events();
        assert!(no_reason.len() == WHOLE - 1 && no_reason.last().unwrap() == "[DONE]");
        assert!(!no_reason.concat().contains("stop"));
        let length = stream(Fault::FinishReason("length".into())).events();
        assert!(length[WHOLE - 2].contains(r#""finish_reason":"length""#));
    }

    #[test]
    fn an_error_event_stands_where_it_was_asked_for() {
        let fault = |events, done| Fault::ErrorAfter { events, error: wire::error("engine died", 500), done };
        let before = stream(fault(0, false));
        assert!(before.complete && before.events()[1].contains("engine died") && before.events().len() == 2);
        let after = stream(fault(3, true)).events();
        assert!(after[4].contains("engine died") && after[5] == "[DONE]" && after.len() == 6);
    }

    #[test]
    fn a_client_that_leaves_is_noticed_at_once() {
        for (prompt, fault) in
            [("[forever]", Fault::None), ("hi", Fault::HangAfter(2)), ("hi", Fault::HangAfter(0))]
        {
            let engine = Engine::failing(fault);
            let mut exchange = open(&engine, prompt, true, &[]).unwrap();
            exchange.read_until("assistant");
            assert_eq!(engine.cancels(), 0);
            let left = Instant::now();
            drop(exchange);
            let noticed = engine.wait_for_cancel(SOON);
            assert!(noticed >= left && noticed - left < Duration::from_secs(1));
        }
    }

    #[test]
    fn a_key_is_needed_where_one_is_set_and_can_be_echoed() {
        let engine = Engine::builder().key("sk-right").start();
        let with = |key: &str| open(&engine, "hi", false, &[("authorization", key)]).unwrap().finish();
        assert_eq!(with("Bearer sk-right").status, 200);
        assert_eq!(with("Bearer sk-wrong").text(), r#"{"error":"Unauthorized"}"#);
        engine.set_fault(Fault::EchoKey);
        let echo = with("Bearer sk-right");
        assert!(echo.status == 401 && echo.text().contains("sk-right"));
    }

    #[test]
    fn a_stopped_engine_refuses_until_it_is_resumed() {
        let engine = Engine::start();
        engine.stop();
        assert_eq!(open(&engine, "hi", false, &[]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        engine.resume();
        assert_eq!(open(&engine, "hi", false, &[]).unwrap().finish().status, 200);
        assert_eq!(engine.requests(), 1);
    }

    #[test]
    fn stopping_and_resuming_does_not_mind_programs_that_start_meanwhile() {
        let engine = Engine::start();
        let start_many = || (0..100).for_each(|_| assert!(Command::new("true").status().unwrap().success()));
        std::thread::scope(|scope| {
            let starting = scope.spawn(start_many);
            while !starting.is_finished() {
                engine.stop();
                let refused = open(&engine, "hi", false, &[]).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
                engine.resume();
            }
        });
    }

    #[test]
    fn a_held_answer_comes_when_the_gate_opens() {
        let gate = Gate::new();
        let engine = Engine::failing(Fault::WaitAt(gate.clone()));
        std::thread::scope(|scope| {
            let client = scope.spawn(|| open(&engine, "hi", true, &[]).unwrap().finish().events().len());
            engine.wait_for_request(1, SOON);
            gate.open();
            assert_eq!(client.join().unwrap(), WHOLE);
        });
    }

    #[test]
    fn a_connection_carries_one_request_after_another() {
        let engine = Engine::start();
        let bytes = request_bytes("GET", "/health", engine.addr(), &[("connection", "keep-alive")], b"");
        let last = request_bytes("GET", "/v1/models", engine.addr(), &[], b"");
        let answer = Exchange::open(engine.addr(), &[bytes, last].concat()).unwrap();
        assert_eq!(answer.finish().text(), r#"{"status":"ok"}"#);
        engine.server.wait(SOON, "two requests", |all| (all[0].requests.len() == 2).then_some(()));
        assert_eq!((engine.connections(), engine.requests()), (1, 0));
    }
}
