//! The server as the client of one run sees it: somebody who disturbs, or nobody at all.

use super::super::{
    cell::Cell,
    front::{OnlyOnce, Wires},
    primary::Way,
    probe,
};
use anyhow::Result;
use fakes::{Blackhole, Evild, Refusing};

/// The server as the client sees it.
pub(super) struct Server {
    pub(super) url: String,
    front: Option<Evild>,
    /// Held, so that the address stays what it is.
    _held: Held,
}

#[expect(dead_code, reason = "held, and ended with the run")]
enum Held {
    Nothing,
    Port(Refusing),
    Hole(Blackhole),
    Once(OnlyOnce),
}

impl Server {
    pub(super) fn start(cell: &Cell<'_>, wires: &Wires<'_>) -> Result<Self> {
        let scheme = if cell.secured { "https" } else { "http" };
        let at = |addr, front, held| Ok(Self { url: format!("{scheme}://{addr}"), front, _held: held });
        let first = match &cell.primary.way {
            Way::Refused => {
                let port = Refusing::new();
                return at(port.addr(), None, Held::Port(port));
            }
            Way::Swallowed => {
                let hole = Blackhole::new();
                return at(hole.addr(), None, Held::Hole(hole));
            }
            Way::Behind(_) => wires.passing_on(),
            Way::Before(script) => script(wires),
        };
        match &cell.probe.way {
            probe::Way::Refused => {
                let front = Evild::start([first]);
                let once = OnlyOnce::to(front.addr())?;
                at(once.addr(), Some(front), Held::Once(once))
            }
            probe::Way::Script(second) => {
                let front = Evild::start([first, second(wires), wires.passing_on()]);
                at(front.addr(), Some(front), Held::Nothing)
            }
        }
    }

    /// Requests for permission that arrived whole.
    pub(super) fn probes(&self) -> usize {
        let requests = self.front.iter().flat_map(Evild::requests);
        requests.filter(|request| request.method == "HEAD").count()
    }
}
