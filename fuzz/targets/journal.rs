//! the history of failovers on a machine
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (mcp_fuzz::JOURNAL.check)(bytes));
