//! A double of a clock on the wall that somebody has set wrong.

use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;

/// What it shows is off by a number of seconds, for a program that is started with [`WrongClock::env`]. It can be set
/// while the program runs.
#[derive(Debug)]
pub struct WrongClock {
    dir: TempDir,
}

impl WrongClock {
    /// One that is right at first. Built with the C compiler that Rust links with.
    pub fn new() -> Self {
        let clock = Self { dir: TempDir::new().expect("a temporary folder") };
        let source = clock.dir.path().join("wrong_clock.c");
        fs::write(&source, include_str!("wrong_clock.c")).expect("the folder is writable");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([clock.library(), source])
            .status()
            .expect("there is a C compiler");
        assert!(built.success(), "cc: {built}");
        clock
    }

    /// What the program has to have in its environment.
    pub fn env(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.library()), ("WRONG_CLOCK", self.offset())]
            .map(|(name, path)| (name, path.display().to_string()))
    }

    /// From now on it is off by so much.
    pub fn set(&self, seconds: i64) {
        let beside = self.dir.path().join("offset.new");
        fs::write(&beside, seconds.to_string()).expect("the folder is writable");
        fs::rename(beside, self.offset()).expect("the folder is writable");
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("libwrong_clock.so")
    }

    fn offset(&self) -> PathBuf {
        self.dir.path().join("offset")
    }
}

impl Default for WrongClock {
    fn default() -> Self {
        Self::new()
    }
}
