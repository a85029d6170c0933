//! A gate that a double waits at until the test opens it: "let me revoke the right, then go on".

use std::{net::Shutdown, os::unix::net::UnixStream, sync::Arc};

/// Closed when made, opened once, for all who wait. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    ends: Arc<(UnixStream, UnixStream)>,
}

impl Gate {
    /// A closed gate.
    #[expect(clippy::new_without_default, reason = "a default gate says nothing about being open or closed")]
    pub fn new() -> Self {
        Self { ends: Arc::new(UnixStream::pair().expect("a pair of sockets")) }
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        // An end of file stays readable for ever, which is what makes the gate stay open.
        self.ends.1.shutdown(Shutdown::Write).expect("the gate opens");
    }

    /// Becomes readable when the gate opens.
    pub(crate) fn signal(&self) -> &UnixStream {
        &self.ends.0
    }
}
