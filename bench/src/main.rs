//! `mcp-bench`: the stub upstream, the load, and the run that compares. See `bench/README.md`.

mod client;
mod load;
mod process;
mod stub;

use clap::{Parser, Subcommand};
use load::Target;
use std::net::SocketAddr;

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
        Command::Load { address, path, token, model, connections, seconds, rate, prompt, stream, pid } => {
            let target = Target { address, path, token };
            let request = target.request(&model, prompt, stream);
            let load = load::by_flags(connections, seconds, rate);
            let outcome = runtime.block_on(load.run(&target, request, pid))?;
            serde_json::to_writer_pretty(std::io::stdout(), &outcome)?;
            Ok(())
        }
    }
}
