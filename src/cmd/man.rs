//! `man`: the manual pages, made from the same text as `--help`.

use super::{Run, Usage, command_line};
use crate::{environment::VARIABLES, exit::Exit};
use clap::{Args, Command, ValueHint};
use clap_mangen::Man;
use roff::{Roff, bold, roman};
use std::{
    fs, io,
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
    let unwritable = |error: io::Error| Usage(format!("cannot write to {}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(unwritable)?;
    let mut command = command_line();
    command.build();
    let pages = write(&command, folder).map_err(unwritable)?;
    run.say(format_args!("{pages} pages written to {}", folder.display()))?;
    Ok(Exit::Ok)
}

/// Writes the page of a command and those of its subcommands; gives how many that were.
fn write(command: &Command, folder: &Path) -> io::Result<usize> {
    let page = Page::of(command);
    fs::write(folder.join(page.man.get_filename()), page.text()?)?;
    let mut pages = 1;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        pages += write(command, folder)?;
    }
    Ok(pages)
}

/// Where mcpctl keeps what.
const FILES: &[(&str, &str)] = &[
    ("~/.config/mcpctl/config.yaml", "the contexts: which servers there are. No secret is in it"),
    ("~/.config/mcpctl/credentials/", "the tokens of auth login, a file of mode 0600 for each server"),
    ("~/.config/mcpctl/providers.yaml", "the local providers, and which of them stand in for which LLM"),
    ("~/.local/state/mcpctl/", "what runs and what happened here: engines, their logs, failovers.jsonl"),
];

/// One page: what the generator makes of a command, and after it what it would flow together.
struct Page {
    man: Man,
    is_whole_program: bool,
    has_subcommands: bool,
    /// What stands below the help of the command, a part each.
    parts: Vec<String>,
}

impl Page {
    fn of(command: &Command) -> Self {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let long = command.get_long_about().map_or(about.clone(), ToString::to_string);
        // What `whatis` shows is one line.
        let name = about.split(". ").next().unwrap_or_default().to_owned();
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let shown = command.clone().about(name).long_about(long).override_usage(usage);
        Self {
            man: Man::new(shown).manual("mcpctl manual"),
            is_whole_program: !command.get_bin_name().is_some_and(|name| name.contains(' ')),
            has_subcommands: command.has_subcommands(),
            parts: below.split("\n\n").filter(|part| !part.is_empty()).map(str::to_owned).collect(),
        }
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.man.render_title(&mut text)?;
        self.man.render_name_section(&mut text)?;
        self.man.render_synopsis_section(&mut text)?;
        self.man.render_description_section(&mut text)?;
        self.man.render_options_section(&mut text)?;
        if self.has_subcommands {
            self.man.render_subcommands_section(&mut text)?;
        }
        self.below().to_writer(&mut text)?;
        Ok(text)
    }

    fn below(&self) -> Roff {
        let mut roff = Roff::new();
        let (examples, notes): (Vec<_>, Vec<_>) =
            self.parts.iter().partition(|part| part.starts_with(EXAMPLES));
        for part in examples {
            let lines = part.trim_start_matches(EXAMPLES).lines().filter(|line| !line.is_empty());
            as_it_stands(&mut roff, "EXAMPLES", lines);
        }
        if !notes.is_empty() {
            as_it_stands(&mut roff, "NOTES", notes.iter().flat_map(|note| note.lines()));
        }
        if self.is_whole_program {
            let codes: Vec<_> = Exit::table()
                .into_iter()
                .map(|(code, name, meaning)| (code.to_string(), format!("{name}: {meaning}")))
                .collect();
            items(&mut roff, "EXIT STATUS", codes.iter().map(|(code, meaning)| (&**code, &**meaning)));
            items(&mut roff, "ENVIRONMENT", VARIABLES.iter().copied());
            items(&mut roff, "FILES", FILES.iter().copied());
        } else {
            as_it_stands(&mut roff, "SEE ALSO", ["mcpctl(1) for exit status, environment and files"]);
        }
        roff
    }
}

/// How the examples of a command begin.
const EXAMPLES: &str = "Examples:";

/// Lines that are to stay lines.
fn as_it_stands<'a>(roff: &mut Roff, title: &str, lines: impl IntoIterator<Item = &'a str>) {
    roff.control("SH", [title]).control("nf", []);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

/// A name and its meaning, for each.
fn items<'a>(roff: &mut Roff, title: &str, items: impl IntoIterator<Item = (&'a str, &'a str)>) {
    roff.control("SH", [title]);
    for (name, meaning) in items {
        roff.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
}
