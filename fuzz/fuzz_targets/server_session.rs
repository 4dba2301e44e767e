//! The fuzz target `server_session`; its body is in `targets/`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| crtmpserver::targets::run("server_session", data));
