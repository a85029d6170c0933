//! The probe again and again. A terminal shows the last round; a pipe gets every round after the one before.

use super::probe;
use crate::{
    cmd::{Run, columns::ColumnArgs, providers::reader},
    exit::Exit,
    render::Format,
};
use std::{collections::BTreeSet, time::Duration};

/// To the first line of the terminal, with nothing on it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Goes on until it is interrupted, nobody reads any more, or nothing can be asked any more.
///
/// The provider file, the context and the token are read anew in each round: who watches changes them meanwhile.
pub(super) fn run(run: &mut Run<'_>, interval: Duration, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let mut view = run.view(columns, probe::COLUMNS)?;
    let format = view.format();
    let redraws = run.io.out_is_terminal && !run.is_dumb() && matches!(format, Format::Table | Format::Wide);
    let mut told = BTreeSet::new();
    let mut is_first = true;
    loop {
        let (listing, notes) = probe::round(run)?.listing(view.clone());
        if redraws {
            run.print(CLEAR)?;
            told.clear();
        }
        if !is_first && format == Format::Yaml {
            run.say("---")?;
        }
        run.show(&listing)?;
        run.flush()?;
        if is_first && !redraws {
            // One line of titles is enough.
            view = view.without_headers();
        }
        // What is still the same is not told again below what is still there.
        for note in notes.iter().filter(|note| !told.contains(*note)) {
            run.note(note);
        }
        told = notes.into_iter().collect();
        is_first = false;
        if reader::is_gone_within(interval) {
            return Ok(Exit::OutputClosed);
        }
    }
}
