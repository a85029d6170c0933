//! Parse, run, exit.

use mcpctl::{
    cmd::{self, Io},
    environment::Environment,
    hardening,
};
use std::{
    io::{self, IsTerminal},
    os::fd::AsFd,
    panic,
};
use terminal_size::{Width, terminal_size_of};

fn main() {
    hardening::no_core_dumps();
    if let Some(code) = cmd::hidden(&std::env::args_os().collect::<Vec<_>>()) {
        std::process::exit(code.into());
    }
    let env = Environment::of_process();
    if let Some(code) = cmd::complete(&std::env::args_os().collect::<Vec<_>>(), &env, &mut io::stdout()) {
        std::process::exit(code.into());
    }
    panic::set_hook(Box::new(cmd::at_panic));
    // Stderr is not locked: a bug in another thread must be able to say so.
    let (mut input, mut out, mut err) = (io::stdin().lock(), io::stdout().lock(), io::stderr());
    let io = Io {
        input_is_terminal: input.is_terminal(),
        out_is_terminal: out.is_terminal(),
        err_is_terminal: err.is_terminal(),
        width: width(io::stdout()),
        err_width: width(io::stderr()),
        input: &mut input,
        out: &mut out,
        err: &mut err,
    };
    let exit = cmd::run(std::env::args_os(), env, io);
    // Not a return: that would wait for threads that still wait for a connection.
    std::process::exit(exit.code().into());
}

/// How many characters fit in a line of a terminal, if this is one that tells.
fn width(stream: impl AsFd) -> Option<u16> {
    terminal_size_of(stream).map(|(Width(width), _)| width).filter(|width| *width > 0)
}
