//! The libFuzzer program. It has a `main` of its own, and calls the target that the environment names with each input. `scripts/fuzz.sh` builds and runs it.
#![no_main]
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Mutex;

use bkv_fuzz::process::{self, Fuzzer};

static FUZZER: Mutex<Option<Fuzzer>> = Mutex::new(None);

libfuzzer_sys::fuzz_target!(
    init: {
        *FUZZER.lock().unwrap() = Some(process::begin());
    },
    |bytes: &[u8]| {
        if let Some(fuzzer) = FUZZER.lock().unwrap().as_mut() {
            fuzzer.input(bytes);
        }
    }
);
