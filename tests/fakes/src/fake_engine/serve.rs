//! The connections of the program: what comes is noted byte by byte, what goes is what [`Engine`](crate::Engine)
//! would say, unless a fault was ordered.

use super::{
    command_line::{Address, Part},
    log,
    program::{Playing, die},
    settings::Hang,
};
use crate::{Request, Script, Step, http::Head, server::wait_beside, wire};
use rustix::net::shutdown;
use serde_json::{Value, json};
use std::{
    io::{self, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

/// After so many pieces of a stream it is in its middle: the head, the role and some words.
const MIDDLE: usize = 5;

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(super) fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address).map(Self::Tcp),
            Address::Unix(path) => UnixListener::bind(path).map(Self::Unix),
        }
    }

    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Self::Unix(_) => None,
        }
    }

    fn accept(&self) -> io::Result<Box<dyn Socket>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (socket, _) = listener.accept()?;
                let _peer_is_gone = socket.set_nodelay(true);
                Box::new(socket)
            }
            Self::Unix(listener) => Box::new(listener.accept()?.0),
        })
    }

    /// Accepts nobody any more.
    pub(super) fn refuse(&self) {
        let listener = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        };
        shutdown(listener, rustix::net::Shutdown::Both).expect("a listener can be shut down");
    }
}

trait Socket: Read + Write + AsFd + Send {}
impl Socket for TcpStream {}
impl Socket for UnixStream {}

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
        let dies = playing.settings.die_in_chat == Some(number);
        let pieces_left = if body["stream"] == true { MIDDLE } else { 0 };
        self.chatting = true;
        self.play(&answers.script(request), dies.then_some(pieces_left).as_mut())?;
        self.chatting = false;
        Ok(())
    }

    /// Does what the script says. With a number of pieces, the program dies when it has sent so many.
    fn play(&mut self, script: &Script, mut pieces_left: Option<&mut usize>) -> io::Result<()> {
        for step in script {
            if self.chatting && self.playing.frozen.load(Ordering::SeqCst) {
                return self.hang();
            }
            match step {
                Step::Send(bytes) => {
                    match pieces_left.as_deref_mut() {
                        Some(0) => die(),
                        Some(left) => *left -= 1,
                        None => {}
                    }
                    self.send(bytes)?;
                }
                Step::Pause(time) => self.wait(Some(*time))?,
                Step::Stall => self.hang()?,
                Step::Repeat(steps) => loop {
                    self.play(steps, pieces_left.as_deref_mut())?;
                },
                other => unreachable!("an engine without a fault does not {other:?}"),
            }
        }
        Ok(())
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
