//! What a command does next to get an engine it can use: pure, so that every situation can be walked.
//!
//! Look at what is there ([`Sight`]), do what [`next`] says, look again. What makes this safe is not that each look is
//! up to date, but three facts about locks that the kernel keeps (the exploration in the tests walks them with a crash
//! at every step):
//!
//! - an engine is started only by the holder of the lock `alive`, after it has ended what a predecessor left behind;
//! - an engine is asked to end for idleness only by a supervisor that holds the lock `use` alone;
//! - whoever uses an engine or waits for it shares `use`, so that neither happens to them.

/// Where the engine of the last record is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// No start was ever recorded.
    None,
    /// Not ready yet.
    Loading,
    /// It answers, or did.
    Ready,
    /// It lets nobody begin.
    Stopping,
    /// It is gone, in order.
    Ended,
    /// It is gone because something is wrong with it.
    Failed,
}

/// Whether a ready engine does answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// Nobody has asked it yet.
    Unasked,
    /// It does, or is too busy to say.
    Well,
    /// It does not, or says that it is dead.
    Dead,
}

/// What a command sees.
#[expect(clippy::struct_excessive_bools, reason = "four facts that are independent of each other")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sight {
    /// Somebody holds the lock `alive`.
    pub supervised: bool,
    /// What the record says.
    pub stage: Stage,
    /// The record is of the start that this command has waited for.
    pub awaited: bool,
    /// What runs is what is declared now.
    pub as_declared: bool,
    /// Whether it answers.
    pub health: Health,
    /// This command may still replace an engine that has died.
    pub may_restart: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    /// Start a supervisor, which starts the engine.
    Start,
    /// Go on waiting for the start.
    Wait,
    /// Stop using it, wait until it is gone, and look again.
    StandBack,
    /// Ask it whether it answers.
    AskHealth,
    /// Use it.
    Use,
    /// It is dead: have it ended at once.
    Restart,
    /// It is another one than declared: have it ended when it is done.
    Replace,
    /// It cannot be had.
    GiveUp,
}

/// Says what to do in a situation.
#[must_use]
pub fn next(sight: Sight) -> Next {
    use Stage::{Ended, Failed, Loading, None, Ready, Stopping};
    match (sight.supervised, sight.stage) {
        // Just begun, or about to end: what it writes next will tell.
        (true, None | Ended | Failed | Stopping) => Next::StandBack,
        (true, Loading | Ready) if !sight.as_declared => Next::Replace,
        (true, Loading) => Next::Wait,
        (true, Ready) => match sight.health {
            Health::Unasked => Next::AskHealth,
            Health::Well => Next::Use,
            Health::Dead if sight.may_restart => Next::Restart,
            Health::Dead => Next::GiveUp,
        },
        // The start that we waited for went wrong; it would again.
        (false, Failed) if sight.awaited => Next::GiveUp,
        // Its supervisor was killed. What it left behind is ended by the next one.
        (false, Loading | Ready | Stopping) if sight.awaited && !sight.may_restart => Next::GiveUp,
        (false, None | Loading | Ready | Stopping | Ended | Failed) => Next::Start,
    }
}

#[cfg(test)]
mod tests;
