//! `providers logs`: what an engine has said. However much that is, only a piece of it is in memory.

mod follow;
mod tail;

use super::roster::Roster;
use crate::{
    cmd::{Run, completion::Names},
    engine::{
        EngineError, Place,
        place::{LOGS, PlaceError},
    },
    exit::Exit,
    files::FileError,
    render::escape_lines,
};
use clap::Args;
use rustix::fs::OFlags;
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
};

/// Show the log of an engine, also after its end
///
/// Each line has its time in front. The log goes on from one start to the next, and its oldest part is dropped: at
/// most about 16 MiB are kept.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcpctl providers logs qwen-box --tail 20\n  mcpctl providers logs qwen-box -f\n\n\
                  Exit codes: 0, 3 there is no log because the engine was never started here, 2 no such provider."
)]
pub(crate) struct LogsArgs {
    /// The provider
    #[arg(add = Names::Engines)]
    name: String,
    /// Go on with what is logged from now on, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Only so many lines from the end
    #[arg(long, value_name = "N", value_parser = number)]
    tail: Option<u64>,
}

fn number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "give a number of lines, such as 20")
}

/// How much of a log is read at once, in bytes.
const PIECE: usize = 64 << 10;

pub(super) fn run(run: &mut Run<'_>, args: &LogsArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    Roster::of(run)?.check(&args.name)?;
    let none = |run: &mut Run<'_>| {
        run.warn(format_args!("{} has no log: it was never started here", args.name));
        Ok(Exit::No)
    };
    let Some(place) = Place::find(&run.env, &args.name).map_err(EngineError::from)? else { return none(run) };
    let (mut old, mut new) = open_both(&place)?;
    if old.is_none() && new.is_none() {
        return none(run);
    }
    if let Some(lines) = args.tail {
        tail::seek(&mut old, &mut new, lines)?;
    }
    let mut shown = Shown { for_eyes: run.io.out_is_terminal, rest: Vec::new(), out: run.io.out };
    for file in [&mut old, &mut new].into_iter().flatten() {
        shown.copy(file)?;
    }
    match new.or(old) {
        Some(current) if args.follow => follow::follow(&place, current, &mut shown),
        Some(_) | None => {
            shown.end()?;
            Ok(Exit::Ok)
        }
    }
}

/// The older part of a log and the one that is being written. What is put aside between the two looks is not missed.
fn open_both(place: &Place) -> Result<(Option<File>, Option<File>), EngineError> {
    loop {
        let new = open(place, LOGS[0])?;
        let old = open(place, LOGS[1])?;
        if !matches!((&old, &new), (Some(old), Some(new)) if is_same(old, new)) {
            return Ok((old, new));
        }
    }
}

fn open(place: &Place, name: &str) -> Result<Option<File>, EngineError> {
    match place.folder().open_private(name, OFlags::RDONLY) {
        Ok(file) => Ok(Some(file)),
        Err(FileError::Missing(_)) => Ok(None),
        Err(error) => Err(PlaceError::from(error).into()),
    }
}

fn is_same(one: &File, other: &File) -> bool {
    let number = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    number(one) == number(other)
}

/// Where a log is shown.
struct Shown<'a> {
    out: &'a mut dyn Write,
    /// Nothing may go there that a terminal obeys. A pipe gets every byte as it is.
    for_eyes: bool,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
}

impl Shown<'_> {
    /// Shows all that is left of a file.
    fn copy(&mut self, file: &mut File) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => self.take(&piece[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.for_eyes {
            return self.out.write_all(bytes);
        }
        self.rest.extend_from_slice(bytes);
        // A character that is cut in two would be shown as two that are none.
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole = if self.rest.len() > 2 * PIECE { self.rest.len() } else { whole };
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        self.out.write_all(escape_lines(&String::from_utf8_lossy(&lines)).as_bytes())
    }

    fn end(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        self.out.write_all(escape_lines(&String::from_utf8_lossy(&rest)).as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(for_eyes: bool, pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut shown = Shown { out: &mut out, for_eyes, rest: Vec::new() };
        for piece in pieces {
            shown.take(piece).unwrap();
        }
        shown.end().unwrap();
        out
    }

    #[test]
    fn s10_a_terminal_gets_nothing_that_it_would_obey_and_a_pipe_every_byte() {
        let pieces: &[&[u8]] = &[b"a\x1b[31mb\n\xc3", b"\xa4 \xff", b"end"];
        assert_eq!(shown(true, pieces), "a\u{fffd}[31mb\n\u{e4} \u{fffd}end".as_bytes());
        assert_eq!(shown(false, pieces), pieces.concat());
        // A line without an end is not kept until it ends.
        assert_eq!(shown(true, &[&vec![b'x'; 4 * PIECE]]).len(), 4 * PIECE);
    }
}
