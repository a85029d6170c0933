//! How a test orders an engine to fail.

use super::{
    FakeEngine, Hang, Worker,
    settings::{After, Fail},
};
use std::path::PathBuf;

impl FakeEngine {
    /// Loading goes on until [`FakeEngine::open_gate`].
    #[must_use]
    pub fn gated(mut self) -> Self {
        self.settings.ready_gate = Some(self.gate());
        self
    }

    /// Logs nothing before it is ready.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.settings.quiet_while_loading = true;
        self
    }

    /// Logs a line ten times a second as long as it does not get ready.
    #[must_use]
    pub fn chattering(mut self) -> Self {
        self.settings.chatter = true;
        self
    }

    /// Logs these lines at once when it is started, and ends.
    #[must_use]
    pub fn failing_at_start(self, code: i32, lines: &[&str]) -> Self {
        self.failing(After::Start, code, lines)
    }

    /// Logs these lines when it could have been ready (and its gate is open), and ends.
    #[must_use]
    pub fn failing_after_stages(self, code: i32, lines: &[&str]) -> Self {
        self.failing(After::Stages, code, lines)
    }

    fn failing(mut self, after: After, code: i32, lines: &[&str]) -> Self {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.settings.fail = Some(Fail { lines, code, after });
        self
    }

    /// Ends with this code at [`FakeEngine::tell_exit`]. Its workers live on.
    #[must_use]
    pub fn exiting(mut self, code: i32) -> Self {
        (self.settings.exit_when, self.settings.exit_code) = (Some(self.exit_file()), code);
        self
    }

    /// Does not answer.
    #[must_use]
    pub fn hanging(mut self, what: Hang) -> Self {
        self.settings.hang = Some(what);
        self
    }

    /// Only the first process fails, exits, hangs, is ill or dies; the next is well.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.settings.once = true;
        self
    }

    /// Answers with this status on `/health` from [`FakeEngine::break_health`] on.
    #[must_use]
    pub fn health(mut self, status: u16) -> Self {
        (self.settings.health, self.settings.health_gate) = (Some(status), Some(self.health_file()));
        self
    }

    /// Lists and serves another model than it is told.
    #[must_use]
    pub fn serving(mut self, name: &str) -> Self {
        self.settings.served_name = Some(name.to_owned());
        self
    }

    /// Goes on at SIGTERM.
    #[must_use]
    pub fn ignoring_term(mut self) -> Self {
        self.settings.ignore_term = true;
        self
    }

    /// At SIGTERM during a chat it refuses new clients, says nothing more to the old ones, and ends when they go.
    #[must_use]
    pub fn hanging_on_term_with_stream(mut self) -> Self {
        self.settings.hang_on_term_with_stream = true;
        self
    }

    /// Has one more child process.
    #[must_use]
    pub fn worker(mut self, worker: Worker) -> Self {
        self.settings.workers.push(worker);
        self
    }

    /// Listens on all interfaces too: see [`FakeEngine::everywhere`].
    #[must_use]
    pub fn listening_everywhere(mut self) -> Self {
        self.settings.listen_everywhere = true;
        self
    }

    /// Logs its key while it loads.
    #[must_use]
    pub fn printing_key(mut self) -> Self {
        self.settings.print_key = true;
        self
    }

    /// Every process is killed in the middle of its n-th answer, counted from 1.
    #[must_use]
    pub fn dying_in_chat(mut self, n: usize) -> Self {
        self.settings.die_in_chat = Some(n);
        self
    }

    /// Begins every streamed answer, and goes on after some words at [`FakeEngine::open_chat_gate`].
    #[must_use]
    pub fn pausing_in_chat(mut self) -> Self {
        self.settings.chat_gate = Some(self.chat_gate());
        self
    }

    /// Ends with code 0, as vLLM does, when one of its workers has ended.
    #[must_use]
    pub fn ending_with_worker(mut self) -> Self {
        self.settings.end_with_worker = true;
        self
    }

    /// Logs at least so many bytes at each chat.
    #[must_use]
    pub fn noisy(mut self, bytes: usize) -> Self {
        self.settings.noise = bytes;
        self
    }

    pub(super) fn gate(&self) -> PathBuf {
        self.dir.path().join("gate")
    }

    pub(super) fn exit_file(&self) -> PathBuf {
        self.dir.path().join("exit")
    }

    pub(super) fn health_file(&self) -> PathBuf {
        self.dir.path().join("health")
    }

    pub(super) fn chat_gate(&self) -> PathBuf {
        self.dir.path().join("chat-gate")
    }
}
