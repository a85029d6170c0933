//! One connection through the proxy: a thread that waits for both sides and for news.

use super::{Lost, Shared, Weather, frontend::Frontend};
use crate::Gate;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::set_socket_linger,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

/// A peer that reads nothing for so long is none of PostgreSQL's, and the test has failed.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Pump {
    number: u64,
    client: TcpStream,
    shared: Arc<Shared>,
    frontend: Frontend,
    /// A trap has sprung: the next thing that the server says here is lost, and with it all connections.
    loses_answer: bool,
}

/// Why a connection ends: one side did, or the proxy cut it.
enum End {
    Closed,
    Cut,
}

impl Pump {
    pub(super) fn new(number: u64, client: TcpStream, shared: Arc<Shared>) -> Self {
        Self { number, client, shared, frontend: Frontend::default(), loses_answer: false }
    }

    pub(super) fn run(mut self) {
        let to = self.shared.state().to;
        let server = TcpStream::connect(to);
        let end = match &server {
            Ok(server) => self.pass(server).err().unwrap_or(End::Closed),
            Err(_) => End::Cut,
        };
        if let End::Cut = end {
            for side in [Some(&self.client), server.as_ref().ok()].into_iter().flatten() {
                set_socket_linger(side, Some(Duration::ZERO)).expect("the option is known");
            }
        }
    }

    /// Passes on until the end, and says which one.
    fn pass(&mut self, server: &TcpStream) -> Result<(), End> {
        for side in [&self.client, server] {
            let _peer_is_gone = side.set_nodelay(true);
            side.set_write_timeout(Some(WRITE_LIMIT)).expect("the option is known");
        }
        loop {
            let (_, news) = self.look()?;
            let [from_client, from_server] = ready(&self.client, server, &news);
            if from_client {
                let bytes = read(&self.client)?;
                self.wait_for_passage()?;
                self.send_to_server(&bytes, server)?;
            }
            if from_server {
                let bytes = read(server)?;
                self.wait_for_passage()?;
                self.send_to_client(&bytes)?;
            }
        }
    }

    /// The weather, and the gate that opens when it changes; the end if this connection is to be cut.
    fn look(&self) -> Result<(Weather, Gate), End> {
        let state = self.shared.state();
        if self.number < state.cut_before { Err(End::Cut) } else { Ok((state.weather, state.news.clone())) }
    }

    /// Holds a piece back for as long as it has to take.
    fn wait_for_passage(&self) -> Result<(), End> {
        let since = Instant::now();
        loop {
            let (Weather::Slow(time), news) = self.look()? else { return Ok(()) };
            let left = time.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            wait(&mut [PollFd::new(news.signal(), PollFlags::IN)], Some(left));
        }
    }

    fn send_to_server(&mut self, bytes: &[u8], mut server: &TcpStream) -> Result<(), End> {
        for message in self.frontend.take(bytes) {
            // Under one lock, so that whatever is switched is switched between two messages.
            let mut state = self.shared.state();
            if self.number < state.cut_before {
                return Err(End::Cut);
            }
            match state.count(message.executes.as_deref()) {
                Some(Lost::Message) => {
                    state.cut_all();
                    state.tell();
                    return Err(End::Cut);
                }
                Some(Lost::Answer) => self.loses_answer = true,
                None => {}
            }
            let swallows = state.weather == Weather::Swallowing;
            drop(state);
            if !swallows {
                server.write_all(&message.bytes).map_err(|_| End::Closed)?;
            }
        }
        Ok(())
    }

    fn send_to_client(&mut self, bytes: &[u8]) -> Result<(), End> {
        let (weather, _) = self.look()?;
        if self.loses_answer {
            self.shared.switch(super::State::cut_all);
            return Err(End::Cut);
        }
        if weather == Weather::Swallowing {
            return Ok(());
        }
        (&self.client).write_all(bytes).map_err(|_| End::Closed)
    }
}

/// What has come; the end if nothing more will.
fn read(mut from: &TcpStream) -> Result<Vec<u8>, End> {
    let mut piece = vec![0; 16 << 10];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Err(End::Closed),
            Ok(read) => {
                piece.truncate(read);
                return Ok(piece);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(End::Cut),
        }
    }
}

/// Waits for either side, or for news.
fn ready(client: &TcpStream, server: &TcpStream, news: &Gate) -> [bool; 2] {
    let mut fds = [
        PollFd::new(client, PollFlags::IN),
        PollFd::new(server, PollFlags::IN),
        PollFd::new(news.signal(), PollFlags::IN),
    ];
    wait(&mut fds, None);
    [!fds[0].revents().is_empty(), !fds[1].revents().is_empty()]
}

fn wait(fds: &mut [PollFd<'_>], limit: Option<Duration>) {
    let limit: Option<Timespec> = limit.map(|limit| limit.try_into().expect("a time that fits"));
    match poll(fds, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => panic!("poll: {error}"),
    }
}
