//! What a test sees of the engine, and the signals that it gives.

use super::FakeEngine;
use crate::wait_until;
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

/// No engine of these takes longer, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(30);

impl FakeEngine {
    /// The processes that were started as engines, the first one first.
    pub fn starts(&self) -> Vec<u32> {
        self.pids("starts")
    }

    /// The child processes of all of them.
    pub fn workers(&self) -> Vec<u32> {
        self.pids("workers")
    }

    /// The environment of the last one.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let pair = |line: &String| line.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
        self.lines("environment").iter().filter_map(pair).collect()
    }

    /// The arguments of the last one, without the name of the program.
    pub fn arguments(&self) -> Vec<String> {
        self.lines("arguments")
    }

    /// The argument after this one, in the last process.
    pub fn argument(&self, name: &str) -> Option<String> {
        self.arguments().iter().skip_while(|argument| *argument != name).nth(1).cloned()
    }

    /// Every byte that came on any connection of any process.
    pub fn requests(&self) -> Vec<u8> {
        fs::read(self.notes().join("requests")).unwrap_or_default()
    }

    /// The bodies of all chat requests, also of those that were refused or never answered.
    pub fn chats(&self) -> Vec<Value> {
        self.lines("chats").iter().map(|line| serde_json::from_str(line).expect("a note is JSON")).collect()
    }

    /// The signals that it saw: `SIGTERM`, `SIGINT`.
    pub fn signals(&self) -> Vec<String> {
        self.lines("signals")
    }

    /// The port on all interfaces, when it listens there.
    pub fn everywhere(&self) -> Option<u16> {
        self.lines("everywhere").first().map(|port| port.parse().expect("a port"))
    }

    /// Lets it get ready, now and in later processes.
    pub fn open_gate(&self) {
        make(&self.gate());
    }

    /// Closes the gate again, for the next process.
    pub fn close_gate(&self) {
        fs::remove_file(self.gate()).expect("the gate was open");
    }

    /// Lets answers that have begun, now and later, go on to their end.
    pub fn open_chat_gate(&self) {
        make(&self.chat_gate());
    }

    /// Lets it end with its code.
    pub fn tell_exit(&self) {
        make(&self.exit_file());
    }

    /// Lets `/health` answer with the status that was ordered.
    pub fn break_health(&self) {
        make(&self.health_file());
    }

    /// Waits until it was started, and gives the first process.
    pub fn wait_for_start(&self) -> u32 {
        self.wait_for_starts(1)
    }

    /// Waits until it was started so often, and gives the n-th process. Its workers, arguments and environment are
    /// known then.
    pub fn wait_for_starts(&self, n: usize) -> u32 {
        wait_until(LIMIT, &format!("start number {n} of an engine"), || self.starts().len() >= n);
        self.starts()[n - 1]
    }

    /// Waits until so many chat requests came.
    pub fn wait_for_chats(&self, n: usize) {
        wait_until(LIMIT, &format!("chat request number {n}"), || self.chats().len() >= n);
    }

    /// Where all this is noted, for a search for secrets.
    pub fn notes(&self) -> &Path {
        self.settings.folder.as_deref().expect("it was made with a folder")
    }

    fn pids(&self, name: &str) -> Vec<u32> {
        self.lines(name).iter().map(|line| line.parse().expect("a process id")).collect()
    }

    /// Whole lines only: the last one may be just being written.
    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read(self.notes().join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(ToOwned::to_owned).collect()
    }
}

fn make(file: &Path) {
    fs::write(file, "").expect("the folder is writable");
}
