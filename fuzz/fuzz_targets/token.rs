#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate::jwt::trust::oracle::token(bytes));
