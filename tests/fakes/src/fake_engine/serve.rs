//! The connections of the program: what comes is noted byte by byte, what goes is what [`Engine`](crate::Engine)
//! would say, unless a fault was ordered.

use super::{
    command_line::Part,
    listener::{Listener, Socket},
    log,
    program::{LOOK, Playing, die},
    settings::Hang,
};
use crate::{Request, Script, Step, http::Head, server::wait_beside, wire};
use serde_json::{Value, json};
use std::{
    cell::Cell,
    io::{self, BufReader, ErrorKind, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

/// After so many pieces of a stream it is in its middle: the head, the role and some words.
const MIDDLE: usize = 5;

/// Serves everybody who comes from now on.
pub(super) fn listen(listener: Listener, playing: &Arc<Playing>) {
    let (listener, playing) = (Arc::new(listener), Arc::clone(playing));
    playing.listeners.lock().unwrap().push(Arc::clone(&listener));
    thread::spawn(move || {
        while !playing.frozen.load(Ordering::SeqCst) {
            let Ok(socket) = listener.accept() else { continue };
            let playing = Arc::clone(&playing);
            thread::spawn(move || {
                let _peer_is_gone = Peer { playing: &playing, socket, chatting: false }.serve();
            });
        }
    });
}

/// One connection. Reading notes what came.
struct Peer<'a> {
    playing: &'a Playing,
    socket: Box<dyn Socket>,
    /// Whether it is being answered with more than a word.
    chatting: bool,
}

impl Read for Peer<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.read(into)?;
        self.playing.notes.append("requests", &into[..read]);
        Ok(read)
    }
}

impl AsFd for Peer<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Peer<'_> {
    /// An error means that the peer went away.
    fn serve(self) -> io::Result<()> {
        let mut wire = BufReader::new(self);
        while let Some(head) = Head::read(&mut wire)? {
            if head.headers.first("expect").is_some() {
                wire.get_mut().socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let request = head.with_body(&mut wire)?;
            wire.get_mut().answer(&request)?;
        }
        Ok(())
    }

    fn answer(&mut self, request: &Request) -> io::Result<()> {
        let playing = self.playing;
        if playing.frozen.load(Ordering::SeqCst) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let answers = playing.answers();
        match (request.method.as_str(), request.target.as_str()) {
            ("POST", "/v1/chat/completions") => self.chat(request),
            ("GET", "/health") if playing.settings.hang == Some(Hang::Health) => self.hang(),
            ("GET", "/health") => match playing.health() {
                Some(status) => self.send(&kept_open(status, "application/json", "")),
                None => self.play(&answers.script(request), None),
            },
            ("GET", "/metrics") if answers.is_ready() => {
                // One of them protects all but `/health`, the other nothing but `/v1`.
                if playing.told.part == Part::Llama && !answers.admits(request) {
                    return self.send_json(401, &wire::error("Invalid API Key", 401));
                }
                if !playing.told.metrics {
                    let error = wire::error("This server does not support metrics endpoint.", 501);
                    return self.send_json(501, &error);
                }
                self.send(&kept_open(200, "text/plain; version=0.0.4", &self.metrics()))
            }
            _ => self.play(&answers.script(request), None),
        }
    }

    fn chat(&mut self, request: &Request) -> io::Result<()> {
        let (playing, answers) = (self.playing, self.playing.answers());
        let body = serde_json::from_slice::<Value>(&request.body);
        let body = body.unwrap_or_else(|_| json!(String::from_utf8_lossy(&request.body)));
        playing.notes.line("chats", &body.to_string());
        if !answers.is_ready() || !answers.admits(request) {
            return self.play(&answers.script(request), None);
        }
        if playing.told.part == Part::Vllm && !answers.serves(&body["model"]) {
            let message = format!("The model {} does not exist.", body["model"]);
            return self.send_json(404, &wire::error(&message, 404));
        }
        let _running = Running::new(playing);
        let number = playing.chats.fetch_add(1, Ordering::SeqCst) + 1;
        make_noise(playing);
        if playing.settings.hang == Some(Hang::Chat) {
            return self.hang();
        }
        let middle = self.middle_of(number, body["stream"] == true);
        self.chatting = true;
        self.play(&answers.script(request), middle.as_ref())?;
        self.chatting = false;
        Ok(())
    }

    /// What is to happen in the middle of the answer to the n-th chat.
    fn middle_of(&self, number: usize, stream: bool) -> Option<Middle> {
        let settings = &self.playing.settings;
        let turn = match &settings.chat_gate {
            _ if settings.die_in_chat == Some(number) => Turn::Die,
            Some(gate) => Turn::WaitFor(gate.clone()),
            None => return None,
        };
        Some(Middle { pieces_left: Cell::new(if stream { MIDDLE } else { 0 }), turn })
    }

    /// Does what the script says.
    fn play(&mut self, script: &Script, middle: Option<&Middle>) -> io::Result<()> {
        for step in script {
            if self.chatting && self.playing.frozen.load(Ordering::SeqCst) {
                return self.hang();
            }
            match step {
                Step::Send(bytes) => {
                    if let Some(turn) = middle.and_then(Middle::turn) {
                        self.take(turn)?;
                    }
                    self.send(bytes)?;
                }
                Step::Pause(time) => self.wait(Some(*time))?,
                Step::Stall => self.hang()?,
                Step::Repeat(steps) => loop {
                    self.play(steps, middle)?;
                },
                other => unreachable!("an engine without a fault does not {other:?}"),
            }
        }
        Ok(())
    }

    fn take(&mut self, turn: &Turn) -> io::Result<()> {
        match turn {
            Turn::Die => die(),
            Turn::WaitFor(gate) => {
                while !gate.exists() {
                    self.wait(Some(LOOK))?;
                }
                Ok(())
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    fn send_json(&mut self, status: u16, body: &Value) -> io::Result<()> {
        self.send(&kept_open(status, "application/json", &body.to_string()))
    }

    /// Says nothing until the peer goes.
    fn hang(&mut self) -> io::Result<()> {
        self.wait(None)
    }

    fn wait(&mut self, time: Option<Duration>) -> io::Result<()> {
        wait_beside(&*self, time, None)
    }

    fn metrics(&self) -> String {
        let (told, running) = (&self.playing.told, self.playing.running.load(Ordering::SeqCst));
        let metrics = match told.part {
            Part::Vllm => {
                let label = format!("{{engine=\"0\",model_name=\"{}\"}}", told.name);
                vec![
                    (format!("vllm:num_requests_running{label}"), format!("{running}.0")),
                    (format!("vllm:num_requests_waiting{label}"), "0.0".to_owned()),
                ]
            }
            Part::Llama => vec![
                ("llamacpp:requests_processing".to_owned(), running.to_string()),
                ("llamacpp:requests_deferred".to_owned(), "0".to_owned()),
            ],
        };
        metrics.iter().fold(String::new(), |text, (name, value)| {
            let bare = name.split('{').next().unwrap_or_default();
            text + &format!("# HELP {bare} Number of requests.\n# TYPE {bare} gauge\n{name} {value}\n")
        })
    }
}

/// The middle of an answer, where it takes another turn.
struct Middle {
    pieces_left: Cell<usize>,
    turn: Turn,
}

enum Turn {
    Die,
    WaitFor(PathBuf),
}

impl Middle {
    /// Counts a piece of the answer. None before the middle.
    fn turn(&self) -> Option<&Turn> {
        let left = self.pieces_left.get();
        self.pieces_left.set(left.saturating_sub(1));
        (left == 0).then_some(&self.turn)
    }
}

/// A chat that is being answered, for the metrics.
struct Running<'a>(&'a Playing);

impl<'a> Running<'a> {
    fn new(playing: &'a Playing) -> Self {
        playing.running.fetch_add(1, Ordering::SeqCst);
        Self(playing)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let were = self.0.running.fetch_sub(1, Ordering::SeqCst);
        if were == 1 && self.0.frozen.load(Ordering::SeqCst) {
            self.0.end_well();
        }
    }
}

fn make_noise(playing: &Playing) {
    let line = log::plain(playing.told.part, &format!("noise {}", "x".repeat(60)));
    (0..playing.settings.noise.div_ceil(line.len() + 1)).for_each(|_| log::say(&line));
}

fn kept_open(status: u16, kind: &str, body: &str) -> Vec<u8> {
    wire::http(status, &[("content-type", kind), ("connection", "keep-alive")], body)
}
