//! Which environment variable a wrong setting comes from. An empty one is a mistake and never a default: what was meant
//! to be set there is not known.

use clap::{
    Arg, Command,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};
use std::ffi::OsString;

/// Finds a variable of ours that is set to nothing.
pub(crate) fn empty_one(command: &Command, value_of: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let is_empty = |name: &String| value_of(name).is_some_and(|value| value.is_empty());
    all(command).map(|(_, name)| name).find(is_empty)
}

/// Finds the variable that a value which was refused stands in, if it does not stand on the command line.
pub(crate) fn of_error(
    error: &Error,
    command: &Command,
    value_of: impl Fn(&str) -> Option<OsString>,
) -> Option<String> {
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return None;
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (shown, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    let flag = shown.strip_prefix("--")?.split(' ').next()?;
    let (arg, name) = all(command).find(|(arg, _)| arg.get_long() == Some(flag))?;
    let (there, delimiter) = (value_of(&name)?, arg.get_value_delimiter());
    let there = there.to_str()?;
    let has_it =
        there == value || delimiter.is_some_and(|comma| there.split(comma).any(|part| part == value));
    has_it.then_some(name)
}

/// Every argument that a variable can stand for, with its name.
fn all(command: &Command) -> impl Iterator<Item = (&Arg, String)> {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let with_variable = |arg| Some((arg, Arg::get_env(arg)?.to_str()?.to_owned()));
    commands.flat_map(Command::get_arguments).filter_map(with_variable)
}
