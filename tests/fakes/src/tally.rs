//! What all tests of a run have looked at together, for a page about it.

use std::{env, fs::OpenOptions, io::Write};

/// Adds a number to what a run counts, as a line of the file that `MCPCTL_TEST_TALLY` names; nothing without it.
pub fn tally(what: &str, number: u64) {
    let Some(path) = env::var_os("MCPCTL_TEST_TALLY") else { return };
    // One write a line, at the end, whoever else writes: many processes count at once.
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(format!("{what}\t{number}\n").as_bytes()));
    written.expect("the tally can be written");
}
