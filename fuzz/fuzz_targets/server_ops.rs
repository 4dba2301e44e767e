//! The fuzz target `server_ops`; its body is in `targets/`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| crtmpserver::targets::run("server_ops", data));
