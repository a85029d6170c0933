//! What was found: how it is, in a sentence, and the command that mends it.

use crate::{
    files::FileError,
    render::{Item, plain},
};
use schemars::JsonSchema;
use serde::Serialize;
use std::{borrow::Cow, path::Path};

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Check {
    /// Variables of the environment.
    Environment,
    /// The folder of records, locks and logs.
    State,
    /// The config file.
    Config,
    /// Which server is meant.
    Server,
    /// The token: where it comes from, and who else could read it.
    Credential,
    /// The address of the server's name.
    Dns,
    /// Whether the server answers.
    Connection,
    /// The certificate of the server.
    Tls,
    /// The versions of the server and of this program.
    Version,
    /// This machine's clock beside the server's.
    Clock,
    /// Whom the server takes you for, and until when.
    Login,
    /// The provider file.
    ProviderFile,
    /// One local provider.
    Provider,
    /// One LLM for which a provider would stand in.
    Failover,
    /// One graphics card.
    Gpu,
    /// One engine that was started here.
    Engine,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// It is well.
    Ok,
    /// It works, but look at it.
    Remark,
    /// Something will fail because of it.
    Wrong,
    /// It could not be looked at, because of something else.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    /// What was looked at.
    pub(super) check: Check,
    /// Which one, where there are several: the name of a provider, an LLM or a device.
    pub(super) subject: Option<String>,
    /// How it is.
    pub(super) result: Outcome,
    /// The same in a sentence, for people.
    pub(super) message: String,
    /// The command that mends it, or that shows more, for a shell.
    pub(super) mend: Option<String>,
}

impl Item for Finding {
    const LIST: &'static str = "FindingList";
}

impl Check {
    fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::State => "state",
            Self::Config => "config",
            Self::Server => "server",
            Self::Credential => "credential",
            Self::Dns => "dns",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::Version => "version",
            Self::Clock => "clock",
            Self::Login => "login",
            Self::ProviderFile => "provider file",
            Self::Provider => "provider",
            Self::Failover => "failover",
            Self::Gpu => "gpu",
            Self::Engine => "engine",
        }
    }
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Remark => "remark",
            Self::Wrong => "wrong",
            Self::Skipped => "skipped",
        }
    }
}

impl Finding {
    /// What was looked at, and which one.
    pub(super) fn name(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{} {subject}", self.check.as_str()),
            None => self.check.as_str().to_owned(),
        }
    }

    /// Names which one of several it is about.
    pub(super) fn about(&mut self, subject: impl Into<String>) -> &mut Self {
        self.subject = Some(subject.into());
        self
    }

    /// Names the command that mends it. One that cannot be shown as it is would be another one.
    pub(super) fn mend(&mut self, command: impl Into<String>) -> &mut Self {
        let command = command.into();
        if plain(&command) == command {
            self.mend = Some(command);
        } else {
            self.mend = None;
            self.message += " (no command for it can be shown: a name in it holds control characters)";
        }
        self
    }

    /// The same, where there is a command.
    pub(super) fn mend_if(&mut self, command: Option<String>) -> &mut Self {
        match command {
            Some(command) => self.mend(command),
            None => self,
        }
    }
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn ok(&mut self, check: Check, finding: impl Into<String>) -> &mut Finding {
        self.add(check, Outcome::Ok, finding)
    }

    pub(super) fn remark(&mut self, check: Check, finding: impl Into<String>) -> &mut Finding {
        self.add(check, Outcome::Remark, finding)
    }

    pub(super) fn wrong(&mut self, check: Check, finding: impl Into<String>) -> &mut Finding {
        self.add(check, Outcome::Wrong, finding)
    }

    pub(super) fn skipped(&mut self, check: Check, finding: impl Into<String>) -> &mut Finding {
        self.add(check, Outcome::Skipped, finding)
    }

    /// A file that cannot be used: the command that mends it stands at the end of what the error says.
    pub(super) fn unusable(&mut self, check: Check, error: &FileError) -> &mut Finding {
        let (said, mend) = (error.to_string(), mend_of(error));
        let short = match &error {
            FileError::Writable { .. } | FileError::Readable(_) | FileError::Open(_) => {
                said.rsplit_once(": ").map_or(&*said, |(what, _)| what)
            }
            _ => &said,
        };
        self.wrong(check, short).mend(mend)
    }

    pub(super) fn is_wrong(&self) -> bool {
        self.count(Outcome::Wrong) > 0
    }

    pub(super) fn findings(&self) -> &[Finding] {
        &self.0
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.0
    }

    /// The whole in a line.
    pub(super) fn summary(&self) -> String {
        let remarks = match self.count(Outcome::Remark) {
            0 => String::new(),
            1 => ", 1 remark".into(),
            many => format!(", {many} remarks"),
        };
        match self.count(Outcome::Wrong) {
            0 => format!("Nothing is wrong{remarks}."),
            1 => format!("1 thing is wrong{remarks}."),
            many => format!("{many} things are wrong{remarks}."),
        }
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.0.iter().filter(|finding| finding.result == outcome).count()
    }

    fn add(&mut self, check: Check, result: Outcome, finding: impl Into<String>) -> &mut Finding {
        let at = self.0.len();
        self.0.push(Finding { check, subject: None, result, message: finding.into(), mend: None });
        &mut self.0[at]
    }
}

/// The command that mends a file.
fn mend_of(error: &FileError) -> String {
    match error {
        FileError::Missing(path) | FileError::Read { path, .. } | FileError::NotAFile(path) => {
            format!("ls -ld {}", quoted(path))
        }
        FileError::Write { path, .. }
        | FileError::InTheWay { path, .. }
        | FileError::TooLarge { path, .. } => {
            format!("ls -ld {}", quoted(path))
        }
        FileError::Writable { path, chmod } => format!("chmod {chmod} {}", quoted(path)),
        FileError::Readable(path) => format!("chmod 600 {}", quoted(path)),
        FileError::Open(path) => format!("chmod 700 {}", quoted(path)),
        FileError::Foreign { path, .. } => format!("sudo chown \"$(id -u)\" {}", quoted(path)),
    }
}

/// A path as a word of a shell.
pub(super) fn quoted(path: &Path) -> String {
    word(&path.to_string_lossy())
}

/// A text as a word of a shell.
pub(super) fn word(text: &str) -> String {
    // Only a NUL cannot be quoted, and `mend` refuses that.
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), Cow::into_owned)
}

/// Opens an editor at a line of a file.
pub(super) fn edit(path: &Path, line: usize) -> String {
    format!("\"${{EDITOR:-vi}}\" +{line} {}", quoted(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_copied_as_it_stands_or_is_not_shown() {
        let mut report = Report::default();
        let open = |path: &str| FileError::Readable(path.into());
        report.unusable(Check::Credential, &open("/home/d/my $(id) token"));
        report.unusable(Check::Credential, &open("/home/d/\u{1b}[2Jtoken"));
        let mends: Vec<_> = report.findings().iter().map(|finding| finding.mend.as_deref()).collect();
        assert_eq!(mends, [Some("chmod 600 '/home/d/my $(id) token'"), None]);
        assert_eq!(report.findings()[0].message, "others may read /home/d/my $(id) token");
        assert!(report.findings()[1].message.contains("control characters"));
        assert_eq!(word("prod; rm -rf ~"), "'prod; rm -rf ~'");
    }
}
