//! `mcp-bench`: the stub upstream, the load, and the run that compares. See `bench/README.md`.

#![expect(clippy::print_stderr, reason = "whoever waits for a quarter of an hour is told how far it is")]

mod client;
mod commands;
mod load;
mod process;
mod report;
mod results;
mod run;
mod scenarios;
mod stub;
mod systems;
mod targets;

use clap::{Parser, Subcommand};
use load::Target;
use run::Plan;
use scenarios::Extent;
use std::{
    ffi::OsString,
    io::{Write, stdout},
    net::SocketAddr,
    path::PathBuf,
};

#[derive(Debug, Parser)]
#[command(about, version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve as an upstream whose answers cost nothing; the model's name says what they are: `t16-l0-d0-s200` has 16
    /// tokens, a latency of 0 us, a delay of 0 us between tokens, and 200 bytes of text if it is no stream
    Stub {
        #[arg(long, default_value = "127.0.0.1:4455")]
        listen: SocketAddr,
    },
    /// Measure everything that is on this machine, in turn
    Run {
        /// Three minutes instead of ten
        #[arg(long)]
        quick: bool,
        /// Only see that it starts and that answers are whole
        #[arg(long, conflicts_with = "quick")]
        smoke: bool,
        /// Where the programs of other people are
        #[arg(long, default_value = ".tools")]
        tools: PathBuf,
        /// Where the page is written to; to the standard output without it
        #[arg(long)]
        out: Option<PathBuf>,
        /// Where the figures are written to
        #[arg(long, default_value = "target/bench/raw.json")]
        raw: PathBuf,
        /// Where the explanations of missed goals are
        #[arg(long, default_value = "bench/why")]
        why: PathBuf,
    },
    /// Run a command, and print how much memory it took at most, in KiB
    #[command(hide = true)]
    Once {
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
    /// Ask one address for a while, and print as JSON what came of it
    Load {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long, default_value = "/v1/chat/completions")]
        path: String,
        #[arg(long, default_value = "")]
        token: String,
        #[arg(long, default_value_t = load::plain())]
        model: String,
        #[arg(long, default_value_t = 64)]
        connections: usize,
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
        /// Requests a second, over all connections
        #[arg(long)]
        rate: Option<u32>,
        /// Bytes of text in each prompt
        #[arg(long, default_value_t = 100)]
        prompt: usize,
        #[arg(long)]
        stream: bool,
        /// The process whose time and memory are measured
        #[arg(long)]
        pid: Option<u32>,
    },
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match Args::parse().command {
        Command::Stub { listen } => runtime.block_on(stub::serve(listen)),
        Command::Run { quick, smoke, tools, out, raw, why } => {
            let (extent, rounds, runs) = match (smoke, quick) {
                (true, _) => (Extent::Smoke, 1, 2),
                (_, true) => (Extent::Quick, 1, 20),
                _ => (Extent::Whole, 3, 100),
            };
            // Paths are relative to where it was started, and a program is not.
            let tools = std::path::absolute(tools)?;
            run::run(&Plan { extent, rounds, runs, tools, out, raw, why }, &runtime)
        }
        Command::Once { command } => Ok(writeln!(stdout(), "{}", commands::once(&command)?)?),
        Command::Load { address, path, token, model, connections, seconds, rate, prompt, stream, pid } => {
            let target = Target { path, ..Target::new(address, &token) };
            let request = target.request(&model, prompt, stream);
            let load = load::by_flags(connections, seconds, rate);
            let outcome = runtime.block_on(load.run(&target, request, pid))?;
            serde_json::to_writer_pretty(stdout(), &outcome)?;
            Ok(())
        }
    }
}
