//! The caller's token: where it comes from, and where a stored one may go.
//!
//! A token is never the value of a flag. A stored one is kept under the origin of its server and is read for no
//! other, so that a changed URL cannot carry it elsewhere. A command that prints one belongs to a context, and is run
//! for the server of that context only.

mod command;
pub mod holder;
pub mod jwt;
mod keyring;
mod rejected;

pub use command::{NoCommand, TokenCommand};

use crate::{
    config::Server,
    environment::Environment,
    files::{self, FileError},
};
use mcp_api::Secret;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// The largest token, in bytes.
const SIZE_MAX: u64 = 8 << 10;

/// A token, and where it was found.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The token.
    pub token: Secret,
    /// Where it was found.
    pub source: Source,
}

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `MCPCTL_TOKEN`.
    Environment,
    /// A file that was named by flag or variable.
    File(PathBuf),
    /// The file that `auth login` wrote.
    Stored(PathBuf),
    /// The keyring of the desktop, where `auth login --keyring` put it.
    Keyring,
    /// The `tokenCommand` of the context.
    Command,
    /// Standard input or the terminal: it is not kept yet.
    Input,
}

/// Whether this program was built to talk to keyrings.
pub const HAS_KEYRING: bool = cfg!(feature = "keyring");

/// Where a token is kept between two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// In a file of mode 0600.
    File,
    /// In the keyring of the desktop.
    Keyring,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Environment => "environment",
            Self::File(_) => "named file",
            Self::Stored(_) => "file (0600)",
            Self::Keyring => "keyring",
            Self::Command => "command",
            Self::Input => "standard input",
        })
    }
}

/// Why there is no token that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// There is none for this server.
    #[error("not logged in to {0}: mcpctl auth login --token-stdin (or set MCPCTL_TOKEN)")]
    Missing(String),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was found cannot be a token.
    #[error("{0} must hold one line, the token, without spaces or control characters")]
    Malformed(String),
    /// A variable that says who one is says nothing: most likely a secret that was not there. Whoever is logged in is
    /// not meant.
    #[error("{0} is set and empty; give it a value, or unset it to use the token that `auth login` stored")]
    Empty(&'static str),
    /// The `tokenCommand` of the context is not there.
    #[error("there is no program {0} (tokenCommand of the context); install it, or give its absolute path")]
    NoProgram(String),
    /// The `tokenCommand` of the context cannot be run.
    #[error("tokenCommand {program} cannot be run: {error}")]
    NotRun {
        /// The program.
        program: String,
        /// Why.
        error: std::io::Error,
    },
    /// The `tokenCommand` of the context was run, and gave no token.
    #[error("tokenCommand {program}: {why}")]
    Command {
        /// The program; its arguments are not for messages.
        program: String,
        /// What happened.
        why: String,
    },
    /// This program cannot talk to a keyring.
    #[error("this mcpctl was built without keyrings (cargo build --features keyring)")]
    NoKeyring,
    /// The keyring gives or takes no token.
    #[error("the keyring: {0}")]
    Keyring(String),
    /// Neither `HOME` nor `XDG_CONFIG_HOME` is set.
    #[error("there is no folder for the token: set HOME or XDG_CONFIG_HOME")]
    NoFolder,
}

impl Credential {
    /// The public part of the token: `id` of `mcpd_id_secret`.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        token_id(&self.token)
    }
}

/// The public part of a token: `id` of `mcpd_id_secret`.
#[must_use]
pub fn token_id(token: &Secret) -> Option<&str> {
    Some(token.expose().strip_prefix("mcpd_")?.split_once('_')?.0)
}

/// The token for a server: from the file that is named, else from the environment, else the server's own.
pub fn find(env: &Environment, named: Option<&Path>, server: &Server) -> Result<Credential, CredentialError> {
    match given(env, named)? {
        Some(credential) => Ok(credential),
        None => own(env, server),
    }
}

/// The token that belongs to a server, whatever flags and variables say: from the command of its context, else the
/// stored one. A command that fails is not passed over: whoever is logged in may be somebody else.
pub fn own(env: &Environment, server: &Server) -> Result<Credential, CredentialError> {
    match &server.token_command {
        Some(command) => Ok(Credential { token: command.run(env)?, source: Source::Command }),
        None => find_stored(env, &server.origin()),
    }
}

/// The token for a server if it is at hand: no program is run for it, and nobody is asked.
#[must_use]
pub fn at_hand(env: &Environment, named: Option<&Path>, server: &Server) -> Option<Credential> {
    match given(env, named) {
        Ok(None) if server.token_command.is_none() => stored_at_hand(env, &server.origin()),
        Ok(given) => given,
        Err(_) => None,
    }
}

/// The token that a flag or a variable gives.
fn given(env: &Environment, named: Option<&Path>) -> Result<Option<Credential>, CredentialError> {
    if let Some(path) = named {
        return from_file(path, Source::File(path.into())).map(Some);
    }
    for name in ["MCPCTL_TOKEN", "MCPCTL_TOKEN_FILE"] {
        if env.is_empty(name) {
            return Err(CredentialError::Empty(name));
        }
    }
    if let Some(token) = env.var("MCPCTL_TOKEN") {
        let token = parse(token, "MCPCTL_TOKEN")?;
        return Ok(Some(Credential { token, source: Source::Environment }));
    }
    let path = env.var("MCPCTL_TOKEN_FILE").map(PathBuf::from);
    path.map(|path| from_file(&path.clone(), Source::File(path))).transpose()
}

/// The token that is stored for a server, whatever flags and variables say.
pub fn find_stored(env: &Environment, origin: &str) -> Result<Credential, CredentialError> {
    match stored(env, origin)? {
        Stored::Here(credential) => Ok(credential),
        Stored::InKeyring => Ok(Credential { token: keyring::find(origin)?, source: Source::Keyring }),
    }
}

/// The token that is stored for a server, if it is in a file: no keyring is asked.
#[must_use]
pub fn stored_at_hand(env: &Environment, origin: &str) -> Option<Credential> {
    match stored(env, origin) {
        Ok(Stored::Here(credential)) => Some(credential),
        Ok(Stored::InKeyring) | Err(_) => None,
    }
}

/// What the file of an origin holds.
enum Stored {
    Here(Credential),
    InKeyring,
}

fn stored(env: &Environment, origin: &str) -> Result<Stored, CredentialError> {
    let missing = || CredentialError::Missing(origin.to_owned());
    let path = path(env, origin).ok_or_else(missing)?;
    match files::read_secret(&path, SIZE_MAX) {
        Ok(bytes) if bytes == keyring::MARK.as_bytes() => Ok(Stored::InKeyring),
        Ok(bytes) => {
            let token = parse_bytes(&bytes, &path.display().to_string())?;
            Ok(Stored::Here(Credential { token, source: Source::Stored(path) }))
        }
        Err(FileError::Missing(_)) => Err(missing()),
        Err(error) => Err(error.into()),
    }
}

/// Keeps a token for one server, in one place: what an earlier login put into the keyring does not stay there.
pub fn store(env: &Environment, origin: &str, token: &Secret, how: Keeping) -> Result<(), CredentialError> {
    let path = path(env, origin).ok_or(CredentialError::NoFolder)?;
    let text = match how {
        Keeping::File => {
            forget(env, origin)?;
            format!("{}\n", token.expose())
        }
        Keeping::Keyring => {
            keyring::store(origin, token)?;
            keyring::MARK.to_owned()
        }
    };
    Ok(files::write_private(&path, text.as_bytes())?)
}

/// Forgets the stored token of a server. False if there was none.
pub fn forget(env: &Environment, origin: &str) -> Result<bool, CredentialError> {
    let path = path(env, origin).ok_or(CredentialError::NoFolder)?;
    if let Ok(Stored::InKeyring) = stored(env, origin) {
        keyring::forget(origin)?;
    }
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::Write { path, error }.into()),
    }
}

/// Reads a token from a file as it is, or from a stream that was read already; `what` names it in errors.
pub fn parse(text: &str, what: &str) -> Result<Secret, CredentialError> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let fits =
        !line.is_empty() && line.len() as u64 <= SIZE_MAX && line.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(Secret::new(line)) } else { Err(CredentialError::Malformed(what.to_owned())) }
}

/// Reads a token from a file of one's own.
pub fn read_file(path: &Path) -> Result<Secret, CredentialError> {
    parse_bytes(&files::read_secret(path, SIZE_MAX)?, &path.display().to_string())
}

fn parse_bytes(bytes: &[u8], what: &str) -> Result<Secret, CredentialError> {
    let text = std::str::from_utf8(bytes).map_err(|_| CredentialError::Malformed(what.to_owned()))?;
    parse(text, what)
}

fn from_file(path: &Path, source: Source) -> Result<Credential, CredentialError> {
    Ok(Credential { token: read_file(path)?, source })
}

/// `credentials/https%3a%2f%2fmcpd.example.com`.
fn path(env: &Environment, origin: &str) -> Option<PathBuf> {
    Some(env.config_folder()?.join("credentials").join(file_name(origin)))
}

/// An origin as the name of a file. No two origins have the same one.
#[must_use]
pub fn file_name(origin: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    origin.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k05_only_one_clean_line_is_a_token() {
        assert_eq!(parse("mcpd_a_b\n", "x").unwrap().expose(), "mcpd_a_b");
        for wrong in ["", "\n", "a\r\n", "a\nb\n", "a b", "a\0", "a\n\n", " a", "ä"] {
            assert!(parse(wrong, "x").is_err(), "{wrong:?}");
        }
        assert!(parse(&"a".repeat(9000), "x").is_err());
    }

    fn server(words: &[&str]) -> Server {
        let command = words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let url = url::Url::parse("https://a.example").unwrap();
        Server { url, context: Some("a".into()), ca_file: None, token_command: command.try_into().ok() }
    }

    #[test]
    fn a_command_that_fails_gives_way_to_no_stored_token() {
        let folder = tempfile::tempdir().unwrap();
        let env = Environment::from([
            ("XDG_CONFIG_HOME", folder.path().to_str().unwrap()),
            ("PATH", "/usr/bin:/bin"),
        ]);
        store(&env, "https://a.example", &Secret::new("stored"), Keeping::File).unwrap();
        let token = |words| find(&env, None, &server(words)).map(|found| found.token.expose().to_owned());
        assert_eq!(token(&[]).unwrap(), "stored");
        assert_eq!(token(&["echo", "printed"]).unwrap(), "printed");
        assert!(matches!(token(&["false"]), Err(CredentialError::Command { .. })));
        let given = env.clone().with("MCPCTL_TOKEN", "given");
        assert_eq!(find(&given, None, &server(&["false"])).unwrap().token.expose(), "given");
    }

    #[test]
    fn what_is_in_the_keyring_is_marked_and_is_not_at_hand() {
        let folder = tempfile::tempdir().unwrap();
        let env = Environment::from([("XDG_CONFIG_HOME", folder.path().to_str().unwrap())]);
        store(&env, "https://a.example", &Secret::new("stored"), Keeping::File).unwrap();
        std::fs::write(path(&env, "https://a.example").unwrap(), keyring::MARK).unwrap();
        assert!(matches!(stored(&env, "https://a.example"), Ok(Stored::InKeyring)));
        assert!(at_hand(&env, None, &server(&[])).is_none());
        assert!(parse(keyring::MARK, "x").is_err(), "the mark is no token");
    }

    #[test]
    fn what_is_at_hand_needs_no_program() {
        let folder = tempfile::tempdir().unwrap();
        let env = Environment::from([("XDG_CONFIG_HOME", folder.path().to_str().unwrap())]);
        assert!(at_hand(&env, None, &server(&[])).is_none());
        store(&env, "https://a.example", &Secret::new("stored"), Keeping::File).unwrap();
        assert_eq!(at_hand(&env, None, &server(&[])).unwrap().token.expose(), "stored");
        assert!(at_hand(&env, None, &server(&["echo", "x"])).is_none());
        let given = env.with("MCPCTL_TOKEN", "given");
        assert_eq!(at_hand(&given, None, &server(&["echo", "x"])).unwrap().token.expose(), "given");
    }

    #[test]
    fn a_stored_token_is_found_for_its_own_origin_only() {
        let folder = tempfile::tempdir().unwrap();
        let env = Environment::from([("XDG_CONFIG_HOME", folder.path().to_str().unwrap())]);
        store(&env, "https://a.example", &Secret::new("t1"), Keeping::File).unwrap();
        assert_eq!(find_stored(&env, "https://a.example").unwrap().token.expose(), "t1");
        for other in
            ["https://b.example", "http://a.example", "https://a.example:444", "https://a.example_444"]
        {
            assert!(matches!(find_stored(&env, other), Err(CredentialError::Missing(_))), "{other}");
        }
        assert!(forget(&env, "https://a.example").unwrap() && !forget(&env, "https://a.example").unwrap());
    }
}
