//! Runs the command line and turns its end into an exit code.

use mcpd::{
    cli::{self, Cli},
    hardening,
};
use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    hardening::no_core_dumps();
    match Cli::read().run() {
        Ok(code) => code,
        Err(error) => {
            // A closed stderr leaves nobody to tell.
            let _ = writeln!(std::io::stderr(), "mcpd: {error:#}");
            cli::exit_of(&error)
        }
    }
}
