//! Which formats each command has, for its help and for completion: what a command refuses is not offered.

use super::completion::Names;
use crate::render::Format::{self, Csv, Json, Jsonl, Name, Raw, Table, Text, Wide, Yaml};
use clap::{Command, ValueEnum};

const LIST: &[Format] = &[Table, Wide, Json, Yaml, Jsonl, Name, Csv];
const CHANGES: &[Format] = &[Text, Json, Name];
const TEXT_OR_JSON: &[Format] = &[Text, Json];

/// Every command that has more than lines for people.
const OF_COMMANDS: &[(&str, &[Format])] = &[
    ("infer", &[Text, Json, Jsonl, Raw]),
    ("llm list", LIST),
    ("llm get", &[Yaml, Json, Jsonl, Name]),
    ("llm head", TEXT_OR_JSON),
    ("providers list", LIST),
    ("providers get", &[Yaml, Json]),
    ("providers failovers", LIST),
    ("providers status", LIST),
    ("get", LIST),
    ("apply", CHANGES),
    ("diff", &[Text, Name]),
    ("delete", CHANGES),
    ("token create", TEXT_OR_JSON),
    ("token list", LIST),
    ("auth status", LIST),
    ("auth whoami", &[Text, Json, Yaml]),
    ("auth can-i", TEXT_OR_JSON),
    ("audit list", LIST),
    ("audit verify", TEXT_OR_JSON),
    ("config get-contexts", LIST),
    ("config view", &[Yaml, Json]),
    ("doctor", LIST),
    ("version", TEXT_OR_JSON),
];

/// The command line with `-o` as each command has it; it is refused, and so not shown, where there is nothing to choose.
pub(super) fn told(root: Command) -> Command {
    let Some(output) = root.get_arguments().find(|arg| arg.get_id() == "output").cloned() else {
        return root;
    };
    let tell = |command: Command, path: &str| {
        let Some((_, formats)) = OF_COMMANDS.iter().find(|(known, _)| *known == path) else {
            return command.arg(output.clone().hide(true));
        };
        let help = format!("How the answer is shown: {}", words(formats).join(", "));
        command.arg(output.clone().hide_possible_values(true).help(help).add(Names::Formats(formats)))
    };
    root.mut_subcommands(|command| {
        let path = command.get_name().to_owned();
        if !command.has_subcommands() {
            return tell(command, &path);
        }
        command.mut_subcommands(|command| {
            let path = format!("{path} {}", command.get_name());
            tell(command, &path)
        })
    })
}

/// As they are typed.
pub(super) fn words(formats: &[Format]) -> Vec<String> {
    let values = formats.iter().filter_map(ValueEnum::to_possible_value);
    values.map(|value| value.get_name().to_owned()).collect()
}
