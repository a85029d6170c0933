//! requests on a connection to mcpd: where each ends, and the names in its path
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (mcp_fuzz::REQUEST_HEAD.check)(bytes));
