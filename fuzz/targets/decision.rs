//! the server's answer to a probe, and its headers
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (mcp_fuzz::DECISION.check)(bytes));
