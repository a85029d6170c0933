//! A server whose PostgreSQL goes away, falls silent, is slow or is locked, and the network between them.

mod away;
mod commit;
mod killed;
mod lock;
mod migration;
mod patience;

use crate::cases::{CHAT, LIMIT, USES_CHAT, probe};
use fakes::{Engine, Mcpd, Postgres, WireProxy, wait_until};
use std::time::Duration;

/// As long may an answer take when the database gives none: the server's patience of 2 s, and time for a busy machine.
const BOUND: Duration = Duration::from_secs(4);

/// A server with a database behind a wire that can be cut, an LLM, and a user of it.
struct Stage {
    /// Dropped first.
    mcpd: Mcpd,
    token: String,
    engine: Engine,
    wire: WireProxy,
    postgres: Postgres,
}

impl Stage {
    /// None where there is no PostgreSQL.
    fn start() -> Option<Self> {
        let postgres = Postgres::start()?;
        let wire = WireProxy::before(postgres.addr());
        let engine = Engine::start();
        let mcpd = Mcpd::builder().on_url(postgres.url_at(wire.addr(), "mcpd")).start();
        mcpd.create_llm("chat", &engine.url());
        let token = mcpd.user_with("dana", USES_CHAT);
        Some(Self { mcpd, token, engine, wire, postgres })
    }

    fn probe(&self) -> u16 {
        probe(&self.mcpd, CHAT, &self.token).status
    }

    /// Waits until it works again, and that is without a restart.
    fn wait_for_recovery(&self) {
        wait_until(LIMIT, "the server works again", || self.probe() == 200);
    }
}
