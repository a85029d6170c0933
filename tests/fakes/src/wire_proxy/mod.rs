//! The network between a client of PostgreSQL and its server, with faults that are switched on and off: for the
//! connections that are open and for those that come.
//!
//! It passes whole messages of the client on, and counts them; what the server says passes through as it comes.
//!
//! ```no_run
//! use fakes::{Mcpd, Postgres, WireProxy};
//! let Some(postgres) = Postgres::start() else { return fakes::required("PostgreSQL") };
//! let wire = WireProxy::before(postgres.addr());
//! let mcpd = Mcpd::builder().on_url(postgres.url_at(wire.addr(), "mcpd")).start();
//! wire.black_hole();
//! ```

mod frontend;
mod pump;

use crate::{Gate, Refusing};
use pump::Pump;
use rustix::net::{Shutdown, shutdown};
use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// A TCP proxy. Ends all its connections when it is dropped.
#[derive(Debug)]
pub struct WireProxy {
    /// The port is ours also while nobody listens there.
    port: Refusing,
    shared: Arc<Shared>,
    listening: Mutex<Option<(Arc<TcpListener>, JoinHandle<()>)>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    to: SocketAddr,
    weather: Weather,
    /// Opens when anything here is switched, so that whoever waits looks again.
    news: Gate,
    /// Connections with a lower number are to be reset.
    cut_before: u64,
    trap: Option<Trap>,
    connections: u64,
    messages: u64,
    executed: HashMap<String, u64>,
    pumps: Vec<JoinHandle<()>>,
}

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Clear,
    /// Each piece waits for so long in each direction.
    Slow(Duration),
    /// Nothing gets through, and nobody is told.
    Swallowing,
}

/// Springs at one message of the clients, counted from 1, and then is gone.
#[derive(Debug, Clone, Copy)]
struct Trap {
    at_message: u64,
    loses: Lost,
}

/// What is lost at the message where a trap springs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    Message,
    Answer,
}

impl WireProxy {
    /// Stands before a server, which need not be there yet.
    pub fn before(to: SocketAddr) -> Self {
        let state = State {
            to,
            weather: Weather::Clear,
            news: Gate::new(),
            cut_before: 0,
            trap: None,
            connections: 0,
            messages: 0,
            executed: HashMap::new(),
            pumps: Vec::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let proxy = Self { port: Refusing::new(), shared, listening: Mutex::new(None) };
        proxy.listen();
        proxy
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Ends every fault. Connections from which something was swallowed are reset: the rest would make no sense.
    pub fn pass(&self) {
        self.shared.switch(|state| {
            if state.weather == Weather::Swallowing {
                state.cut_before = state.connections;
            }
            state.weather = Weather::Clear;
            state.trap = None;
        });
        self.listen();
    }

    /// Resets all connections and refuses new ones.
    pub fn refuse(&self) {
        if let Some((listener, acceptor)) = self.listening().take() {
            shutdown(&listener, Shutdown::Both).expect("a listener can be shut down");
            acceptor.join().expect("accepting does not fail");
        }
        self.cut();
    }

    /// Resets all connections. New ones pass.
    pub fn cut(&self) {
        self.shared.switch(State::cut_all);
    }

    /// Resets all connections. New ones get to another server, as after a change of its name's address.
    pub fn lead_to(&self, to: SocketAddr) {
        self.shared.switch(|state| {
            state.to = to;
            state.cut_all();
        });
    }

    /// Makes each piece take so long, in each direction.
    pub fn delay(&self, each_way: Duration) {
        self.shared.switch(|state| state.weather = Weather::Slow(each_way));
    }

    /// Keeps connections open, takes new ones, and swallows all that comes.
    pub fn black_hole(&self) {
        self.shared.switch(|state| state.weather = Weather::Swallowing);
    }

    /// Resets all connections instead of passing on the `n`th message of the clients from now, counted from 1. New
    /// connections pass.
    pub fn cut_before_message(&self, n: u64) {
        self.lay(n, Lost::Message);
    }

    /// Passes the `n`th message of the clients from now on, and resets all connections instead of passing on the next
    /// thing that the server says there: it has done what nobody hears of.
    pub fn cut_before_answer_to(&self, n: u64) {
        self.lay(n, Lost::Answer);
    }

    /// Says whether a cut that was asked for at a message is still to come.
    pub fn is_to_cut(&self) -> bool {
        self.shared.state().trap.is_some()
    }

    fn lay(&self, n: u64, loses: Lost) {
        self.shared.switch(|state| state.trap = Some(Trap { at_message: state.messages + n, loses }));
    }

    /// Waits until all connections that came so far have ended; then all that was said there is counted.
    pub fn settle(&self) {
        let pumps = std::mem::take(&mut self.shared.state().pumps);
        for pump in pumps {
            pump.join().expect("the proxy itself has failed");
        }
    }

    /// How many connections came so far.
    pub fn connections(&self) -> u64 {
        self.shared.state().connections
    }

    /// How many messages of clients came so far, also those that were not passed on.
    pub fn messages(&self) -> u64 {
        self.shared.state().messages
    }

    /// How often a statement with this text in it was to be executed, prepared or not.
    pub fn executed(&self, text: &str) -> u64 {
        let state = self.shared.state();
        state.executed.iter().filter(|(statement, _)| statement.contains(text)).map(|(_, times)| times).sum()
    }

    fn listen(&self) {
        let mut listening = self.listening();
        if listening.is_none() {
            let listener = Arc::new(TcpListener::bind(self.addr()).expect("the port is ours"));
            let acceptor = thread::spawn({
                let (listener, shared) = (Arc::clone(&listener), Arc::clone(&self.shared));
                move || accept(&listener, &shared)
            });
            *listening = Some((listener, acceptor));
        }
    }

    fn listening(&self) -> MutexGuard<'_, Option<(Arc<TcpListener>, JoinHandle<()>)>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WireProxy {
    fn drop(&mut self) {
        self.refuse();
        let pumps = std::mem::take(&mut self.shared.state().pumps);
        for pump in pumps {
            let ended = pump.join();
            assert!(ended.is_ok() || thread::panicking(), "the proxy itself has failed");
        }
    }
}

/// Takes connections until the listener is shut down.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept() {
        let mut state = shared.state();
        let number = state.connections;
        state.connections += 1;
        let shared = Arc::clone(shared);
        state.pumps.push(thread::spawn(move || Pump::new(number, client, shared).run()));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn switch(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.tell();
    }
}

impl State {
    fn cut_all(&mut self) {
        self.cut_before = self.connections;
    }

    fn tell(&mut self) {
        std::mem::replace(&mut self.news, Gate::new()).open();
    }

    /// Counts a message, and says what is lost with it if a trap springs here.
    fn count(&mut self, executes: Option<&str>) -> Option<Lost> {
        self.messages += 1;
        if let Some(text) = executes {
            *self.executed.entry(text.to_owned()).or_default() += 1;
        }
        let springs = self.trap.filter(|trap| trap.at_message == self.messages)?;
        self.trap = None;
        Some(springs.loses)
    }
}
