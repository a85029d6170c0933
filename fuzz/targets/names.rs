//! names, ids and keys of LLMs, names of subjects, nonces
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (mcp_fuzz::NAMES.check)(bytes));
