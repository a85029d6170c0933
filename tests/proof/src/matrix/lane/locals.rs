//! Everybody local who could stand in, and how much each of them has got.

use super::super::{
    axes::{Local, Rights},
    cell::Cell,
};
use fakes::{Engine, FakeEngine};
use std::path::Path;

/// What the provider that runs already answers.
pub(crate) const LAPTOP: &str = "Hello from the laptop.";
/// What engines answer that are started.
pub(crate) const ENGINE: &str = "The tiny model answers with exactly these ten plain words.";

/// All of them.
pub(super) struct Locals {
    laptop: Engine,
    cold: FakeEngine,
    /// Does not get ready before it is told to.
    pub(super) slow: FakeEngine,
    pub(super) warm: FakeEngine,
}

/// How much they had got at some moment.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    laptop: usize,
    laptop_chats: usize,
    cold: Noted,
    slow: Noted,
    warm: Noted,
}

/// How much an engine has noted.
#[derive(Clone, Copy)]
struct Noted {
    bytes: usize,
    chats: usize,
    starts: usize,
}

/// What they have got since then.
#[derive(Debug, Default)]
pub(crate) struct Got {
    /// Every byte, but for the engine that runs all the time.
    pub(crate) bytes: Vec<u8>,
    /// Every byte that the engine got that runs all the time; somebody asks it for its health.
    pub(crate) warm: Vec<u8>,
    /// Chats of all of them.
    pub(crate) chats: usize,
    /// Engines that were started.
    pub(crate) starts: usize,
}

impl Noted {
    fn of(engine: &FakeEngine) -> Self {
        Self { bytes: engine.requests().len(), chats: engine.chats().len(), starts: engine.starts().len() }
    }
}

impl Mark {
    fn chats(&self) -> usize {
        self.laptop_chats + self.cold.chats + self.slow.chats + self.warm.chats
    }

    /// How often the engine was started that does not get ready.
    pub(super) fn slow_starts(&self) -> usize {
        self.slow.starts
    }
}

impl Locals {
    pub(super) fn new() -> Self {
        Self {
            laptop: Engine::builder().text(LAPTOP).start(),
            cold: FakeEngine::vllm(),
            slow: FakeEngine::vllm().gated(),
            warm: FakeEngine::vllm(),
        }
    }

    /// The entries of the provider file; none where there is to be no file.
    pub(super) fn entries(&self, cell: &Cell<'_>, llm: &str) -> Option<String> {
        let laptop = |name| crate::person::openai_entry(name, llm, &self.laptop.url());
        match cell.local {
            Local::Nobody => None,
            Local::Openai => Some(laptop("laptop")),
            Local::ManagedCold if cell.rights == Rights::RevokedDuringStart => {
                Some(self.slow.provider("slow", llm, ""))
            }
            Local::ManagedCold => Some(self.cold.provider("cold", llm, "")),
            Local::ManagedWarm => Some(self.warm.provider("warm", llm, "")),
            Local::TwoClaims => Some([laptop("laptop"), laptop("tablet")].concat()),
            Local::BrokenFile => Some(format!("{}    failoverFro: x\n", laptop("laptop"))),
        }
    }

    /// The engine that is to be found running does run.
    pub(super) fn is_warm(&self) -> bool {
        self.warm.starts().last().copied().is_some_and(fakes::alive)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            laptop: self.laptop.bytes_received(),
            laptop_chats: self.laptop.requests(),
            cold: Noted::of(&self.cold),
            slow: Noted::of(&self.slow),
            warm: Noted::of(&self.warm),
        }
    }

    pub(super) fn got_since(&self, before: &Mark) -> Got {
        let now = self.mark();
        let mut bytes = self.laptop.received().split_off(before.laptop);
        bytes.extend(self.cold.requests().split_off(before.cold.bytes));
        bytes.extend(self.slow.requests().split_off(before.slow.bytes));
        Got {
            bytes,
            warm: self.warm.requests().split_off(before.warm.bytes),
            chats: now.chats() - before.chats(),
            starts: now.cold.starts + now.slow.starts - before.cold.starts - before.slow.starts,
        }
    }

    /// Where the engines noted what they got, as far as there is anything.
    pub(super) fn notes(&self) -> Vec<&Path> {
        let all = [&self.cold, &self.slow, &self.warm].map(FakeEngine::notes);
        all.into_iter().filter(|notes| notes.exists()).collect()
    }
}
