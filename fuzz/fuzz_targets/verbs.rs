//! The fuzz target `verbs`; its body is in `targets/`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| crtmpserver::targets::run("verbs", data));
