//! `help` and `version`.

mod topics;

use super::{Run, Usage, command_line, completion::Names};
use crate::{
    exit::Exit,
    render::{Document, Format},
    yaml,
};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

/// Explain a command, or one of: exit-codes, environment, failover, credentials, output, providers, scripts
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mcpctl help failover\n  mcpctl help providers start")]
pub(super) struct HelpArgs {
    /// A command, or a topic
    #[arg(add = Names::Topics)]
    topic: Vec<String>,
}

pub(super) fn run(run: &mut Run<'_>, args: &HelpArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let words: Vec<&str> = args.topic.iter().map(String::as_str).collect();
    let topic = match words[..] {
        [word] => topics::text(word),
        [topic, more, ..] if topics::NAMES.contains(&topic) && !is_command(topic) => {
            let wrong = format!("the topic {topic} has no \"{more}\"; see mcpctl help {topic}");
            return Err(Usage(wrong).into());
        }
        _ => None,
    };
    let text = match topic {
        Some(text) => topics::wrapped(&text, run.io.width),
        None => command_help(&words)?,
    };
    run.print(&text)?;
    Ok(Exit::Ok)
}

fn is_command(word: &str) -> bool {
    command_line().find_subcommand(word).is_some()
}

/// What `help` can be asked for with one word.
pub(super) fn topics() -> Vec<String> {
    let topics = topics::NAMES.iter().map(|topic| (*topic).to_owned());
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
    for (at, word) in path.iter().enumerate() {
        let known = here.find_subcommand(word).is_some();
        if !known {
            let mut known: Vec<&str> = here.get_subcommands().map(clap::Command::get_name).collect();
            known.extend(topics::NAMES.iter().filter(|_| at == 0));
            let near =
                yaml::nearest(word, &known).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            let wrong = format!("no command or topic is called \"{word}\"{near}; see mcpctl --help");
            return Err(Usage(wrong).into());
        }
        here = here.find_subcommand_mut(word).ok_or_else(|| Usage("no such command".into()))?;
    }
    Ok(here.render_long_help().to_string())
}
