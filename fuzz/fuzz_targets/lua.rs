//! The fuzz target `lua`; its body is in `targets/`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| crtmpserver::targets::run("lua", data));
