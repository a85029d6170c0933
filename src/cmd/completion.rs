//! `completion`: what a shell needs to complete command lines, and the answers to its questions.
//!
//! A shell asks while somebody types: whatever goes wrong is an answer without candidates, and nothing is ever said
//! about it.

mod names;

pub(super) use names::Names;

use super::{Global, Run, command_line};
use crate::{environment::Environment, exit::Exit};
use clap::{Args, Command, FromArgMatches, ValueEnum};
use clap_complete::{
    engine::{ArgValueCompleter, CompletionCandidate},
    env::{Bash, EnvCompleter, Fish, Zsh},
};
use names::Typed;
use std::{
    ffi::{OsStr, OsString},
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

/// The variable by which the scripts ask.
const VARIABLE: &str = "_MCPCTL_COMPLETE";

/// Nobody waits longer for a list of names.
const LIMIT: Duration = Duration::from_millis(200);

/// Print the script by which a shell completes commands, flags and names
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  source <(mcpctl completion bash)                                        # now, in this shell\n  \
                  mcpctl completion bash > ~/.local/share/bash-completion/completions/mcpctl\n  \
                  mcpctl completion zsh > ~/.zfunc/_mcpctl                                # with ~/.zfunc in fpath\n  \
                  mcpctl completion fish > ~/.config/fish/completions/mcpctl.fish\n\n\
                  Names of LLMs come from the server, within 0.2 s and with the token at hand; if that fails, from the \
                  provider file. A tokenCommand is never run for it."
)]
pub(super) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Shells that can be helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// GNU Bash, 4.4 or later for the best of it.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Self::Bash => &Bash,
            Self::Zsh => &Zsh,
            Self::Fish => &Fish,
        }
    }
}

pub(super) fn run(run: &mut Run<'_>, args: &CompletionArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let mut script = Vec::new();
    args.shell.completer().write_registration(VARIABLE, "mcpctl", "mcpctl", "mcpctl", &mut script)?;
    run.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

/// Answers a shell's question, if this is one: `_MCPCTL_COMPLETE=SHELL mcpctl -- WORD...`.
pub fn answer(args: &[OsString], env: &Environment, out: &mut dyn Write) -> Option<u8> {
    let deadline = Instant::now() + LIMIT;
    // Nothing but a script of ours calls it like this: the variable alone keeps nobody from a command.
    let shell = Shell::from_str(env.var(VARIABLE)?, true).ok()?;
    let [_, dashes, words @ ..] = args else { return None };
    if dashes != "--" || words.is_empty() {
        return None;
    }
    let typed = Arc::new(Typed::new(env.clone(), globals(words), words.to_vec(), deadline));
    let mut command = command_line();
    command.build();
    let mut command = with_names(command, &typed);
    let folder = std::env::current_dir().ok();
    let mut answer = Vec::new();
    if shell.completer().write_complete(&mut command, words.to_vec(), folder.as_deref(), &mut answer).is_ok()
    {
        let _ = out.write_all(&answer).and_then(|()| out.flush());
    }
    Some(Exit::Ok.code())
}

/// The flags of every command, as far as they were typed already.
fn globals(words: &[OsString]) -> Option<Global> {
    let matches = command_line().ignore_errors(true).try_get_matches_from(words).ok()?;
    Global::from_arg_matches(&matches).ok()
}

/// The command with candidates for every argument that is marked with [`Names`]. Flags are offered where there is
/// nothing else to offer.
fn with_names(command: Command, typed: &Arc<Typed>) -> Command {
    let with_candidates = |mut arg: clap::Arg| {
        if let Some(names) = arg.get::<Names>().copied() {
            let typed = Arc::clone(typed);
            arg = arg.add(ArgValueCompleter::new(move |begun: &OsStr| {
                let begun = begun.to_str().unwrap_or_default();
                let named = typed.names(names, begun).into_iter();
                named.filter(|name| name.starts_with(begun)).map(CompletionCandidate::new).collect::<Vec<_>>()
            }));
        }
        if arg.is_positional() { arg } else { arg.hide(true) }
    };
    command.mut_args(with_candidates).mut_subcommands(|command| with_names(command, typed))
}
