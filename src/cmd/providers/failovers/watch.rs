//! The probe again and again. A terminal shows the last round; a pipe gets every round after the one before.

use super::probe::{self, Asker};
use crate::{
    cmd::{
        Run,
        columns::ColumnArgs,
        providers::{reader, times},
    },
    exit::Exit,
    render::Format,
};
use std::{collections::BTreeSet, mem, time::Duration};

/// To the first line of the terminal, with nothing on it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The columns of a table, unless others are asked for: what may change from round to round.
const SHOWN: [&str; 6] = ["CHECKED AT", "LLM", "PROVIDER", "PERMISSION", "ENGINE", "READY"];
/// What is said of a provider file that cannot be used.
const KEPT: &str = "watching the failovers as they were declared before";

/// Goes on until it is interrupted or nobody reads any more.
///
/// The provider file is read anew for each round; one that cannot be used, such as one that is just being saved, changes
/// nothing. So is the token when the server does not accept it any more.
pub(super) fn run(run: &mut Run<'_>, interval: Duration, columns: &ColumnArgs) -> anyhow::Result<Exit> {
    let mut view = run.view(columns, probe::COLUMNS)?;
    let format = view.format();
    if format == Format::Table && columns.columns.is_none() {
        view = view.with_columns(&SHOWN.map(str::to_owned))?;
    }
    let redraws = run.io.out_is_terminal && !run.is_dumb() && matches!(format, Format::Table | Format::Wide);
    let (mut file, mut asker) = (run.providers()?, Asker::new(run)?);
    let mut trouble = Vec::new();
    let mut told = BTreeSet::new();
    let mut is_first = true;
    loop {
        let round = asker.round(run, file.as_ref());
        let is_rejected = round.is_rejected;
        let (listing, notes) = round.listing(view.clone());
        if redraws {
            // The one thing that a terminal is to obey.
            run.io.out.write_all(CLEAR.as_bytes())?;
            told.clear();
        }
        if !is_first && format == Format::Yaml {
            run.say("---")?;
        }
        run.show(&listing)?;
        run.flush()?;
        if is_first && format == Format::Csv {
            // One line of titles is enough for other programs; people want them above each round.
            view = view.without_headers();
        }
        if listing.rows.is_empty() {
            trouble.push(probe::NOTHING_DECLARED.to_owned());
        }
        // What is still the same is not told again below what is still there.
        trouble.iter().filter(|line| !told.contains(*line)).for_each(|line| run.warn(line));
        notes.iter().filter(|line| !told.contains(*line)).for_each(|line| run.note(line));
        if redraws {
            run.note(format_args!("every {}; Ctrl-C ends", times::took_precisely(interval)));
        }
        told = notes.into_iter().chain(mem::take(&mut trouble)).collect();
        is_first = false;
        if reader::is_gone_within(interval) {
            return Ok(Exit::OutputClosed);
        }
        match run.providers() {
            Ok(now) => file = now,
            Err(error) => trouble.push(format!("{error}; {KEPT}")),
        }
        if is_rejected {
            match Asker::new(run) {
                Ok(again) => asker = again,
                Err(error) => trouble.push(error.to_string()),
            }
        }
    }
}
