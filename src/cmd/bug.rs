//! Panics: bugs of this program. They end it with one line, and are never taken for an outage of the server.
//!
//! The line says where, not what: the text of a panic can hold what the code was working on.

use crate::exit::Exit;
use std::{
    cell::Cell,
    fmt,
    io::{self, Write},
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    process, thread,
};

thread_local! {
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// A panic, as an error.
#[derive(Debug)]
pub struct Bug {
    /// File, line and column.
    place: Option<String>,
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("internal: a bug of mcpctl")?;
        self.place.as_ref().map_or(Ok(()), |place| write!(f, " at {place}"))?;
        f.write_str("; please report it")
    }
}

impl std::error::Error for Bug {}

/// Runs a command; a panic in it becomes its error.
///
/// What the panic left half done is not used any more, except for telling what happened.
pub(super) fn caught<T>(command: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| Err(Bug { place: PLACE.take() }.into()))
}

/// The hook for panics. In the main thread it keeps the place for [`run`](super::run) to tell; any other thread ends
/// the program here, because those who wait for it would take its silence for an end.
pub fn at_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    if thread::current().name() == Some("main") {
        PLACE.set(place);
    } else {
        // Nobody reads stderr: the exit code still tells.
        let _ = writeln!(io::stderr(), "error: {}", Bug { place });
        process::exit(Exit::Internal.code().into());
    }
}
