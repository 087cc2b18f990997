#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate::edge::proxy_protocol::oracle::proxy_protocol(bytes));
