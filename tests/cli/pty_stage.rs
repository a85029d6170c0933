//! A terminal with a program in it, and what is seen there.

#![expect(clippy::expect_used, reason = "a stage that cannot be set fails the story")]

use crate::support::LIMIT;
use nix::sys::termios::{LocalFlags, tcgetattr};
use rexpect::{
    process::{PtyProcess, Signal, WaitStatus},
    reader::Options,
    session::PtySession,
};
use std::{
    fs::File,
    process::Command,
    time::{Duration, Instant},
};

/// "Within a second", on a loaded machine; a program that waits for its limits takes minutes.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A terminal of 24 lines and 80 columns that runs one program. When it goes, so does the program.
pub(crate) struct Terminal {
    session: PtySession,
    /// The same terminal, to look at its settings.
    device: File,
    settings: String,
    /// Every byte that was written to it so far.
    written: Vec<u8>,
}

/// A program that has ended, and what it has left on the terminal.
pub(crate) struct Left {
    pub(crate) status: WaitStatus,
    /// The lines that can be read in the end.
    pub(crate) screen: String,
    /// Every byte that was ever written.
    pub(crate) written: String,
}

impl Terminal {
    /// Runs a program on a terminal that can do what terminals can.
    pub(crate) fn run(command: Command) -> Self {
        Self::of_type("xterm-256color", command)
    }

    /// Runs a program on a terminal that says it is of this type.
    pub(crate) fn of_type(name: &str, mut command: Command) -> Self {
        command.env("TERM", name);
        let mut process = PtyProcess::new(command).expect("a terminal");
        process.set_kill_timeout(Some(1000));
        let device = process.get_file_handle().expect("its device");
        let settings = settings(&device);
        let limit = u64::try_from(LIMIT.as_millis()).expect("a limit");
        let session = PtySession::new(process, Options::new().timeout_ms(Some(limit))).expect("a session");
        Self { session, device, settings, written: Vec::new() }
    }

    /// Waits until this text was written.
    pub(crate) fn sees(&mut self, text: &str) -> &mut Self {
        let before = self.session.exp_string(text).unwrap_or_else(|error| panic!("no {text:?}: {error}"));
        self.written.extend(bytes(&before));
        self.written.extend(text.bytes());
        self
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.session.send_line(line).expect("a line can be typed");
    }

    /// Presses a key together with Ctrl.
    pub(crate) fn press(&mut self, key: char) {
        self.session.send_control(key).expect("a key can be pressed");
    }

    /// What can be read now.
    pub(crate) fn screen(&self) -> String {
        screen(&self.written)
    }

    /// Waits for the end of the program.
    pub(crate) fn ended(mut self) -> Left {
        let rest = self.session.exp_eof().expect("it ends");
        self.written.extend(bytes(&rest));
        let status = self.session.process().wait().expect("it is ours");
        Left {
            status,
            screen: screen(&self.written),
            written: String::from_utf8_lossy(&self.written).into_owned(),
        }
    }

    /// Presses Ctrl-C. The program must die of it at once, and leave the terminal as it was.
    pub(crate) fn interrupt(mut self) -> Left {
        let pressed = Instant::now();
        self.session.send_control('c').expect("a key can be pressed");
        let rest = self.session.exp_eof().expect("it ends");
        self.written.extend(bytes(&rest));
        let status = self.session.process().wait().expect("it is ours");
        assert!(pressed.elapsed() < AT_ONCE, "it took {:?} to end", pressed.elapsed());
        assert!(matches!(status, WaitStatus::Signaled(_, Signal::SIGINT, _)), "{status:?}");
        assert_eq!(settings(&self.device), self.settings, "the terminal was left in another mode");
        let written = String::from_utf8_lossy(&self.written).into_owned();
        assert!(!written.contains("\x1b[?25l"), "the cursor may be gone: {written:?}");
        assert!(!written.contains("error"), "{written:?}");
        Left { status, screen: screen(&self.written), written }
    }
}

/// How a terminal is set. Its echo is left out, since rexpect turns that off in its own time.
fn settings(device: &File) -> String {
    let set = tcgetattr(device).expect("its settings");
    let local = set.local_flags - LocalFlags::ECHO;
    format!(
        "{local:?} {:?} {:?} {:?} {:?}",
        set.input_flags, set.output_flags, set.control_flags, set.control_chars
    )
}

/// The bytes that rexpect gives as characters.
fn bytes(text: &str) -> impl Iterator<Item = u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte"))
}

/// What a terminal shows that was written these bytes; lines end without spaces, and empty ones at the end are none.
fn screen(written: &[u8]) -> String {
    let mut terminal = vt100::Parser::default();
    terminal.process(written);
    let text = terminal.screen().contents();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end_matches('\n').to_owned()
}
