//! Where the program notes what happened, for the test to read.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
};

/// A folder, or nowhere.
#[derive(Debug)]
pub(super) struct Notes {
    folder: Option<PathBuf>,
}

impl Notes {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// Adds to the end of a file.
    pub(super) fn append(&self, name: &str, bytes: &[u8]) {
        if let Some(folder) = &self.folder {
            let file = OpenOptions::new().create(true).append(true).open(folder.join(name));
            file.and_then(|mut file| file.write_all(bytes)).unwrap_or_else(|e| panic!("note {name}: {e}"));
        }
    }

    /// Adds a line.
    pub(super) fn line(&self, name: &str, line: &str) {
        self.append(name, format!("{line}\n").as_bytes());
    }

    /// Replaces a file, so that nobody sees half of it.
    pub(super) fn replace(&self, name: &str, lines: impl Iterator<Item = String>) {
        if let Some(folder) = &self.folder {
            let new = folder.join(format!(".{name}.{}", std::process::id()));
            let text: String = lines.map(|line| line.replace('\n', "\\n") + "\n").collect();
            let done = fs::write(&new, text).and_then(|()| fs::rename(&new, folder.join(name)));
            done.unwrap_or_else(|e| panic!("note {name}: {e}"));
        }
    }

    /// Whether no process has noted a start in this folder.
    pub(super) fn first_start(&self) -> bool {
        !self.folder.as_ref().is_some_and(|folder| folder.join("starts").exists())
    }
}
