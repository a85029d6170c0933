//! The configuration file: YAML whose keys are the flags of `serve` in camelCase, and those that no flag can say.
//!
//! Each value is judged by the argument that it stands for, so that file, environment and command line take the same
//! words. It then becomes that argument's default: what the environment or the command line says goes before it.

use crate::oidc::Issuer;
use clap::{Arg, ArgAction, Command, error::ContextKind};
use serde::{
    Deserializer,
    de::{self, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The largest file that is read.
const SIZE_MAX: u64 = 1 << 20;

/// What no file can say: which file it is, and what ends the program at once.
const NOT_HERE: [&str; 3] = ["config", "help", "version"];

/// The key of [`Structured::oidc`].
const OIDC: &str = "oidc";

/// The keys with a structure of their own, which no flag can say.
///
/// A new one is a field here and a variant of [`Known`], whose arms the compiler then asks for: its value is read by
/// `map.next_value()`, so that its own type judges it and an error has its line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Structured {
    /// Whose JWTs are taken as tokens.
    pub(crate) oidc: Vec<Issuer>,
}

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    /// Values for arguments, by the id of the argument.
    values: Vec<(String, Vec<String>)>,
    pub(crate) structured: Structured,
}

/// Why a file cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigFileError {
    #[error("{0}: cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("{0}: anybody may write it; take that away with chmod o-w")]
    Writable(PathBuf),
    #[error("{0}: it is longer than {SIZE_MAX} bytes")]
    TooLong(PathBuf),
    #[error("{0}: {1}")]
    Wrong(PathBuf, String),
}

impl ConfigFile {
    /// Reads a file; `command` knows the arguments that its keys stand for.
    pub(crate) fn read(path: &Path, command: &Command) -> Result<Self, ConfigFileError> {
        let unreadable = |error| ConfigFileError::Unreadable(path.to_owned(), error);
        let file = fs::File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o002 != 0 {
            return Err(ConfigFileError::Writable(path.to_owned()));
        }
        let mut text = String::new();
        file.take(SIZE_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > SIZE_MAX {
            return Err(ConfigFileError::TooLong(path.to_owned()));
        }
        Self::parse(&text, command).map_err(|wrong| ConfigFileError::Wrong(path.to_owned(), wrong))
    }

    fn parse(text: &str, command: &Command) -> Result<Self, String> {
        let file = Whole(command).deserialize(serde_yaml::Deserializer::from_str(text));
        file.map_err(|error| match (error.to_string(), error.location()) {
            // It names every place but the very first one.
            (said, Some(place)) if place.index() == 0 => format!("{said} at line 1 column 1"),
            (said, _) => said,
        })
    }

    /// Makes what the file says the default of each argument.
    pub(crate) fn defaults(&self, command: Command) -> Command {
        self.values.iter().fold(command, |command, (id, values)| with_default(command, id, values))
    }
}

fn with_default(command: Command, id: &str, values: &[String]) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    let command = names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |one| with_default(one, id, values)));
    if command.get_arguments().all(|arg| arg.get_id() != id) {
        return command;
    }
    command.mut_arg(id, |arg| arg.default_values(values.to_vec()))
}

/// The argument that a key stands for: one of all commands, or one of `serve`.
fn argument<'c>(command: &'c Command, key: &str) -> Option<&'c Arg> {
    let serve = command.find_subcommand("serve").into_iter();
    let mut all = command.get_arguments().chain(serve.flat_map(Command::get_arguments));
    all.find(|arg| arg.get_long().is_some_and(|flag| !NOT_HERE.contains(&flag) && key_of(flag) == key))
}

/// The key of a flag: `--max-body` is `maxBody`.
fn key_of(flag: &str) -> String {
    let mut words = flag.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |key, word| {
        let (head, tail) = word.split_at_checked(1).unwrap_or((word, ""));
        key + &head.to_ascii_uppercase() + tail
    })
}

/// Lets the argument itself judge a value; what it says is one line.
fn judge(arg: &Arg, value: &str) -> Result<(), String> {
    let flag = arg.get_long().unwrap_or_default();
    let alone = Command::new("file").no_binary_name(true).arg(arg.clone());
    let Err(error) = alone.try_get_matches_from([format!("--{flag}={value}")]) else { return Ok(()) };
    let said = error.to_string();
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    let lines = said.lines().take_while(|line| !line.is_empty()).map(str::trim);
    Err(lines.collect::<Vec<_>>().join(" "))
}

/// What is said about a key that stands for nothing.
fn unknown(command: &Command, key: &str) -> String {
    let flag: String = key.chars().flat_map(flag_letter).collect();
    let as_flag = argument(command, &key_of(key)).map(|_| key_of(key));
    let guess = as_flag.or_else(|| {
        let serve = command.find_subcommand("serve")?.clone();
        let error = serve.no_binary_name(true).try_get_matches_from([format!("--{flag}")]).err()?;
        Some(key_of(error.get(ContextKind::SuggestedArg)?.to_string().trim_start_matches('-')))
    });
    match guess {
        Some(guess) => format!("there is no key `{key}`; a similar one is `{guess}`"),
        None => format!("there is no key `{key}`; keys are flags of `mcpd serve` in camelCase"),
    }
}

fn flag_letter(letter: char) -> impl Iterator<Item = char> {
    let dash = letter.is_ascii_uppercase().then_some('-');
    dash.into_iter().chain([letter.to_ascii_lowercase()])
}

/// The whole file.
struct Whole<'c>(&'c Command);

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = ConfigFile;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ConfigFile, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = ConfigFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys with values, such as `listen: 127.0.0.1:3100`")
    }

    /// A file without a word, or with comments only.
    fn visit_none<E>(self) -> Result<ConfigFile, E> {
        Ok(ConfigFile::default())
    }

    fn visit_unit<E>(self) -> Result<ConfigFile, E> {
        Ok(ConfigFile::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConfigFile, A::Error> {
        let mut file = ConfigFile::default();
        let mut seen = Vec::new();
        while let Some(key) = map.next_key_seed(Key { command: self.0, seen: &seen })? {
            match &key {
                Known::Flag(arg) => {
                    let values = map.next_value_seed(Values(arg))?;
                    file.values.push((arg.get_id().to_string(), values));
                }
                Known::Oidc => file.structured.oidc = map.next_value()?,
            }
            seen.push(key);
        }
        Ok(file)
    }
}

/// A key that stands for something.
enum Known<'c> {
    Flag(&'c Arg),
    Oidc,
}

impl Known<'_> {
    fn name(&self) -> String {
        match self {
            Self::Flag(arg) => key_of(arg.get_long().unwrap_or_default()),
            Self::Oidc => OIDC.to_owned(),
        }
    }
}

/// A key, judged where it stands, so that an error has its line.
struct Key<'c, 's> {
    command: &'c Command,
    seen: &'s [Known<'c>],
}

impl<'de, 'c> DeserializeSeed<'de> for Key<'c, '_> {
    type Value = Known<'c>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Known<'c>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'c> Visitor<'_> for Key<'c, '_> {
    type Value = Known<'c>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Known<'c>, E> {
        if self.seen.iter().any(|seen| seen.name() == key) {
            return Err(E::custom(format!("`{key}` is there twice")));
        }
        if key == OIDC {
            return Ok(Known::Oidc);
        }
        let arg = argument(self.command, key).ok_or_else(|| E::custom(unknown(self.command, key)))?;
        Ok(Known::Flag(arg))
    }
}

/// The value of an argument, or its values if it takes several.
struct Values<'c>(&'c Arg);

impl Values<'_> {
    fn one<E: de::Error>(&self, value: String) -> Result<Vec<String>, E> {
        if self.0.get_action().takes_values() {
            judge(self.0, &value).map_err(E::custom)?;
        } else if !matches!(value.as_str(), "true" | "false") {
            return Err(E::custom("write true or false"));
        }
        Ok(vec![value])
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if takes_many(self.0) { "a value or a list of values" } else { "one value" })
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Vec<String>, E> {
        self.one(value.to_owned())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Vec<String>, E> {
        self.one(value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Vec<String>, E> {
        self.one(value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Vec<String>, E> {
        self.one(value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Vec<String>, E> {
        self.one(value.to_string())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Vec<String>, E> {
        self.visit_none()
    }

    fn visit_none<E: de::Error>(self) -> Result<Vec<String>, E> {
        Err(E::custom("there is no value; leave the key out, or give it one"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        if !takes_many(self.0) {
            return Err(A::Error::custom("it takes one value and no list"));
        }
        let mut values = Vec::new();
        while let Some(one) = list.next_element_seed(Values(self.0))? {
            values.extend(one);
        }
        Ok(values)
    }
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn command() -> Command {
        let listen = Arg::new("listen")
            .long("listen")
            .value_parser(clap::value_parser!(SocketAddr))
            .default_value("127.0.0.1:1");
        let max_body = Arg::new("max_body").long("max-body").value_parser(clap::value_parser!(usize));
        let nets = Arg::new("nets").long("upstream-allow").action(ArgAction::Append).value_delimiter(',');
        let strict = Arg::new("strict").long("strict").action(ArgAction::SetTrue);
        let config = Arg::new("config").long("config").global(true);
        let url = Arg::new("url").long("database").global(true);
        let serve = Command::new("serve").args([listen, max_body, nets, strict]);
        Command::new("mcpd").args([config, url]).subcommand(serve).subcommand(Command::new("migrate"))
    }

    fn file(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(text, &command())
    }

    #[test]
    fn a_value_of_the_file_is_a_default_and_a_flag_goes_before_it() {
        let text = "# mine\nlisten: 127.0.0.1:7\nmaxBody: 4096\nupstreamAllow: [10.0.0.0/8, '::1/128']\nstrict: true\n";
        let file = file(text).unwrap();
        let matches =
            file.defaults(command()).try_get_matches_from(["mcpd", "serve", "--max-body=1"]).unwrap();
        let (_, serve) = matches.subcommand().unwrap();
        assert_eq!(serve.get_one::<SocketAddr>("listen").unwrap().port(), 7);
        assert_eq!(serve.get_one::<usize>("max_body"), Some(&1));
        assert!(serve.get_flag("strict"));
        let nets: Vec<&String> = serve.get_many("nets").unwrap().collect();
        assert_eq!(nets, ["10.0.0.0/8", "::1/128"]);
    }

    #[test]
    fn what_holds_for_all_commands_reaches_each_of_them() {
        let file = file("database: sqlite:///x.db\n").unwrap();
        for name in ["serve", "migrate"] {
            let matches = file.defaults(command()).try_get_matches_from(["mcpd", name]).unwrap();
            let (_, one) = matches.subcommand().unwrap();
            assert_eq!(one.get_one::<String>("url").unwrap(), "sqlite:///x.db");
        }
    }

    #[test]
    fn a_file_that_says_nothing_changes_nothing() {
        for text in ["", "# nothing\n", "---\n", "{}\n"] {
            assert!(file(text).unwrap().values.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn a12_every_mistake_is_named_with_its_key_and_its_line() {
        for (text, said) in [
            ("listen: nowhere\n", "listen: invalid value 'nowhere' for '--listen <listen>'"),
            ("\nmaxBody: -1\n", "maxBody: invalid value '-1'"),
            ("listn: 127.0.0.1:1\n", "there is no key `listn`; a similar one is `listen`"),
            ("max-body: 1\n", "there is no key `max-body`; a similar one is `maxBody`"),
            ("config: /other\n", "there is no key `config`"),
            ("help: true\n", "there is no key `help`"),
            ("maxBody: 1\nmaxBody: 2\n", "`maxBody` is there twice"),
            ("maxBody:\n", "there is no value; leave the key out"),
            ("maxBody: [1, 2]\n", "it takes one value and no list"),
            ("maxBody: {a: 1}\n", "expected one value"),
            ("strict: maybe\n", "strict: write true or false"),
            ("- listen\n", "expected keys with values"),
            ("listen\n", "expected keys with values"),
            ("maxBody: 1\n---\nmaxBody: 2\n", "more than one document"),
            ("a: [\n", "line"),
        ] {
            let error = file(text).unwrap_err();
            assert!(error.contains(said), "{text:?}: {error}");
            assert!(error.contains("line") || error.contains("document"), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{text:?}: {error}");
        }
    }

    #[test]
    fn a12_a_file_that_anybody_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcpd.yaml");
        fs::write(&path, "maxBody: 1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        ConfigFile::read(&path, &command()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
        assert!(matches!(ConfigFile::read(&path, &command()), Err(ConfigFileError::Writable(_))));
        assert!(matches!(
            ConfigFile::read(dir.path(), &command()),
            Err(ConfigFileError::Unreadable(..) | ConfigFileError::Writable(_))
        ));
    }
}
