//! documents of administration, and JSON in which no key comes twice
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (mcp_fuzz::DOCUMENTS.check)(bytes));
