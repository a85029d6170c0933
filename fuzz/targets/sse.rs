//! server-sent events, and the answer that they make
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (mcp_fuzz::SSE.check)(bytes));
