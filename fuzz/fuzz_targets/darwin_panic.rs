#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kstack::fuzzing::format("darwin-panic", data));
