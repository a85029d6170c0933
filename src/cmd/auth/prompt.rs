//! A token that is typed or pasted at a terminal, and not shown there.

use crate::{
    cmd::{Run, Usage},
    config::Server,
    credential,
};
use mcp_api::Secret;
use rustix::{
    process::{Signal, getpid, kill_process},
    stdio::stdin,
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr},
};
use std::io::Read;

/// More than any token has, in bytes.
const LINE_MAX: u64 = 16 << 10;

/// A terminal that shows nothing of what is typed. It is put right again when this goes.
struct Hidden {
    before: Termios,
    /// Ctrl-C and Ctrl-\, and the signals that they stand for.
    keys: [(u8, Signal); 2],
}

impl Hidden {
    fn now() -> rustix::io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut hidden = before.clone();
        // A key that would end the program ends the line instead, so that there is time to put the terminal right.
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        let codes = &mut hidden.special_codes;
        codes[SpecialCodeIndex::VEOL] = codes[SpecialCodeIndex::VINTR];
        codes[SpecialCodeIndex::VEOL2] = codes[SpecialCodeIndex::VQUIT];
        let keys =
            [(codes[SpecialCodeIndex::VEOL], Signal::INT), (codes[SpecialCodeIndex::VEOL2], Signal::QUIT)];
        tcsetattr(stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self { before, keys })
    }

    /// The signal of a key; a key that is switched off is 0.
    fn signal(&self, byte: u8) -> Option<Signal> {
        self.keys.iter().find(|(key, _)| *key != 0 && *key == byte).map(|(_, signal)| *signal)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// Asks for the token of a server at the terminal.
#[expect(clippy::unbuffered_bytes, reason = "standard input has a buffer of its own")]
pub(super) fn ask(run: &mut Run<'_>, server: &Server) -> anyhow::Result<Secret> {
    let hidden = Hidden::now()?;
    write!(run.io.err, "Token for {server} (not shown): ")?;
    run.io.err.flush()?;
    let (mut line, mut pressed) = (Vec::new(), None);
    for byte in (&mut run.io.input).take(LINE_MAX).bytes() {
        let byte = byte?;
        pressed = hidden.signal(byte);
        if byte == b'\n' || pressed.is_some() {
            break;
        }
        line.push(byte);
    }
    drop(hidden);
    writeln!(run.io.err)?;
    if let Some(signal) = pressed {
        kill_process(getpid(), signal)?;
        return Err(Usage("interrupted".into()).into());
    }
    Ok(credential::parse(&String::from_utf8_lossy(&line), "what was typed")?)
}
