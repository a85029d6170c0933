//! `man`: the manual pages, made from the same text as `--help`.

use super::{Run, Usage, command_line};
use crate::exit::Exit;
use clap::{Args, Command, ValueHint};
use clap_mangen::Man;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Write the manual pages into a folder, one for each command
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcpctl man ~/.local/share/man/man1\n  mcpctl man . && man ./mcpctl-infer.1\n\n\
                  The same program writes the same bytes."
)]
pub(super) struct ManArgs {
    /// Where they go; it is made if it does not exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

pub(super) fn run(run: &mut Run<'_>, args: &ManArgs) -> anyhow::Result<Exit> {
    run.takes_no_format()?;
    let folder = &args.folder;
    let unwritable = |error: std::io::Error| Usage(format!("cannot write to {}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(unwritable)?;
    let mut command = command_line();
    command.build();
    let pages = write(&command, folder).map_err(unwritable)?;
    run.say(format_args!("{pages} pages written to {}", folder.display()))?;
    Ok(Exit::Ok)
}

/// Writes the page of a command and those of its subcommands; gives how many that were.
fn write(command: &Command, folder: &Path) -> std::io::Result<usize> {
    Man::new(command.clone()).manual("mcpctl manual").generate_to(folder)?;
    let mut pages = 1;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        pages += write(command, folder)?;
    }
    Ok(pages)
}
