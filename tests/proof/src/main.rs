//! `mcp-proof`: runs what proves the bound. Exit 1 if anything was found.

use clap::{Parser, Subcommand};
use mcp_proof::{matrix, soak};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about, version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Thousands of questions that meet faults, with every right and every provider; each is judged
    Matrix(matrix::Args),
    /// Mixed load with random kills of everything; afterwards nothing is lost, left over or in disagreement
    Soak(soak::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    match Args::parse().command {
        Command::Matrix(args) => matrix::run(&args),
        Command::Soak(args) => soak::run(&args),
    }
}
