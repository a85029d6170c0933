//! Evidence for the bound, with the real programs: what is promised is judged by rules that share no code with them.
//!
//! | module | what it does |
//! |---|---|
//! | [`matrix`] | thousands of short runs, each with somebody in the middle who disturbs; each is judged |
//! | [`soak`] | mixed load for a long time, with kills; then everything is counted, compared and searched |
//! | [`person`], [`child`] | somebody with a home of their own, and one run of theirs |
//! | [`processes`] | what the kernel tells of processes |
//! | [`chance`] | random numbers that come again with the same seed |

#![expect(clippy::must_use_candidate, reason = "whoever asks for a value here uses it")]

pub mod chance;
pub mod child;
pub mod matrix;
pub mod person;
pub mod processes;
pub mod soak;

use std::fmt;

/// Tells whoever watches.
#[expect(clippy::print_stdout, reason = "this is what was asked for")]
pub(crate) fn say(what: fmt::Arguments<'_>) {
    println!("{what}");
}
