//! Several servers on one PostgreSQL: what one of them acknowledges holds on all, at once.

mod failover;
mod revocation;
mod standby;

use crate::cases::{INFER, probe, prompt};
use fakes::{Engine, Mcpd, Postgres};
use serde_json::json;
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// Two servers, their database and the upstream of the LLMs that they know.
struct Pair {
    /// Dropped first.
    mcpds: [Mcpd; 2],
    engine: Engine,
    postgres: Postgres,
    /// Two such tests beside each other would measure how busy the machine is.
    _alone: MutexGuard<'static, ()>,
}

impl Pair {
    /// None where there is no PostgreSQL.
    fn start() -> Option<Self> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let postgres = Postgres::start()?;
        let first = Mcpd::builder().on(&postgres).start();
        let second = Mcpd::builder().joining(&first).start();
        Some(Self { mcpds: [first, second], engine: Engine::start(), postgres, _alone: alone })
    }

    /// One after the other, so that both are asked for everything.
    fn either(&self) -> &Mcpd {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        &self.mcpds[TURN.fetch_add(1, Ordering::Relaxed) % self.mcpds.len()]
    }
}

/// One use of an LLM: every second time really, else only the question whether it is allowed. Gives the status.
fn uses(mcpd: &Mcpd, llm: &str, token: &str, really: bool) -> u16 {
    if really {
        let infer = INFER.replace("chat", llm);
        mcpd.api("POST", &infer, token, &prompt(json!({}))).status
    } else {
        probe(mcpd, &format!("/api/v1/llms/{llm}"), token).status
    }
}
