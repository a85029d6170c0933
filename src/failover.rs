//! When a local provider may stand in for the central server: [`Attempt`] -> [`Probe`] -> [`Permit`].
//!
//! Nothing here does I/O, reads a clock or knows HTTP as more than numbers. Each step consumes the one before, so
//! that the wrong order does not compile: a stand-in can only be reached through a [`Permit`], a permit only comes
//! from an allowed [`Verdict`], and a verdict can only be [judged](Verdict::judge) from what the server said. A permit
//! ages: only a [`Fresh`] one is worth a prompt.

mod fault;
#[cfg(test)]
mod tests;
mod verdict;

pub use fault::{CallFailure, Delivered, Fault, PrimaryState, RemoteError, Told, Unreachable};
pub use verdict::{Asked, Denial, Doubt, ProbeReply, Verdict};

use crate::sabotage;
use std::{fmt, time::Duration};

/// The age at which a permit is worth nothing any more. An engine may take minutes to load, and a right can be revoked
/// meanwhile.
pub const PERMIT_LIFETIME: Duration = Duration::from_secs(10);

/// The primary has not been asked yet.
///
/// `S` is whatever describes the stand-in; this module never looks into it.
#[must_use = "an attempt that is dropped lets nobody answer"]
pub struct Attempt<S> {
    stand_in: Result<S, NoStandIn>,
}

/// The primary failed in a way that allows to ask: may this caller still use this LLM?
#[must_use = "ask the server, then say what it answered"]
pub struct Probe<S> {
    cause: CallFailure,
    stand_in: S,
}

/// Proof that the server said yes to this caller, for this LLM, after the primary had failed.
pub struct Permit<S> {
    cause: CallFailure,
    stand_in: S,
}

/// A permit that was young enough a moment ago: send the prompt now.
pub struct Fresh<S>(Permit<S>);

/// Why nobody could stand in, whatever the server would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoStandIn {
    /// No provider says `failoverFor` this LLM.
    NotDeclared,
    /// Failovers are declared by name, and the caller gave an id.
    AskedById,
    /// The caller said `--route central`.
    RouteCentral,
    /// The provider file cannot be used.
    FileUnusable,
    /// The declared provider is the central server itself; carries the provider's name.
    IsCentral(String),
}

impl fmt::Display for NoStandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDeclared => f.write_str("no provider declared for this LLM"),
            Self::AskedById => f.write_str("failovers are declared by name; ask for the LLM by its name"),
            Self::RouteCentral => f.write_str("--route central forbids a failover"),
            Self::FileUnusable => f.write_str("the provider file cannot be used (mcpctl providers validate)"),
            Self::IsCentral(provider) => write!(f, "provider \"{provider}\" is the central server itself"),
        }
    }
}

/// The primary failed and nothing took over: both facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaveUp {
    /// What the primary did.
    pub cause: CallFailure,
    /// Why nothing took over.
    pub why: Why,
}

/// Why nothing took over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// What the primary did leaves no room for a stand-in.
    Final,
    /// There is none.
    NoStandIn(NoStandIn),
    /// The server says that the caller may not use the LLM.
    Denied(Denial),
    /// The server could not be asked, or its answer proves nothing.
    Unverified(Doubt),
}

impl<S> Attempt<S> {
    /// Starts: call this before the primary is asked.
    pub fn new(stand_in: Result<S, NoStandIn>) -> Self {
        Self { stand_in }
    }

    /// Takes what the primary did instead of answering, and says whether it is worth asking for permission.
    pub fn failed(self, cause: CallFailure) -> Result<Probe<S>, GaveUp> {
        if !cause.may_fail_over() {
            return Err(GaveUp { cause, why: Why::Final });
        }
        match self.stand_in {
            Ok(stand_in) => Ok(Probe { cause, stand_in }),
            Err(none) => Err(GaveUp { cause, why: Why::NoStandIn(none) }),
        }
    }
}

impl<S> Probe<S> {
    /// Takes the server's answer. Only an allowed verdict makes a permit.
    pub fn answered(self, verdict: Verdict) -> Result<Permit<S>, GaveUp> {
        let Self { cause, stand_in } = self;
        match verdict.into_outcome() {
            Ok(()) => Ok(Permit { cause, stand_in }),
            Err(why) => Err(GaveUp { cause, why }),
        }
    }

    /// What the primary did.
    #[must_use]
    pub fn cause(&self) -> &CallFailure {
        &self.cause
    }
}

impl<S> Permit<S> {
    /// Says whether it still holds, at an age counted from the question to the server, the machine's sleep included.
    /// One that is too old becomes the question again.
    pub fn fresh(self, age: Duration) -> Result<Fresh<S>, Probe<S>> {
        if age <= PERMIT_LIFETIME || sabotage::NO_SECOND_PROBE {
            return Ok(Fresh(self));
        }
        let Self { cause, stand_in } = self;
        Err(Probe { cause, stand_in })
    }

    /// Who stands in.
    #[must_use]
    pub fn stand_in(&self) -> &S {
        &self.stand_in
    }

    /// What the primary did.
    #[must_use]
    pub fn cause(&self) -> &CallFailure {
        &self.cause
    }
}

impl<S> Fresh<S> {
    /// The permit.
    #[must_use]
    pub fn permit(&self) -> &Permit<S> {
        &self.0
    }

    /// The permit, for another try that will have to ask for its age again.
    #[must_use]
    pub fn into_permit(self) -> Permit<S> {
        self.0
    }
}
