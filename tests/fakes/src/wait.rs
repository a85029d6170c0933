//! Waiting without a signal, and tests that need something that may be missing.

use std::{
    env,
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

/// Waits until a condition holds, looking every 10 ms; panics at the limit.
///
/// The last resort, for things that give no signal (a process that is not ours, a file of another program). Where
/// a double can tell, wait for the double.
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Says loudly that a test is skipped because `what` is missing; panics instead where nothing may be skipped
/// (`MCPCTL_TEST_REQUIRE` set and not empty).
///
/// ```no_run
/// let Some(engine) = fakes::LlamaServer::start() else { return fakes::required("llama-server") };
/// ```
pub fn required(what: &str) {
    let must = env::var_os("MCPCTL_TEST_REQUIRE").is_some_and(|value| !value.is_empty());
    assert!(!must, "{what} is missing, and MCPCTL_TEST_REQUIRE says that nothing may be skipped");
    let test = thread::current().name().unwrap_or("a test").to_owned();
    // Not by a macro: the test runner would swallow what those print, and this must be seen.
    let line = format!("SKIPPED: {test}: no {what} on this machine; scripts/test installs it\n");
    let _nobody_reads = io::stderr().write_all(line.as_bytes());
}
