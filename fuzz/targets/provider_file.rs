//! the provider file, and YAML
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (mcp_fuzz::PROVIDER_FILE.check)(bytes));
