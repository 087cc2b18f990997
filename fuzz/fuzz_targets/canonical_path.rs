#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate::gateway::oracle::canonical_path(bytes));
