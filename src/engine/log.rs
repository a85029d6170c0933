//! The log of an engine: each line with its time, without the key, in a file that does not grow for ever.
//!
//! A full disk loses lines and nothing else.

use super::place::{LOGS, Place};
use jiff::Timestamp;
use mcp_api::Secret;
use rustix::fs::OFlags;
use std::{fs::File, io::Write};

/// The size at which a log is put aside, in bytes. At most two of them are kept.
const SIZE_MAX: u64 = 8 << 20;
/// The longest line; a longer one is cut into several.
const LINE_MAX: usize = 8 << 10;

/// Takes what an engine writes.
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
    size: u64,
    /// The beginning of a line whose end has not arrived.
    rest: Vec<u8>,
    secret: Option<Secret>,
    lost: u64,
}

impl Log {
    /// Goes on with the log that is there.
    pub fn open(place: &Place, secret: Option<Secret>) -> Self {
        let file = open(place);
        let size = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |meta| meta.len());
        Self { file, size, rest: Vec::new(), secret, lost: 0 }
    }

    /// Takes bytes; gives the lines that are whole now.
    pub fn take(&mut self, place: &Place, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            // Progress bars go back to the start of their line.
            if byte == b'\n' || byte == b'\r' {
                lines.extend(self.line());
            } else if self.rest.len() == LINE_MAX {
                lines.extend(self.piece());
            }
            if byte != b'\n' && byte != b'\r' {
                self.rest.push(byte);
            }
        }
        for line in &lines {
            self.write(place, line);
        }
        lines
    }

    /// What was begun and never ended is a line as well.
    pub fn end(&mut self, place: &Place) -> Option<String> {
        let line = self.line()?;
        self.write(place, &line);
        Some(line)
    }

    /// Writes a line of our own.
    pub fn note(&mut self, place: &Place, text: &str) {
        self.write(place, &format!("mcpctl: {text}"));
    }

    /// The first part of a line that is too long. What may be the beginning of the key stays for the next part, where
    /// the rest of it will be.
    fn piece(&mut self) -> Option<String> {
        let redacted = self.line()?.into_bytes();
        let kept = self.secret.as_ref().map_or(0, |secret| secret.expose().len()).min(redacted.len() / 2);
        let (piece, rest) = redacted.split_at(redacted.len() - kept);
        self.rest = rest.to_vec();
        Some(String::from_utf8_lossy(piece).into_owned())
    }

    fn line(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned();
        if line.is_empty() {
            return None;
        }
        Some(match &self.secret {
            Some(secret) => line.replace(secret.expose(), "(redacted)"),
            None => line,
        })
    }

    fn write(&mut self, place: &Place, line: &str) {
        if self.size > SIZE_MAX {
            // Where it cannot be put aside it is begun anew all the same: no log may fill a disk.
            if place.folder().rename(LOGS[0], LOGS[1]).is_err() {
                let _ = place.folder().remove(LOGS[0]);
            }
            self.file = open(place);
            self.size = 0;
        }
        if self.file.is_none() {
            self.file = open(place);
        }
        let mut text = String::new();
        if self.lost > 0 {
            text = format!("{:.0} mcpctl: {} lines could not be written here\n", Timestamp::now(), self.lost);
        }
        text += &format!("{:.0} {line}\n", Timestamp::now());
        // One write a line: what is written is whole lines, whatever happens to this process.
        match self.file.as_mut().map(|file| file.write_all(text.as_bytes())) {
            Some(Ok(())) => (self.size, self.lost) = (self.size + text.len() as u64, 0),
            Some(Err(_)) | None => self.lost += 1,
        }
    }
}

fn open(place: &Place) -> Option<File> {
    place.folder().open_private(LOGS[0], OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn place() -> (tempfile::TempDir, Place) {
        let home = tempfile::tempdir().unwrap();
        let place = Place::at(&home.path().join("e")).unwrap();
        (home, place)
    }

    #[test]
    fn k12_the_key_of_an_engine_is_not_in_its_log() {
        let (_home, place) = place();
        let mut log = Log::open(&place, Some(Secret::new("canary-key")));
        let lines = log.take(&place, b"non-default args: {'api_key': 'canary-key'}\nand can");
        assert_eq!(lines, ["non-default args: {'api_key': '(redacted)'}"]);
        // Also where a line arrives in two pieces.
        assert_eq!(log.take(&place, b"ary-key again\r\n"), ["and (redacted) again"]);
        let text = fs::read_to_string(place.log_path()).unwrap();
        assert!(!text.contains("canary") && text.lines().count() == 2, "{text}");
    }

    #[test]
    fn k12_the_key_is_found_also_where_a_long_line_is_cut() {
        let (_home, place) = place();
        for before in (LINE_MAX - 20)..(LINE_MAX + 3) {
            let mut log = Log::open(&place, Some(Secret::new("canary-key")));
            let line = "x".repeat(before) + "canary-key" + &"y".repeat(50);
            let mut lines = log.take(&place, line.as_bytes());
            lines.extend(log.take(&place, b"\n"));
            let text = lines.concat();
            assert!(text.contains("(redacted)") && !text.contains("canary"), "{before}");
            assert_eq!(text.len(), line.len(), "{before}: something is lost or said twice");
        }
    }

    #[test]
    fn a_log_is_put_aside_when_it_is_large_and_goes_on() {
        let (_home, place) = place();
        let mut log = Log::open(&place, None);
        let line = vec![b'x'; LINE_MAX - 1];
        for _ in 0..(2 * SIZE_MAX / LINE_MAX as u64 + 10) {
            log.take(&place, &line);
            log.take(&place, b"\n");
        }
        log.note(&place, "the last line");
        let size = |name: &str| fs::metadata(place.folder().path().join(name)).unwrap().len();
        assert!(size("log") < 2 * SIZE_MAX && size("log.1") < 2 * SIZE_MAX && size("log.1") > SIZE_MAX);
        assert!(fs::read_to_string(place.log_path()).unwrap().ends_with("mcpctl: the last line\n"));
    }

    #[test]
    fn a_line_without_an_end_is_cut_and_one_at_the_end_is_kept() {
        let (_home, place) = place();
        let mut log = Log::open(&place, None);
        assert_eq!(log.take(&place, &vec![b'x'; 3 * LINE_MAX]).len(), 2);
        assert_eq!(log.end(&place).unwrap().len(), LINE_MAX);
        assert_eq!(log.end(&place), None);
    }
}
