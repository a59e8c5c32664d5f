//! A program that makes a token as `bkv dev` does: it starts itself again as the child. It has no test harness, because the child's work must come
//! first in `main`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::process::ExitCode;

use bkv_hsm::softhsm;

fn main() -> ExitCode {
    if let Some(code) = softhsm::run_child_if_asked() {
        return code;
    }
    if !std::path::Path::new(softhsm::DEBIAN_MODULE).is_file() {
        println!("skipped: apt-get install softhsm2");
        return ExitCode::SUCCESS;
    }
    let dir = tempfile::tempdir().unwrap();
    let made = softhsm::init_token(&dir.path().join("hsm"), "one", "1234-pin", "9876-officer").unwrap();
    let written = std::fs::read_dir(&made.tokens).unwrap().count();
    assert_eq!(written, 1);
    let conf = std::fs::read_to_string(&made.conf).unwrap();
    assert!(conf.contains(&made.tokens.display().to_string()) && !conf.contains("1234"));
    println!("1 passed, 0 failed");
    ExitCode::SUCCESS
}
