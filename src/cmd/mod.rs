//! The command line: what can be said, and one match that says who does it.

mod apply;
mod audit;
mod auth;
mod bug;
mod columns;
mod completion;
mod config;
mod delete;
mod delivery;
mod diff;
mod doctor;
mod explain;
mod failover_journal;
mod failover_words;
mod formats;
mod get;
mod help;
mod infer;
mod llm;
mod man;
mod meant;
mod permission;
mod providers;
mod run;
mod since;
mod start_progress;
mod token;
mod waiting;

pub(crate) use auth::Held;
pub use bug::{Bug, at_panic};
pub use completion::answer as complete;
pub use infer::InferFailure;
pub(crate) use providers::StartFailed;
pub use run::{Failure, Io, Run, Usage};

use crate::{engine::supervisor, environment::Environment, exit::Exit, render::Format, schemas};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use completion::Names;
use schemars::Schema;
use std::{ffi::OsString, path::PathBuf};

/// Ask language models through the central server mcpd. If its inference path is down, a local provider that is
/// declared as failover answers instead, but only after the server has confirmed that you may still use the model.
#[derive(Debug, Parser)]
#[command(
    name = "mcpctl",
    version,
    disable_help_subcommand = true,
    infer_subcommands = false,
    max_term_width = 100,
    styles = run::STYLES
)]
#[command(
    after_help = "Start with: mcpctl config set-context NAME --server URL, then mcpctl auth login --token-stdin.\n\
                        More: mcpctl help exit-codes | environment | failover | credentials | output | providers | scripts"
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Use this context instead of the current one
    #[arg(long, global = true, value_name = "NAME", add = Names::Contexts)]
    pub context: Option<String>,
    /// Use this server instead of that of a context
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Read the token from this file (yours alone, chmod 600); a token itself is never a flag
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Use this provider file
    #[arg(long, global = true, value_name = "FILE")]
    pub providers: Option<PathBuf>,
    /// How the answer is shown
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// No notes and warnings on stderr; errors stay
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more on stderr
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Also in a pipe.
    Always,
    /// Not at all.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Infer(infer::InferArgs),
    /// Show the LLMs of the server
    #[command(subcommand)]
    Llm(llm::LlmCommand),
    /// Show and check the local providers, start and stop their engines
    #[command(subcommand)]
    Providers(providers::ProvidersCommand),
    Get(get::GetArgs),
    Apply(apply::ApplyArgs),
    Diff(diff::DiffArgs),
    Delete(delete::DeleteArgs),
    Explain(explain::ExplainArgs),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Log in, log out, and see what you may do
    #[command(subcommand)]
    Auth(auth::AuthCommand),
    /// Read the server's audit trail, and check that nobody changed it
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Say which servers there are, and which one is meant
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Completion(completion::CompletionArgs),
    Man(man::ManArgs),
    Doctor(doctor::DoctorArgs),
    /// Show the version of this program
    #[command(after_help = "Examples:\n  mcpctl version\n  mcpctl version -o json | jq -r .version")]
    Version,
    Help(help::HelpArgs),
}

/// Everything that can be said.
fn command_line() -> clap::Command {
    formats::told(Cli::command())
}

fn parsed(args: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = command_line();
    let parsed = command.try_get_matches_from_mut(args).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| error.format(&mut command))
}

/// A question, if the words are one and nothing is wrong with them: to describe all the other commands takes longer
/// than to ask. What is said by this smaller command line means the same in the whole one, which has the last word on
/// everything else, mistakes and `--help` too.
fn question(args: &[OsString]) -> Option<Cli> {
    if !args.iter().skip(1).any(|word| word == INFER) {
        return None;
    }
    let line = Global::augment_args(clap::Command::new("mcpctl"))
        .disable_help_subcommand(true)
        .subcommand(infer::InferArgs::augment_args(clap::Command::new(INFER)));
    let matches = formats::told(line).try_get_matches_from(args).ok()?;
    let (INFER, infer) = matches.subcommand()? else { return None };
    let command = Command::Infer(infer::InferArgs::from_arg_matches(infer).ok()?);
    Some(Cli { global: Global::from_arg_matches(&matches).ok()?, command })
}

const INFER: &str = "infer";

/// Runs the two commands that are no commands for people: those by which this program is an engine's supervisor, and
/// becomes the engine.
pub fn hidden(args: &[OsString]) -> Option<u8> {
    match args.get(1).and_then(|word| word.to_str()) {
        Some(supervisor::COMMAND) => Some(supervisor::run()),
        Some(supervisor::TRAMPOLINE) => Some(supervisor::become_engine(&args[2..])),
        Some(_) | None => None,
    }
}

/// Runs one command line. `args` includes the name of the program.
///
/// A panic ends the command where it is: it is told like any error, and nothing else is tried.
pub fn run(args: impl IntoIterator<Item = OsString>, env: Environment, mut io: Io<'_>) -> Exit {
    let args: Vec<_> = args.into_iter().collect();
    let cli = match question(&args).map_or_else(|| parsed(&args), Ok) {
        Ok(cli) => cli,
        Err(error) => return run::show_usage(&error, &args, &env, &mut io),
    };
    let mut run = Run::new(cli.global, env, io);
    let ended = bug::caught(|| dispatch(&mut run, cli.command).and_then(|exit| run.flush().map(|()| exit)));
    let exit = match ended {
        Ok(exit) => exit,
        Err(error) => run.show_error(&error),
    };
    run.tell_ending();
    delivery::deliver(&mut run);
    exit
}

/// The schema of everything that `-o json` can print, by its `kind`.
pub(crate) fn documents() -> Vec<(&'static str, Schema)> {
    vec![
        schemas::one::<apply::ApplyResult>(),
        schemas::one::<apply::DeleteResult>(),
        schemas::one::<run::ErrorDocument<'static>>(),
        schemas::one::<help::VersionDocument>(),
        schemas::list::<mcp_api::AuditEntry>(),
        schemas::one::<audit::AuditVerification>(),
        schemas::list::<auth::AuthStatusItem>(),
        schemas::one::<auth::CanIDocument>(),
        schemas::one::<crate::config::Config>(),
        schemas::list::<config::ContextItem>(),
        schemas::one::<infer::Inference<'static>>(),
        schemas::one::<infer::InferenceEvent<'static>>(),
        schemas::one::<infer::InferencePlan<'static>>(),
        schemas::list::<doctor::Finding>(),
        schemas::list::<llm::LlmItem>(),
        schemas::one::<llm::LlmDocument>(),
        schemas::one::<llm::VerdictDocument>(),
        schemas::one::<mcp_api::TokenCreated>(),
        schemas::list::<mcp_api::TokenInfo>(),
        schemas::one::<mcp_api::Whoami>(),
        schemas::one::<providers::ProviderDocument>(),
        schemas::list::<providers::ProviderItem>(),
        schemas::list::<providers::StatusItem>(),
        schemas::list::<providers::FailoverItem>(),
        schemas::list::<providers::ProbeItem>(),
        schemas::list::<providers::DrillItem>(),
        schemas::list::<crate::journal::Event>(),
    ]
}

fn dispatch(run: &mut Run<'_>, command: Command) -> anyhow::Result<Exit> {
    let is_doctor = matches!(command, Command::Doctor(_));
    if let Some(name) = run.env.unreadable().filter(|_| !is_doctor) {
        return Err(Usage(format!("the value of {name} is not UTF-8 text")).into());
    }
    match command {
        Command::Infer(args) => infer::run(run, &args),
        Command::Llm(command) => llm::run(run, command),
        Command::Providers(command) => providers::run(run, &command),
        Command::Get(args) => get::get(run, &args),
        Command::Apply(args) => apply::apply(run, &args),
        Command::Diff(args) => diff::diff(run, &args),
        Command::Delete(args) => delete::delete(run, &args),
        Command::Explain(args) => explain::explain(run, &args),
        Command::Token(command) => token::run(run, command),
        Command::Auth(command) => auth::run(run, command),
        Command::Audit(command) => audit::run(run, command),
        Command::Config(command) => config::run(run, command),
        Command::Completion(args) => completion::run(run, &args),
        Command::Man(args) => man::run(run, &args),
        Command::Doctor(args) => doctor::run(run, &args),
        Command::Version => help::version(run),
        Command::Help(args) => help::run(run, &args),
    }
}

#[cfg(test)]
mod tests;
