//! A file that says something wrong: all of it that could be found at once.

use super::{Problem, show};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What is wrong with one file.
#[derive(Debug)]
pub struct Mistakes {
    /// The file.
    pub path: PathBuf,
    text: String,
    /// At least one, in the order of the text.
    pub problems: Vec<Problem>,
}

impl Mistakes {
    /// At least one problem of a text.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>, problems: Vec<Problem>) -> Self {
        Self { path: path.into(), text: text.into(), problems }
    }

    /// The mistakes as a terminal shows them: each with its source line and a caret. Paths below the home folder begin
    /// with `~`.
    #[must_use]
    pub fn rendered(&self, home: Option<&Path>, in_colour: bool) -> String {
        let path = match home.and_then(|home| self.path.strip_prefix(home).ok()) {
            Some(rest) => format!("~/{}", rest.display()),
            None => self.path.display().to_string(),
        };
        let shown: Vec<_> =
            self.problems.iter().map(|problem| show::render(problem, &path, &self.text, in_colour)).collect();
        shown.join("\n\n")
    }

    /// What to do about each, for those who get no snippet.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let advised = self.problems.iter().filter(|problem| !problem.label.is_empty());
        advised
            .map(|Problem { place, label, .. }| format!("{}:{}: {label}", place.line, place.column))
            .collect()
    }
}

/// In one line: `providers.yaml:4:5: unknown field ...; providers.yaml:7:5: ...`. A path from `/` on would fill it.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.path.file_name() {
            Some(name) if self.path.is_absolute() => name,
            Some(_) | None => self.path.as_os_str(),
        };
        let name = name.to_string_lossy();
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{name}:{problem}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
