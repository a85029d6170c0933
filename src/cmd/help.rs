//! `help` and `version`.

use super::{Run, Usage, command_line, completion::Names};
use crate::{
    environment::VARIABLES,
    exit::Exit,
    render::{Document, Format},
    yaml,
};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write as _;

/// Explain a command, or one of: exit-codes, environment, failover
#[derive(Debug, Args)]
pub(super) struct HelpArgs {
    /// A command, or a topic
    #[arg(add = Names::Topics)]
    topic: Vec<String>,
}

pub(super) fn run(run: &mut Run<'_>, args: &HelpArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let words: Vec<&str> = args.topic.iter().map(String::as_str).collect();
    let text = match &words[..] {
        ["exit-codes"] => exit_codes(),
        ["environment"] => environment(),
        ["failover"] => FAILOVER.to_owned(),
        path => command_help(path)?,
    };
    run.print(&text)?;
    Ok(Exit::Ok)
}

const TOPICS: &[&str] = &["exit-codes", "environment", "failover"];

/// What `help` can be asked for with one word.
pub(super) fn topics() -> Vec<String> {
    let topics = TOPICS.iter().map(|topic| (*topic).to_owned());
    let commands = command_line();
    let commands = commands.get_subcommands().map(|command| command.get_name().to_owned());
    topics.chain(commands).collect()
}

/// The version of this program.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VersionDocument {
    /// As in `mcpctl version`.
    version: &'static str,
}

impl Document for VersionDocument {
    const KIND: &'static str = "Version";
}

pub(super) fn version(run: &mut Run<'_>) -> anyhow::Result<Exit> {
    let format = run.format(Format::Text, &[Format::Text, Format::Json])?;
    let version = env!("CARGO_PKG_VERSION");
    match format {
        Format::Json => run.show_document(&VersionDocument { version }, format)?,
        _ => run.say(format_args!("mcpctl {version}"))?,
    }
    Ok(Exit::Ok)
}

fn command_help(path: &[&str]) -> anyhow::Result<String> {
    let mut command = command_line();
    command.build();
    let mut here = &mut command;
    for word in path {
        let known = here.find_subcommand(word).is_some();
        if !known {
            let mut known: Vec<&str> = here.get_subcommands().map(|command| command.get_name()).collect();
            known.extend(TOPICS);
            let near =
                yaml::nearest(word, &known).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            let wrong = format!("no command or topic is called \"{word}\"{near}; see mcpctl --help");
            return Err(Usage(wrong).into());
        }
        here = here.find_subcommand_mut(word).ok_or_else(|| Usage("no such command".into()))?;
    }
    Ok(here.render_long_help().to_string())
}

fn exit_codes() -> String {
    let mut text = String::from("Exit codes are chosen by what the caller should do next:\n\n");
    for (code, name, meaning) in Exit::table() {
        let _ = writeln!(text, "{code:>4}  {name:<12} {meaning}");
    }
    text
}

fn environment() -> String {
    let mut text =
        String::from("Environment variables; a flag wins over a variable, a variable over the config:\n\n");
    for (name, meaning) in VARIABLES {
        let _ = writeln!(text, "  {name:<26} {meaning}");
    }
    text
}

const FAILOVER: &str = "\
When does a local provider answer instead of the server?

1. `mcpctl infer LLM` asks the server. Only if its inference path fails before the first piece of an answer
   (no connection, 5xx, the upstream's own 429, silence) goes it on. A 401, 403, 404, any other 4xx, a limit of
   yours, a wrong certificate, a redirect, or an answer that broke off in the middle ends it right there.
2. The provider file must say `failoverFor: LLM`. See: mcpctl providers failovers
3. The server is asked again, with your token: may this caller still run this LLM (HEAD /api/v1/llms/LLM)?
   Only a clear yes counts. No, no answer in 3 seconds, or anything odd: the error of step 1 is reported, and
   the provider gets not one byte.
4. The provider answers, a note on stderr says so, and -o json says \"failover\": true. The engine of a managed
   provider is started for this if none runs; if that takes longer than a permission is good for, step 3 is done
   again. It serves all commands of this user and stops idleTimeoutMinutes after the last request.

Try it without an outage: mcpctl infer LLM \"hi\" --route local. Check it: mcpctl providers failovers --probe.
To save the wait, start an engine before: mcpctl providers start NAME. How it is: mcpctl providers status.
The gate is cooperative: whoever owns a machine can always call their own model by hand.
";
