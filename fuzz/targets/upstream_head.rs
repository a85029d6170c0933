//! answers of upstreams: heads, lengths and chunks
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (mcp_fuzz::UPSTREAM_HEAD.check)(bytes));
