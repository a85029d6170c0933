//! `tokenCommand` of a context: a program that prints the token. It belongs to the context, and so to its server only.

use super::{CredentialError, SIZE_MAX, parse};
use crate::{
    environment::Environment,
    program::{self, ProgramError},
};
use mcp_api::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// How long it may take. People may have to type a password meanwhile, or to touch a key.
pub(super) const LIMIT: Duration = Duration::from_mins(1);

/// Variables that a program which is asked for a token does not see: other tokens are not its business.
const HIDDEN: [&str; 2] = ["MCPCTL_TOKEN", "MCPCTL_TOKEN_FILE"];

/// Set for the program: a tokenCommand that asks mcpctl for a token by a tokenCommand would never end.
const NESTED: &str = "MCPCTL_IN_TOKEN_COMMAND";

/// A program and its arguments. No shell is involved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
#[schemars(with = "Vec<String>", inline, extend("minItems" = 1))]
pub struct TokenCommand {
    program: String,
    args: Vec<String>,
}

/// What is wrong with a list of words that should be a command.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCommand {
    /// It has no word.
    #[error("tokenCommand needs a program, such as [\"pass\", \"show\", \"mcpd\"]")]
    Empty,
    /// It would be another program in every folder.
    #[error("the program of tokenCommand is a name on PATH or an absolute path")]
    Relative,
    /// No program can be given that.
    #[error("a word of tokenCommand must not hold a NUL character")]
    Nul,
}

impl TryFrom<Vec<String>> for TokenCommand {
    type Error = NoCommand;

    fn try_from(mut words: Vec<String>) -> Result<Self, NoCommand> {
        if words.first().is_none_or(String::is_empty) {
            return Err(NoCommand::Empty);
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(NoCommand::Nul);
        }
        let program = words.remove(0);
        if program.contains('/') && !program.starts_with('/') {
            return Err(NoCommand::Relative);
        }
        Ok(Self { program, args: words })
    }
}

impl From<TokenCommand> for Vec<String> {
    fn from(command: TokenCommand) -> Self {
        [vec![command.program], command.args].concat()
    }
}

impl TokenCommand {
    /// The name or path of the program. Its arguments are not for messages.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Runs it, and reads what it prints like the content of a token file. What it says on stderr is shown as it is.
    pub(super) fn run(&self, env: &Environment) -> Result<Secret, CredentialError> {
        let fail = |why: String| CredentialError::Command { program: self.program.clone(), why };
        if env.var(NESTED).is_some() {
            return Err(fail("it is not run from within another tokenCommand".into()));
        }
        let program = self.find(env).ok_or_else(|| CredentialError::NoProgram(self.program.clone()))?;
        let mut command = Command::new(program);
        command.args(&self.args).env(NESTED, "1");
        for name in HIDDEN {
            command.env_remove(name);
        }
        let most = usize::try_from(SIZE_MAX).unwrap_or(usize::MAX).saturating_add(1);
        let printed = program::output(&mut command, LIMIT, most).map_err(|error| match error {
            ProgramError::Start(error) => CredentialError::NotRun { program: self.program.clone(), error },
            ProgramError::Failed(status) => fail(format!("it gave no token ({status})")),
            error @ (ProgramError::TooSlow(_) | ProgramError::TooMuch(_)) => fail(error.to_string()),
        })?;
        let text = std::str::from_utf8(&printed).ok();
        let token = text.and_then(|text| parse(text, &self.program).ok());
        token.ok_or_else(|| {
            fail("it must print one line, the token, without spaces or control characters".into())
        })
    }

    fn find(&self, env: &Environment) -> Option<PathBuf> {
        if self.program.starts_with('/') {
            let path = Path::new(&self.program);
            return path.is_file().then(|| path.to_owned());
        }
        env.on_path(&self.program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Result<TokenCommand, NoCommand> {
        words.iter().map(ToString::to_string).collect::<Vec<_>>().try_into()
    }

    fn run(words: &[&str]) -> Result<Secret, CredentialError> {
        command(words).unwrap().run(&Environment::from([("PATH", "/usr/bin:/bin")]))
    }

    #[test]
    fn only_a_list_that_means_one_program_is_a_command() {
        assert_eq!(command(&[]), Err(NoCommand::Empty));
        assert_eq!(command(&["", "x"]), Err(NoCommand::Empty));
        assert_eq!(command(&["./helper"]), Err(NoCommand::Relative));
        assert_eq!(command(&["a/helper"]), Err(NoCommand::Relative));
        assert_eq!(command(&["x", "a\0"]), Err(NoCommand::Nul));
        assert!(command(&["pass", "show", "x"]).is_ok() && command(&["/bin/echo"]).is_ok());
    }

    #[test]
    fn no_shell_reads_its_words() {
        assert_eq!(run(&["printf", "%s\n", "$(id)`id`;x"]).unwrap().expose(), "$(id)`id`;x");
    }

    #[test]
    fn k05_what_it_prints_is_read_like_a_token_file() {
        assert_eq!(run(&["echo", "mcpd_a_b"]).unwrap().expose(), "mcpd_a_b");
        for wrong in [&["true"][..], &["echo", "two words"], &["printf", "a\\nb\\n"], &["printf", "\\377"]] {
            assert!(matches!(run(wrong), Err(CredentialError::Command { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn its_failures_name_the_program_and_none_of_its_words() {
        for words in [&["false", "canary"][..], &["yes", "canary"], &["no-such-program", "canary"]] {
            let error = run(words).unwrap_err().to_string();
            assert!(error.contains(words[0]) && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn it_is_not_run_from_within_another_one() {
        let inner = Environment::from([("PATH", "/usr/bin:/bin"), (NESTED, "1")]);
        let error = command(&["echo", "x"]).unwrap().run(&inner).unwrap_err();
        assert!(matches!(error, CredentialError::Command { .. }), "{error}");
    }
}
