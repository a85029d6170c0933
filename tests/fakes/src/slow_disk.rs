//! A double of a disk that takes its time to write what it was told to write.

use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;

/// As long as it is stalled, whoever waits for the disk waits on. The disk is that of one program, started with
/// [`SlowDisk::env`].
#[derive(Debug)]
pub struct SlowDisk {
    dir: TempDir,
}

impl SlowDisk {
    /// One that does not stall yet. Built with the C compiler that Rust links with.
    pub fn new() -> Self {
        let disk = Self { dir: TempDir::new().expect("a temporary folder") };
        let source = disk.dir.path().join("slow_disk.c");
        fs::write(&source, include_str!("slow_disk.c")).expect("the folder is writable");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([disk.library(), source])
            .status()
            .expect("there is a C compiler");
        assert!(built.success(), "cc: {built}");
        disk
    }

    /// What the program has to have in its environment.
    pub fn env(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.library()), ("SLOW_DISK", self.stalled())]
            .map(|(name, path)| (name, path.display().to_string()))
    }

    /// Nothing is written from now on.
    pub fn stall(&self) {
        fs::write(self.stalled(), "").expect("the folder is writable");
    }

    /// Everything that waits is written.
    pub fn flow(&self) {
        fs::remove_file(self.stalled()).expect("it is stalled");
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("libslow_disk.so")
    }

    fn stalled(&self) -> PathBuf {
        self.dir.path().join("stalled")
    }
}

impl Default for SlowDisk {
    fn default() -> Self {
        Self::new()
    }
}
